/** The example of README.md runs as it stands, and those of docs/web.md are what the compiler takes. */

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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
  const decoded = { data, info: { width, height } };
  const sharp = () => ({ rotate: () => ({ removeAlpha: () => ({ toColourspace: () => ({ raw: () => ({ toBuffer: async () => decoded }) }) }) }) });
  const given = { bundle, createHash, readFile, ort, onnxRuntime, SamClip, sharp, console: { log: (...all: unknown[]) => said.push(all) } };
  const run = new Function(...Object.keys(given), `return (async () => {${code}})();`);
  await run(...Object.values(given));
  expect(said).toEqual([[expect.stringMatching(/^(cat|dog|cup|none of these)$/), expect.any(Number), "pixels"]]);
  expect(said[0]![1]).toBeGreaterThan(0);
});

test("the examples of docs/web.md fit the types", () => {
  const docs = readFileSync(join(ROOT, "docs", "web.md"), "utf-8");
  const blocks = [...docs.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code!);
  expect(blocks).toHaveLength(3);
  const folder = mkdtempSync(join(ROOT, "runtimes", "web", "node_modules", ".docs-"));
  try {
    const given = "declare const file: Blob, photos: Blob[], x: number, y: number, folder: string, data: Uint8Array, width: number, height: number;\n";
    const platform = "declare const read: (path: string) => Promise<Uint8Array>, sha256: (bytes: Uint8Array) => Promise<string>;\n";
    blocks.forEach((code, k) => writeFileSync(join(folder, `block${k}.ts`), code.replace("onnxruntime-react-native", "onnxruntime-node") + given + platform + "export {};\n"));
    const options = { ...JSON.parse(readFileSync(join(ROOT, "runtimes", "web", "tsconfig.json"), "utf-8")).compilerOptions, noEmit: true, noUnusedLocals: false, paths: { "samclip-edge": [join(ROOT, "runtimes", "web", "src", "index.ts")] } };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options, include: ["*.ts"] }));
    const compiled = spawnSync(join(ROOT, "runtimes", "web", "node_modules", ".bin", "tsc"), ["-p", folder], { encoding: "utf-8" });
    expect([compiled.status, compiled.stdout]).toEqual([0, ""]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
