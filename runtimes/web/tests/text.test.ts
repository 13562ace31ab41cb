/** Texts are cleaned and tokenized as Python does: the strings of its tests, hard ones, and 10,000 random ones. */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { cleaned, type Cleaning } from "../src/clean.js";
import { Tokenizer } from "../src/tokenizer.js";
import { BUILD, ROOT } from "./node.js";

interface Told {
  text: string;
  ids: number[];
  cleaned: Record<Cleaning, string>;
}

const told = JSON.parse(readFileSync(`${BUILD}/texts.json`, "utf-8")) as Told[];

test("there are enough texts", () => expect(told.length).toBeGreaterThan(10_000));

test.each(["lower", "canonicalize", "whitespace"] as const)("cleaned: %s", (how) => {
  const different = told.filter((each) => cleaned(each.text, how) !== each.cleaned[how]);
  expect(different.map(({ text }) => [text, cleaned(text, how)])).toEqual(different.map((each) => [each.text, each.cleaned[how]]));
});

test("token ids", () => {
  const json = readFileSync(`${ROOT}/samclip_edge/data/tokenizer.json`, "utf-8");
  const tower = { vocab: 49408, context: 77, filled: false, clean: "lower" } as const;
  const tokenizer = new Tokenizer(json, tower, null, "tokenizer.json");
  const different = told.filter((each) => tokenizer.read(each.text).join() !== each.ids.join());
  expect(different.map(({ text }) => [text, tokenizer.read(text)])).toEqual(different.map(({ text, ids }) => [text, ids]));
});
