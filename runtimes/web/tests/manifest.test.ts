/** Manifests of every kind are read, and spoilt ones are refused in Python's words. */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { readManifest } from "../src/manifest.js";
import { BUILD } from "./node.js";

interface Told {
  what: string;
  text: string;
  error: string | null;
}

function refused(text: string): string | null {
  try {
    readManifest(text, "bundle/manifest.json");
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

test("as Python reads them", () => {
  const told = JSON.parse(readFileSync(`${BUILD}/manifests.json`, "utf-8")) as Told[];
  expect(told.filter((each) => each.error === null).length).toBeGreaterThan(100);
  expect(told.filter((each) => each.error !== null).length).toBeGreaterThan(1000);
  expect(told.map((each) => ({ ...each, error: refused(each.text) }))).toEqual(told);
});

test("what is no manifest", () => {
  for (const text of ["", "{", "[]", "1", "null", '"a"']) {
    expect(refused(text)).toMatch(/^bundle\/manifest\.json: .*; export the bundle again$/);
  }
  expect(refused('{"format": 3}')).toBe("bundle/manifest.json: format 3 is newer than 2, which this version reads; upgrade it");
});
