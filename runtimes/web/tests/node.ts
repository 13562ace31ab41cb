/** A bundle from a folder, by Node's own files and hash, and onnxruntime-node. */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as ort from "onnxruntime-node";
import { onnxRuntime, SamClip, type Platform } from "../src/index.js";

/** The repository, and what `make test-web` wrote for these tests. */
export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
export const BUILD = join(ROOT, "build", "web");

/** A bundle's folder. spoil: changes what is read. */
export function open(folder: string, spoil: (path: string, bytes: Uint8Array) => Uint8Array = (_, bytes) => bytes): Promise<SamClip> {
  const platform: Platform = {
    read: async (path) => spoil(relative(folder, path), new Uint8Array(await readFile(path))),
    sha256: async (bytes) => createHash("sha256").update(bytes).digest("hex"),
  };
  const engine = onnxRuntime(ort, { intraOpNumThreads: 1 });
  return SamClip.load(folder, { platform, engine });
}
