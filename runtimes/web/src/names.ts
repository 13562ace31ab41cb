/** Names as people give them, checked. As `text/names.py`. */

import { clean } from "./clean.js";
import { InputError } from "./errors.js";
import { quoted } from "./python.js";

/** Why something is no text that a graph can be asked with; "" where it is. */
function faultOf(value: unknown): string {
  if (typeof value !== "string") return "is no text";
  if (value.includes("\0")) return "holds a NUL character";
  return /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(value) ? "is not UTF-8" : "";
}

/**
 * Names, stripped, in order, each once. Throws InputError when there are none, or one is empty or no text.
 *
 * Names that `clean` makes equal are one name: the first spelling stands for them. what: the argument that holds them.
 */
export function checkLabels(labels: readonly string[], what = "labels"): string[] {
  if (typeof labels === "string") throw new InputError(`: ${quoted(labels)} is one string; pass a list of names`, what);
  if (!Array.isArray(labels)) throw new InputError(` ${quoted(labels)}: pass a list of names`, what);
  if (!labels.length) throw new InputError(": no name; give at least one", what);
  const first = new Map<string, string>();
  labels.forEach((label: unknown, place) => {
    const number = `name ${place + 1} of ${labels.length}`;
    if (typeof label !== "string") throw new InputError(`: ${number}, ${quoted(label)}, is no text; pass a string`, what);
    const name = label.trim();
    const key = clean(name);
    const fault = faultOf(name);
    if (fault) throw new InputError(`: ${number}, ${quoted(name)}, ${fault}; give letters in UTF-8`, what);
    if (!key) throw new InputError(`: ${number} is empty; give it a word`, what);
    if (!first.has(key)) first.set(key, name);
  });
  return [...first.values()];
}

/** Names that others are compared with, as `checkLabels` leaves them; there may be none. */
export function checkBackground(names: readonly string[]): string[] {
  return typeof names === "string" || names.length ? checkLabels(names, "background") : [];
}

/** Throw InputError unless it is a text that a graph can be asked with. */
export function checkText(text: string, argument: string): void {
  const fault = faultOf(text);
  if (fault) throw new InputError(` ${quoted(text)}: ${fault}; give letters in UTF-8`, argument);
}

/** A JSON list of names, as bundles hold them. shown: the path. Throws InputError when it is none. */
export function readNames(text: string, shown: string): string[] {
  const mend = "export the bundle again";
  const names = list(text, () => new InputError(`${shown}: no list of names; ${mend}`));
  names.forEach((name, place) => {
    const fault = faultOf(name);
    if (fault) throw new InputError(`${shown}: name ${place + 1} of ${names.length}, ${quoted(name)}, ${fault}; ${mend}`);
  });
  return names as string[];
}

/** Prompt templates of a bundle, each with `{}` where the name goes. shown: the path. */
export function readTemplates(text: string, shown: string): string[] {
  const mend = "export the bundle again";
  const fault = new InputError(`${shown}: holds no template; ${mend}`);
  const listed = shown.endsWith(".json") || text.trimStart().startsWith("[");
  const templates = listed ? list(text, () => fault) : text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
  if (!templates.length) throw fault;
  templates.forEach((template, place) => {
    const wrong = faultOf(template) || ((template as string).includes("{}") ? "" : "has no {} where the name goes");
    if (wrong) {
      throw new InputError(`${shown}: template ${place + 1} of ${templates.length}, ${quoted(template)}, ${wrong}; ${mend}`);
    }
  });
  return templates as string[];
}

function list(text: string, fault: () => InputError): unknown[] {
  try {
    const made: unknown = JSON.parse(text);
    if (Array.isArray(made)) return made;
  } catch {
    // said below
  }
  throw fault();
}
