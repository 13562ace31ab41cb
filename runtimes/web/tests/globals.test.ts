/** The core needs nothing that only a browser has, nor what only Node has: an engine and a platform are handed in. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { open, ROOT } from "./node.js";

const BROWSERS = [
  "window", "document", "navigator", "location", "fetch", "Request", "Response", "Headers", "crypto", "Blob", "File",
  "FileReader", "Worker", "MessageChannel", "caches", "indexedDB", "localStorage", "ImageData", "ImageBitmap",
  "OffscreenCanvas", "createImageBitmap", "WebAssembly", "XMLHttpRequest", "URL", "URLSearchParams", "Buffer",
];

test("a click is answered without any of the globals of browsers", async () => {
  const folder = join(ROOT, "build", "vectors", "tiny-fp32");
  const data = new Uint8Array(readFileSync(join(folder, "vectors", "pipeline.photo.bin")));
  const names = readdirSync(folder).filter((name) => name.includes("."));
  const files = Object.fromEntries(names.map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]));
  const gone = BROWSERS.flatMap((name) => {
    const own = Object.getOwnPropertyDescriptor(globalThis, name);
    return own?.configurable && delete (globalThis as Record<string, unknown>)[name] ? [[name, own] as const] : [];
  });
  try {
    expect(gone.length).toBeGreaterThan(10);
    const model = await open(folder, undefined, files);
    const scene = await model.look({ height: 144, width: 160, data });
    const [mask] = await scene.name(await scene.segment({ points: [[73, 79]] }), ["blue square", "red arrow"], { minScore: 0 });
    expect(mask!.label).not.toBeNull();
    expect(await scene.find(["blue square"])).toHaveLength(1);
  } finally {
    for (const [name, own] of gone) Object.defineProperty(globalThis, name, own);
  }
});

test("a file that was changed, or is missing, is named", async () => {
  const folder = join(ROOT, "build", "vectors", "tiny-fp32");
  const model = await open(folder, (path, bytes) => {
    if (path === "image_encoder.weights") bytes[100]! ^= 1;
    return bytes;
  });
  const photo = { height: 1, width: 1, data: new Uint8Array(3) };
  await expect(model.look(photo)).rejects.toThrow(
    `${folder}/image_encoder.weights: its sha256 is not the manifest's; copy or export the bundle again`,
  );
  const cut = await open(folder, (path, bytes) => (path.endsWith(".weights") ? bytes.subarray(1) : bytes));
  await expect(cut.look(photo)).rejects.toThrow(/weights: \d+ bytes where the manifest says \d+; copy or export/);
  await expect(open("/nowhere")).rejects.toThrow("/nowhere: holds no manifest.json (");
  await expect(model.look(photo, 999)).rejects.toThrow("size 999: the bundle holds 128, 256; choose one of them");
  await expect(model.look({ height: 2, width: 2, data: new Uint8Array(3) })).rejects.toThrow("photo: 3 bytes are not 2 x 2 pixels; pass 3 or 4 bytes a pixel");
});

test("a call is aborted", async () => {
  const model = await open(join(ROOT, "build", "vectors", "tiny-fp32"));
  const scene = await model.look({ height: 60, width: 80, data: new Uint8Array(60 * 80 * 3) });
  const abort = new AbortController();
  const told: number[] = [];
  const progress = (done: number): void => {
    told.push(done);
    abort.abort(new Error("enough"));
  };
  await expect(scene.everything({ settings: { pointsPerSide: 16 }, progress, signal: abort.signal })).rejects.toThrow("enough");
  expect(told).toEqual([16]);
  expect(await scene.segment({ points: [[40, 30]] })).toHaveLength(1);
  // An abort that comes as a message, while names are read, ends it too.
  const later = new AbortController();
  setTimeout(() => later.abort(new Error("enough of names")), 20);
  const names = Array.from({ length: 400 }, (_, k) => `thing number ${k}`);
  await expect(scene.find(names, { signal: later.signal })).rejects.toThrow("enough of names");
  await scene.dispose();
  await expect(scene.segment({ points: [[40, 30]] })).rejects.toThrow("scene: was disposed of; look at the photo again");
});
