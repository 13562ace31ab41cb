/** Small checks of JSON, which say in pydantic's words what is wrong and where. */

/** Says where something is wrong, and what. */
export class Fault extends Error {
  constructor(
    readonly where: readonly (string | number)[],
    message: string,
  ) {
    super(message);
  }
}

type Where = readonly (string | number)[];

/** Returns the value as it is used; throws Fault. */
export type Check<T> = (value: unknown, where: Where) => T;

/** What a check returns. */
export type Of<C> = C extends Check<infer T> ? T : never;

const fails = (where: Where, message: string): never => {
  throw new Fault(where, message);
};

export const text: Check<string> = (value, where) =>
  typeof value === "string" ? value : fails(where, "Input should be a valid string");

/** true or false, or 1 or 0, as in Python. */
export const yes: Check<boolean> = (value, where) => {
  if (typeof value === "boolean" || value === 0 || value === 1) return Boolean(value);
  const read = typeof value === "number" || typeof value === "string";
  return fails(where, `Input should be a valid boolean${read ? ", unable to interpret input" : ""}`);
};

/** A finite number, above a bound where there is one. true is 1 and false 0, as in Python. */
export const number = (above = -Infinity): Check<number> => (given, where) => {
  const value = typeof given === "boolean" ? Number(given) : given;
  if (typeof value === "string") return fails(where, "Input should be a valid number, unable to parse string as a number");
  if (typeof value !== "number") return fails(where, "Input should be a valid number");
  if (!Number.isFinite(value)) return fails(where, "Input should be a finite number");
  return value > above ? value : fails(where, `Input should be greater than ${above}`);
};

/** A whole number above a bound, or from `least` to `most`. */
export const whole = (bounds: { above?: number; least?: number; most?: number } = {}): Check<number> => (given, where) => {
  const { above = -Infinity, least = -Infinity, most = Infinity } = bounds;
  const value = typeof given === "boolean" ? Number(given) : given;
  if (typeof value === "string") return fails(where, "Input should be a valid integer, unable to parse string as an integer");
  if (typeof value !== "number") return fails(where, "Input should be a valid integer");
  if (!Number.isInteger(value)) return fails(where, "Input should be a valid integer, got a number with a fractional part");
  if (value <= above) return fails(where, `Input should be greater than ${above}`);
  if (value < least) return fails(where, `Input should be greater than or equal to ${least}`);
  return value <= most ? value : fails(where, `Input should be less than or equal to ${most}`);
};

export const count = whole({ above: 0 });

/** One of some values. */
export const oneOf = <const T extends readonly (string | number)[]>(...values: T): Check<T[number]> => {
  const shown = values.map((each) => (typeof each === "string" ? `'${each}'` : String(each)));
  const last = shown.pop();
  const wanted = shown.length ? `${shown.join(", ")} or ${last}` : last;
  return (given, where) => {
    const value = given === true ? 1 : given; // which Python takes for each other
    return values.includes(value as T[number]) ? (value as T[number]) : fails(where, `Input should be ${wanted}`);
  };
};

/** null, or what is missing, is null; anything else is checked. */
export const maybe = <T>(check: Check<T>): Check<T | null> =>
  optional((value, where) => (value === null ? null : check(value, where)), null);

/** A key that may be missing. */
export const optional = <T, const D>(check: Check<T>, missing: D): Check<T | D> & { missing: D } =>
  Object.assign((value: unknown, where: Where) => check(value, where), { missing });

const items = (number: number): string => `${number} item${number === 1 ? "" : "s"}`;

/** A list, which Python keeps as a tuple. */
export const list = <T>(check: Check<T>, least = 0): Check<T[]> => (value, where) => {
  if (!Array.isArray(value)) return fails(where, "Input should be a valid tuple");
  const made = value.map((each, place) => check(each, [...where, place]));
  if (made.length >= least) return made;
  return fails(where, `Tuple should have at least ${items(least)} after validation, not ${made.length}`);
};

/** A list of so many. */
export const several = <T>(check: Check<T>, length: number): Check<T[]> => (value, where) => {
  if (!Array.isArray(value)) return fails(where, "Input should be a valid tuple");
  if (value.length > length) return fails(where, `Tuple should have at most ${items(length)} after validation, not ${value.length}`);
  const made = value.map((each, place) => check(each, [...where, place]));
  return made.length === length ? made : fails([...where, made.length], "Field required");
};

/** A whole number or a text. */
export const numberOrText: Check<number | string> = (value, where) =>
  typeof value === "string" ? value : whole()(value, [...where, "int"]);

export const record = <T>(check: Check<T>): Check<Record<string, T>> => (value, where) =>
  isObject(value)
    ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, check(each, [...where, key])]))
    : fails(where, "Input should be a valid dictionary");

type Shape = Record<string, Check<unknown>>;

/** An object of these keys and no others. name: Python's, of its class. further: a check of the whole. */
export const object =
  <S extends Shape>(
    name: string,
    shape: S,
    further?: (whole: { [K in keyof S]: Of<S[K]> }, where: Where) => void,
  ): Check<{ [K in keyof S]: Of<S[K]> }> =>
  (value, where) => {
    if (!isObject(value)) return fails(where, `Input should be a valid dictionary or instance of ${name}`);
    const made: Record<string, unknown> = {};
    for (const [key, check] of Object.entries(shape)) {
      if (Object.hasOwn(value, key)) made[key] = check(value[key], [...where, key]);
      else if ("missing" in check) made[key] = check.missing;
      else fails([...where, key], "Field required");
    }
    for (const key of Object.keys(value)) {
      if (!Object.hasOwn(shape, key)) fails([...where, key], "Extra inputs are not permitted");
    }
    const whole = made as { [K in keyof S]: Of<S[K]> };
    further?.(whole, where);
    return whole;
  };

/** One of several objects, by its `kind`. older: the kind of those that do not say. by: what tells it, in Python. */
export const byKind =
  <T>(kinds: Record<string, Check<T>>, older: string, by: string): Check<T> =>
  (value, where) => {
    const kind = isObject(value) ? String(value["kind"] ?? older) : "";
    if (Object.hasOwn(kinds, kind)) return kinds[kind]!(value, [...where, kind]);
    const known = Object.keys(kinds).map((each) => `'${each}'`).join(", ");
    return fails(where, `Input tag '${kind}' found using ${by}() does not match any of the expected tags: ${known}`);
  };

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
