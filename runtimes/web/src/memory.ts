/** How much memory a bundle takes, told before it is fetched: some places end a program that takes too much. */

import { InputError } from "./errors.js";
import type { Manifest } from "./manifest.js";
import { sides } from "./sizes.js";

// Of ONNX Runtime's wasm memory, by one thread: `photo` in fp16, `tiny` in fp32 and int8, `vit_b` at 1024 in fp32 and int8.
const RUNTIME = 20e6;
const A_WEIGHT = 1.4; // bytes for each byte of weights, which fp16 are turned to fp32
const A_PIXEL = 450; // bytes for each pixel of the input, where masks of many prompts are decoded together

/** Bytes that the graphs of the largest size take, about: opened, and at their busiest. */
export function neededBytes({ graphs, precision, sizes }: Manifest): number {
  const size = sizes.at(-1)!;
  const opened = graphs.filter((each) => each.size === size || each.size === null).map(({ files }) => files);
  const bytes = new Map(opened.flat().map((file) => [file.path, file.bytes] as const));
  const weights = [...bytes.values()].reduce((sum, each) => sum + each, 0) * (precision === "fp16" ? 2 : 1);
  const largest = Math.max(...opened.map((files) => files.reduce((sum, file) => sum + file.bytes, 0))); // on its way in
  const [height, width] = sides(size);
  return RUNTIME + A_WEIGHT * weights + A_PIXEL * height * width + largest;
}

/** Throws InputError for a bundle that needs more than `mostBytes`. shown: what the user calls it. */
export function checkMemory(manifest: Manifest, mostBytes: number, shown: string): void {
  const needed = neededBytes(manifest);
  if (needed <= mostBytes) return;
  const [about, most] = [needed, mostBytes].map((bytes) => Math.round(bytes / 1e6));
  throw new InputError(
    `${shown}: needs about ${about} MB of memory, more than the ${most} MB that are allowed here; ` +
      "export a smaller model, or at a smaller --size",
  );
}
