/** A caption as OpenCLIP cleans it, whose ftfy leaves well-encoded text so. As `text/tokenizer.py`. */

import { decodeHTML } from "entities/decode";

/** open_clip's cleaning functions: "whitespace" leaves capitals, "canonicalize" no punctuation. */
export type Cleaning = "lower" | "canonicalize" | "whitespace";

const LIGATURES = "ĲĳǱǲǳǄǅǆǇǈǉǊǋǌﬀﬁﬂﬃﬄﬅﬆ";
const TERMINAL = /\x1b\[(?:\p{Nd}|;)*[a-zA-Z]/gu; // what sets colours in a terminal
const DROPPED = /[\0-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]/g;
const FORMS = new RegExp(`[${LIGATURES}\u3000\uff01-\uffef]`, "g");
const PUNCTUATION = /[!-\/:-@[-`{-~]/g;
const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/g; // Python's `str.split`
const C1 = "\u20ac\x81\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\x8d\u017d\x8f" +
  "\x90\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\x9d\u017e\u0178"; // Windows-1252

/** A caption as OpenCLIP's `_clean_lower` leaves it: entities unescaped, quotes and widths plain, lower case. */
export function clean(text: string): string {
  return cleaned(text, "lower");
}

/** A caption as OpenCLIP's cleaning function of that name leaves it. */
export function cleaned(text: string, how: Cleaning): string {
  let made = text.includes("<") ? text : unescape(text);
  made = made
    .replace(TERMINAL, "")
    .replace(/[\x80-\x9f]/g, (each) => C1[each.charCodeAt(0) - 0x80]!)
    .replace(/[\u02bc\u2018\u2019\u201a\u201b]/g, "'")
    .replace(/[\u201c-\u201f]/g, '"')
    .replace(/\u0149/g, "'n")
    .replace(FORMS, (each) => each.normalize("NFKC"))
    .replace(DROPPED, "")
    .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd")
    .normalize("NFC");
  made = unescape(unescape(made));
  if (how === "canonicalize") made = made.replace(/_/g, " ").replace(PUNCTUATION, "");
  made = made.replace(SPACE, " ").replace(/^ | $/g, "");
  return how === "whitespace" ? made : made.toLowerCase();
}

const ENTITY = /&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/g;

/** Entities as Python's `html.unescape` reads them. */
function unescape(text: string): string {
  return text.replace(ENTITY, (entity) => {
    if (entity[1] !== "#") return decodeHTML(entity);
    const hex = /x/i.test(entity[2]!);
    const code = parseInt(entity.slice(hex ? 3 : 2), hex ? 16 : 10);
    if (code >= 0x80 && code < 0xa0) return C1[code - 0x80]!;
    if (code === 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return "\ufffd";
    const control = code < 0x20 && ![0x09, 0x0a, 0x0c, 0x0d].includes(code);
    const never = control || code === 0x7f || (code >= 0xfdd0 && code < 0xfdf0) || (code & 0xfffe) === 0xfffe;
    return never ? "" : String.fromCodePoint(code);
  });
}
