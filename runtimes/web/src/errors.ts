/** Errors that a user can mend. Each says in one line what is wrong, where, and what to do, in the words of Python's. */

/** Bad input: a photo, prompt, option or bundle. */
export class InputError extends Error {
  override name = "InputError";
  /** The argument of the call that is at fault; the message begins with it. */
  readonly argument: string;

  /** message: the line, or what follows the argument in it. */
  constructor(message: string, argument = "") {
    super(argument + message);
    this.argument = argument;
  }
}

/** A file of a bundle is not the one that its manifest describes. */
export class ChecksumError extends InputError {
  override name = "ChecksumError";
}

/** The first line of an error's own message, short enough to stand in one of ours. */
export function oneLine(error: unknown): string {
  const text = (error instanceof Error ? error.message : String(error)).trim() || "Error";
  return text.split(/\r\n|[\n\r]/)[0]!.slice(0, 200);
}
