/** The example of README.md runs as it stands. */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { expect, test } from "vitest";
import { onnxRuntime, SamClip } from "../src/index.js";
import { ROOT } from "./node.js";

test("the example says what is under a click", async () => {
  const bundle = join(ROOT, "build", "vectors", "photo");
  const readme = readFileSync(join(ROOT, "runtimes", "web", "README.md"), "utf-8");
  const code = /```ts\n(.*?)```/s.exec(readme)![1]!.replace(/^import .*$/gm, "").replace('"bundle"', "bundle");
  const told = JSON.parse(readFileSync(join(bundle, "vectors", "pipeline.json"), "utf-8"));
  const [height, width] = told.photo.shape;
  const data = new Uint8Array(readFileSync(join(bundle, "vectors", told.photo.file)));
  const said: unknown[][] = [];
  const given = { bundle, createHash, readFile, ort, onnxRuntime, SamClip, height, width, data, console: { log: (...all: unknown[]) => said.push(all) } };
  const run = new Function(...Object.keys(given), `return (async () => {${code}})();`);
  await run(...Object.values(given));
  expect(said).toEqual([[expect.stringMatching(/^(cat|dog|cup|none of these)$/), expect.any(Number), "pixels"]]);
  expect(said[0]![1]).toBeGreaterThan(0);
});
