/** A bundle from a folder, by Node's own files and hash, and onnxruntime-node. */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as ort from "onnxruntime-node";
import { onnxRuntime, SamClip, type Files, type Platform } from "../src/index.js";

/** The repository, and what `make test-web` wrote for these tests. */
export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
export const BUILD = join(ROOT, "build", "web");

type Spoil = (path: string, bytes: Uint8Array) => Uint8Array;

/** A bundle's folder. spoil: changes what is read. files: those of the bundle, in the place of the folder; pictures come with them. */
export function open(folder: string, spoil: Spoil = (_, bytes) => bytes, files?: Files): Promise<SamClip> {
  const platform: Platform = {
    read: async (path) => spoil(relative(folder, path), new Uint8Array(await readFile(path))),
    sha256: async (bytes) => createHash("sha256").update(bytes).digest("hex"),
  };
  if (files) {
    const data = readFileSync(join(folder, "vectors", "pipeline.photo.bin"));
    platform.pixels = async () => ({ height: 144, width: 160, data: new Uint8Array(data) });
  }
  const engine = onnxRuntime(ort, { intraOpNumThreads: 1 });
  return SamClip.load(files ?? folder, { platform, engine });
}
