/** What an app gets: a package of a few kB, of which a bundler keeps what is used; and what is asked before a bundle comes. */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import * as ort from "onnxruntime-node";
import { rolldown } from "rolldown";
import { expect, test } from "vitest";
import { checkMemory, neededBytes } from "../src/memory.js";
import { readManifest } from "../src/manifest.js";
import { onnxRuntime, SamClip } from "../src/index.js";
import { open, ROOT } from "./node.js";

/** An app's code, bundled and minified. */
async function bundled(code: string): Promise<Uint8Array> {
  const app = { name: "app", resolveId: (id: string) => (id === "app" ? id : null), load: (id: string) => (id === "app" ? code : null) };
  const built = await rolldown({ input: "app", plugins: [app], logLevel: "silent" });
  const { output } = await built.generate({ format: "esm", minify: true });
  return new TextEncoder().encode(output[0].code);
}
const INDEX = JSON.stringify(join(ROOT, "runtimes", "web", "src", "index.ts"));

test("all of it comes over the network in less than 40 kB", async () => {
  const all = await bundled(`export * from ${INDEX};`);
  expect(gzipSync(all).length).toBeLessThan(40_000);
});

test("an app that uses a little gets a little", async () => {
  const few = await bundled(`import { decodeRle } from ${INDEX}; console.log(decodeRle);`);
  expect(few.length).toBeLessThan(4_000);
  const page = await bundled(`import { connect, decoded } from ${INDEX}; console.log(connect, decoded);`);
  expect(page.length).toBeLessThan(20_000); // without tokenizer, manifest and tasks, which are the worker's
});

const manifest = (name: string): string => readFileSync(join(ROOT, "build", "vectors", name, "manifest.json"), "utf-8");

test.each([["photo", 384, 1], ["tiny-fp16", 256, 2]] as const)("%s needs memory by its weights and its size", (name, size, times) => {
  const read = readManifest(manifest(name), name);
  const opened = read.graphs.filter((each) => each.size === size || each.size === null).map(({ files }) => files);
  const weights = [...new Map(opened.flat().map((file) => [file.path, file.bytes])).values()].reduce((a, b) => a + b);
  const largest = Math.max(...opened.map((files) => files.reduce((sum, file) => sum + file.bytes, 0)));
  // 20 MB for the runtime, 1.4 bytes for a byte of weights, which fp16 doubles, and 450 a pixel.
  expect(neededBytes(read)).toBeCloseTo(20e6 + 1.4 * times * weights + 450 * size * size + largest, 0);
});

test("the memory that a bundle needs is told before its graphs are fetched", async () => {
  const photo = readManifest(manifest("photo"), "photo");
  expect(() => checkMemory(photo, 100e6, "photo")).toThrow(/^photo: needs about \d+ MB of memory, more than the 100 MB that are allowed here; /);
  checkMemory(photo, 512e6, "photo");
  const asked: string[] = [];
  const platform = { read: async (path: string) => (asked.push(path), new TextEncoder().encode(manifest("photo"))), sha256: async () => "" };
  const refused = SamClip.load("somewhere", { platform, engine: { open: async () => Promise.reject() }, mostBytes: 100e6 });
  await expect(refused).rejects.toThrow("somewhere: needs about");
  expect(asked).toEqual(["somewhere/manifest.json"]);
});

test("a bundle given as files, and pictures in every form, answer the same", async () => {
  const folder = join(ROOT, "build", "vectors", "tiny-fp32");
  const rgb = new Uint8Array(readFileSync(join(folder, "vectors", "pipeline.photo.bin")));
  const rgba = Uint8ClampedArray.from({ length: (rgb.length / 3) * 4 }, (_, k) => (k % 4 === 3 ? 7 : rgb[Math.floor(k / 4) * 3 + (k % 4)]!));
  const [height, width] = [144, 160];
  const model = await open(folder);
  const files: Record<string, Blob> = {};
  for (const path of ["manifest.json", ...new Set(model.bundle.manifest.graphs.flatMap(({ files }) => files.map((file) => file.path)))]) {
    files[path] = new Blob([readFileSync(join(folder, path))]);
  }
  const given = await open(folder, undefined, files);
  await given.prepare(128);
  const asked = { points: [[73, 79]] as [number, number][] };
  const [first] = await (await model.look({ height, width, data: rgb }, 128)).segment(asked);
  for (const photo of [{ height, width, data: rgba }, { picture: "of the platform" }]) {
    const [mask] = await (await given.look(photo, 128)).segment(asked);
    expect(mask!.rle).toEqual(first!.rle);
  }
  await expect(given.names()).rejects.toThrow("files/rivals.json: cannot be read (is not among the files); copy or export the bundle again");
  expect((await model.names()).slice(0, 2)).toEqual(["red circle", "red square"]);
  await expect(model.look(new Date())).rejects.toThrow("photo: this platform decodes no pictures; pass {data, width, height}");
});

test("graphs that are opened by their paths, as React Native does it, answer the same", async () => {
  const folder = join(ROOT, "build", "vectors", "tiny-fp32");
  const data = new Uint8Array(readFileSync(join(folder, "vectors", "pipeline.photo.bin")));
  const told: (string | undefined)[] = [];
  const watched = { ...ort, InferenceSession: { create: (model: any, options: any) => (told.push(model.length > 300 ? "bytes" : model), ort.InferenceSession.create(model, options)) } };
  const platform = { read: async (path: string) => new Uint8Array(readFileSync(path)), sha256: async (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex") };
  const byPath = await SamClip.load(folder, { platform, engine: onnxRuntime(watched, {}, true) });
  const asked = { points: [[73, 79]] as [number, number][] };
  const [own] = await (await byPath.look({ height: 144, width: 160, data })).segment(asked);
  const [theirs] = await (await (await open(folder)).look({ height: 144, width: 160, data })).segment(asked);
  expect(own!.rle).toEqual(theirs!.rle);
  expect(told).toEqual(["image_encoder_256.onnx", "prompt_encoder_256.onnx", "mask_decoder_256.onnx"].map((name) => join(folder, name)));
});

test("names that are offered have the features that the text encoder gives them", async () => {
  const [one, other] = await Promise.all([0, 1].map(() => open(join(ROOT, "build", "vectors", "photo"))));
  const names = [...(await one!.names())];
  expect(names.length).toBeGreaterThan(100);
  const few = names.slice(0, 3);
  const [stored, encoded] = await Promise.all([one!.words.features(few), other!.words.features(few)]);
  stored.forEach((row, k) => row.forEach((value, e) => expect(Math.abs(value - encoded[k]![e]!)).toBeLessThan(1e-3)));
});

test("the wheel carries the page and its worker", () => {
  const made = mkdtempSync(join(tmpdir(), "samclip-wheel-"));
  const python = join(ROOT, ".venv", "bin", "python");
  execFileSync(python, ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", made, ROOT]);
  const code = "import glob, sys, zipfile\nfor wheel in glob.glob(sys.argv[1]): print(*zipfile.ZipFile(wheel).namelist(), sep='\\n')";
  const names = execFileSync(python, ["-c", code, join(made, "*.whl")], { encoding: "utf-8" }).split("\n");
  for (const each of ["index.html", "style.css", "app.js", "worker.js", "licences.txt"]) expect(names).toContain(`samclip_edge/data/page/${each}`);
  rmSync(made, { recursive: true });
});
