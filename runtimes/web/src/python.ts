/** Values as Python shows them in messages. */

/** A tuple. */
export function tuple(values: readonly (number | string | null)[]): string {
  const shown = values.map((each) => (each === null ? "None" : typeof each === "string" ? `'${each}'` : each));
  return `(${shown.join(", ")}${values.length === 1 ? "," : ""})`;
}

/** The first 60 letters of a value, a text in quotes. */
export function quoted(value: unknown): string {
  if (typeof value !== "string") return String(value).slice(0, 60);
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
  const escapes: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", [quote]: `\\${quote}` };
  const inside = value.replace(/[\\\n\r\t'"]|[\0-\x1f\x7f]/g, (each) => {
    return escapes[each] ?? (each < " " || each === "\x7f" ? `\\x${each.charCodeAt(0).toString(16).padStart(2, "0")}` : each);
  });
  return `${quote}${inside}${quote}`.slice(0, 60);
}
