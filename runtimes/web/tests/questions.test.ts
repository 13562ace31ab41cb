/** Prompts and names are taken as Python takes them, and refused in its words. */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Frame } from "../src/frame.js";
import { checkLabels } from "../src/names.js";
import { prepare, type Pointing } from "../src/prompts.js";
import { BUILD } from "./node.js";

const told = JSON.parse(readFileSync(`${BUILD}/questions.json`, "utf-8")) as Record<"prompts" | "names", Record<string, any>[]>;

function answer<T extends object>(given: unknown, ask: () => T): object {
  try {
    return { given, error: null, ...ask() };
  } catch (error) {
    return { given, error: (error as Error).message };
  }
}

describe("prompts", () => {
  test.each(told.prompts.map((each) => [JSON.stringify(each["given"]), each] as const))("%s", (_, wanted) => {
    const given = wanted["given"] as Pointing;
    const own = answer(given, () => {
      const { points, labels, ambiguous } = prepare(new Frame(300, 451, 256), given);
      return { points: [...points], labels: [...labels], ambiguous };
    });
    expect(own).toEqual(wanted);
  });
});

describe("names", () => {
  test.each(told.names.map((each) => [JSON.stringify(each["given"]), each] as const))("%s", (_, wanted) => {
    expect(answer(wanted["given"], () => ({ names: checkLabels(wanted["given"]) }))).toEqual(wanted);
  });
});
