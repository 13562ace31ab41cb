/**
 * Every mask in a photo: a grid of clicks, SAM's filters, non-maximum suppression; then their names. As
 * `tasks/everything.py`. Source: `segment_anything/automatic_mask_generator.py` with one crop, whose defaults these are.
 */

import { breathe } from "../abort.js";
import type { Encoded } from "../encoded.js";
import { InputError } from "../errors.js";
import type { Judge, Question } from "../judge.js";
import { Bits, maskBox, stability, suppress, type Box, type Mask } from "../masks.js";
import { prepare, type Point } from "../prompts.js";
import type { Grid } from "../resize.js";

/** Which masks of the grid are kept. */
export interface Settings {
  pointsPerSide: number;
  /** The least. */
  predictedIou: number;
  /** The least IoU between the masks cut at `offset` above and below 0. */
  stability: number;
  offset: number;
  /** The most IoU of two boxes before the worse mask is dropped. */
  overlap: number;
}

export const SETTINGS: Settings = { pointsPerSide: 32, predictedIou: 0.88, stability: 0.95, offset: 1, overlap: 0.7 };

/** How a long call tells how far it is, and is ended. */
export interface Watching {
  /** Called with how many clicks are done, and how many there are. */
  progress?: (done: number, all: number) => void;
  signal?: AbortSignal;
}

/** All settings, checked. Throws InputError. */
export function settled(given: Partial<Settings> = {}): Settings {
  const made = { ...SETTINGS, ...given };
  if (!Number.isInteger(made.pointsPerSide) || made.pointsPerSide < 1 || made.pointsPerSide > 256) {
    throw new InputError(` ${made.pointsPerSide}: give 1 to 256 clicks a side, a whole number`, "points_per_side");
  }
  const python = { predictedIou: "predicted_iou", stability: "stability", offset: "offset", overlap: "overlap" } as const;
  for (const [key, name] of Object.entries(python)) {
    const value = made[key as keyof typeof python];
    if (typeof value !== "number" || Number.isNaN(value)) throw new InputError(` ${value}: give a number`, name);
  }
  return made;
}

const TOGETHER = 16; // clicks

/** All masks that pass the filters, best predicted IoU first, in photo pixels. */
export async function everything(encoded: Encoded, settings: Settings, watching: Watching = {}): Promise<Mask[]> {
  const { frame } = encoded;
  const { reduced } = frame;
  const side = settings.pointsPerSide;
  const grid: Point[] = [];
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) grid.push([((x + 0.5) / side) * frame.width, ((y + 0.5) / side) * frame.height]);
  }
  const found: { low: Grid; iou: number; point: Point; box: Box }[] = [];
  for (let start = 0; start < grid.length; start += TOGETHER) {
    const clicks = grid.slice(start, start + TOGETHER);
    const decoded = await encoded.decode(prepare(frame, { points: clicks.map((each) => [each]) }), watching.signal);
    decoded.forEach(({ masks, predictedIous }, click) => {
      for (const k of [1, 2, 3]) {
        if (!(predictedIous[k]! > settings.predictedIou)) continue;
        const logits = reduced.toPhoto(masks[k]!);
        if (stability(logits.data, settings.offset) < settings.stability) continue;
        found.push({ low: masks[k]!, iou: predictedIous[k]!, point: clicks[click]!, box: maskBox(above(logits)) });
      }
    });
    watching.progress?.(Math.min(start + TOGETHER, grid.length), grid.length);
  }
  const [across, down] = [frame.width / reduced.width, frame.height / reduced.height];
  // SAM's boxes end on the last pixel, not past it, and the overlap of small ones depends on that.
  const corners = found.map(({ box: [x0, y0, x1, y1] }): Box => [x0 * across, y0 * down, x1 * across - 1, y1 * down - 1]);
  const kept = suppress(corners, found.map((each) => each.iou), settings.overlap);
  return kept.map((index) => {
    const { low, iou, point } = found[index]!;
    return encoded.mask(low, iou).with({ point: [...point] });
  });
}

/** Where logits are above 0. */
function above(logits: Grid): Bits {
  const bits = new Bits(logits.rows, logits.columns);
  logits.data.forEach((each, at) => {
    if (each > 0) bits.data[(at % logits.columns) * logits.rows + Math.floor(at / logits.columns)] = 1;
  });
  return bits;
}

/** How well a name fits a mask, whatever else is asked. */
export interface Fit {
  readonly name: string;
  readonly logOdds: number;
  readonly score: number;
  readonly similarity: number;
}

/** Each name judged by itself, by what is under a mask. */
export async function nameFits(encoded: Encoded, judge: Judge, mask: Mask, question: Question): Promise<Fit[]> {
  const under = await encoded.featuresUnder(mask.bits);
  const odds = question.logOdds(under);
  return question.names.map((name, k) => ({
    name,
    logOdds: odds[k]!,
    score: judge.chance("mask", encoded.frame.size, odds[k]!),
    similarity: question.similarity(under, k),
  }));
}

/** Name each mask by the name that fits it best; leave it without a label where none has `minScore`. */
export async function nameMasks(
  encoded: Encoded,
  judge: Judge,
  masks: readonly Mask[],
  names: readonly string[],
  background: readonly string[],
  minScore: number,
  signal?: AbortSignal,
): Promise<Mask[]> {
  const question = await judge.question(names, background, signal);
  const named: Mask[] = [];
  for (const mask of masks) {
    if (!encoded.hasPatches) await breathe(signal); // each is shown to CLIP
    const fits = await nameFits(encoded, judge, mask, question);
    const best = fits.reduce((one, other) => (other.logOdds > one.logOdds ? other : one));
    const { name: label, score, similarity } = best;
    named.push(mask.with(score >= minScore ? { label, score, similarity } : { label: null, score: null, similarity: null }));
  }
  return named;
}
