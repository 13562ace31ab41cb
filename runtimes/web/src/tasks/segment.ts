/** Masks for prompts. As `tasks/segment.py`. */

import type { Encoded, Prompts } from "../encoded.js";
import type { Mask } from "../masks.js";

/** The three masks of a prompt, highest predicted IoU first. */
const order = (ious: readonly number[]): number[] => [1, 2, 3].sort((a, b) => ious[b]! - ious[a]! || a - b);

/** The best mask for each prompt: of a single click that with the highest predicted IoU, else the single mask. */
export async function segment(encoded: Encoded, prompts: Prompts, signal?: AbortSignal): Promise<Mask[]> {
  const decoded = await encoded.decode(prompts, signal);
  return decoded.map(({ masks, predictedIous }) => {
    const best = prompts.ambiguous ? order(predictedIous)[0]! : 0;
    return encoded.mask(masks[best]!, predictedIous[best]!);
  });
}

/** The three masks of each prompt: often the whole, a part, and a part of the part. */
export async function segmentAll(encoded: Encoded, prompts: Prompts, signal?: AbortSignal): Promise<Mask[][]> {
  const decoded = await encoded.decode(prompts, signal);
  return decoded.map(({ masks, predictedIous }) => order(predictedIous).map((k) => encoded.mask(masks[k]!, predictedIous[k]!)));
}
