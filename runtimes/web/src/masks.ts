/** Masks over a photo: COCO run-length encoding, boxes, stability, non-maximum suppression. As `photo/masks.py`. */

import { InputError } from "./errors.js";
import type { Grid } from "./resize.js";

/** A mask as COCO stores it: `size` is [height, width], `counts` is the compressed string. */
export interface Rle {
  readonly size: readonly [number, number];
  readonly counts: string;
}

/** x0, y0, x1, y1 in photo pixels, the end exclusive. */
export type Box = readonly [number, number, number, number];

/** A mask (H,W), column after column as COCO's runs go: 1 in it, 0 outside. */
export class Bits {
  constructor(
    readonly height: number,
    readonly width: number,
    readonly data: Uint8Array = new Uint8Array(height * width),
  ) {}

  /** Whether any pixel is in it. */
  get any(): boolean {
    return this.data.includes(1);
  }
}

/** One mask, in the photo's own pixels, run-length encoded. */
export class Mask {
  constructor(
    readonly rle: Rle,
    /** SAM's own; null only for a map of the CLIP head alone. */
    readonly predictedIou: number | null,
    /** Low-res logits, to hand back as `mask` to the next `segment`. */
    readonly logits: Grid | null = null,
    readonly label: string | null = null,
    /** The calibrated chance, 0..1, that `label` is right. */
    readonly score: number | null = null,
    /** x, y in photo pixels, where a grid point asked for the mask. */
    readonly point: readonly [number, number] | null = null,
    /** The cosine of `label` and of what is under the mask. */
    readonly similarity: number | null = null,
  ) {}

  /** The same with some fields changed. */
  with(changed: { label?: string | null; score?: number | null; similarity?: number | null; point?: [number, number] | null }): Mask {
    const { label = this.label, score = this.score, similarity = this.similarity, point = this.point } = changed;
    return new Mask(this.rle, this.predictedIou, this.logits, label, score, point, similarity);
  }

  /** The mask's pixels, decoded anew at each call. */
  get bits(): Bits {
    return decodeRle(this.rle);
  }

  /** Pixels in the mask. */
  get area(): number {
    return runsOf(this.rle).reduce((sum, run, place) => sum + (place % 2 ? run : 0), 0);
  }

  /** The box around it; zeros for an empty mask. */
  get box(): Box {
    return maskBox(this.bits);
  }

  /** What Python's `Mask.to_json` has. */
  toJSON(): Record<string, unknown> {
    const fields = { segmentation: this.rle, area: this.area, box: this.box, predicted_iou: this.predictedIou };
    if (this.label === null) return fields;
    return { ...fields, label: this.label, similarity: this.similarity, score: this.score, confidence: this.score };
  }
}

/** A mask as compressed COCO RLE, the string that `pycocotools.mask.encode` makes: `rleToString` of `maskApi.c`. */
export function encodeRle(bits: Bits): Rle {
  const runs: number[] = [];
  let value = 0;
  let begin = 0;
  for (let at = 0; at < bits.data.length; at++) {
    if (bits.data[at] === value) continue;
    runs.push(at - begin);
    begin = at;
    value ^= 1;
  }
  runs.push(bits.data.length - begin);
  const letters: number[] = [];
  runs.forEach((run, place) => {
    let rest = place > 2 ? run - runs[place - 2]! : run;
    for (let more = true; more; ) {
      const digit = rest & 0x1f;
      rest >>= 5;
      more = rest !== (digit & 0x10 ? -1 : 0);
      letters.push((digit | (more ? 0x20 : 0)) + 48);
    }
  });
  return { size: [bits.height, bits.width], counts: letters.map((each) => String.fromCharCode(each)).join("") };
}

/** The mask of a COCO RLE. Throws InputError when it is none, or its runs do not fill its size. */
export function decodeRle(rle: Rle): Bits {
  const runs = runsOf(rle);
  const bits = new Bits(rle.size[0], rle.size[1]);
  let at = 0;
  runs.forEach((run, place) => {
    if (place % 2) bits.data.fill(1, at, at + run);
    at += run;
  });
  return bits;
}

const MOST = 2 ** 32 - 1; // pixels of a mask: COCO's `maskApi.c` counts them in 32 bits

function runsOf(rle: Rle): number[] {
  const mend = "pass the RLE as it was encoded";
  const [height, width] = Array.isArray(rle?.size) ? rle.size : [NaN, NaN];
  const runs = typeof rle?.counts === "string" ? decompressed(rle.counts) : null;
  if (!runs || !Number.isInteger(height) || !Number.isInteger(width)) {
    const needs = "`size`, [height, width], and `counts`, COCO's compressed string or a list of whole numbers";
    throw new InputError(`: is not whole, or no RLE: it needs ${needs}; ${mend}`, "rle");
  }
  if (height! <= 0 || width! <= 0 || height! * width! > MOST) {
    throw new InputError(`: its size is not two numbers above 0, of ${MOST} pixels in all at most; ${mend}`, "rle");
  }
  if (runs.some((run) => run < 0)) throw new InputError(`: one of its runs is below 0; ${mend}`, "rle");
  if (runs.reduce((one, other) => one + other, 0) !== height! * width!) {
    throw new InputError(`: its runs do not have the ${height} x ${width} pixels of its size; ${mend}`, "rle");
  }
  return runs;
}

/** The runs of a compressed string; null when it is none. */
function decompressed(counts: string): number[] | null {
  const runs: number[] = [];
  let value = 0;
  let weight = 1;
  for (const letter of counts) {
    const digit = letter.charCodeAt(0) - 48;
    if (digit < 0 || digit > 63 || weight > 2 ** 60) return null;
    value += (digit & 0x1f) * weight;
    weight *= 32;
    if (digit & 0x20) continue;
    if (digit & 0x10) value -= weight;
    runs.push(value + (runs.length > 2 ? runs[runs.length - 2]! : 0));
    value = 0;
    weight = 1;
  }
  return weight === 1 ? runs : null;
}

/** The box around a mask; zeros when it is empty. */
export function maskBox(bits: Bits): Box {
  let [x0, y0, x1, y1] = [bits.width, bits.height, 0, 0];
  for (let x = 0; x < bits.width; x++) {
    const column = bits.data.subarray(x * bits.height, (x + 1) * bits.height);
    const first = column.indexOf(1);
    if (first < 0) continue;
    x0 = Math.min(x0, x);
    x1 = x + 1;
    y0 = Math.min(y0, first);
    y1 = Math.max(y1, column.lastIndexOf(1) + 1);
  }
  return x1 ? [x0, y0, x1, y1] : [0, 0, 0, 0];
}

/** The square around a mask's box, moved or cut to lie within the photo. */
export function squareAround(bits: Bits): Box {
  const [x0, y0, x1, y1] = maskBox(bits);
  const side = Math.max(x1 - x0, y1 - y0, 1);
  const left = Math.min(Math.max(Math.floor((x0 + x1 - side) / 2), 0), Math.max(bits.width - side, 0));
  const top = Math.min(Math.max(Math.floor((y0 + y1 - side) / 2), 0), Math.max(bits.height - side, 0));
  return [left, top, Math.min(left + side, bits.width), Math.min(top + side, bits.height)];
}

/** IoU of the masks cut at +offset and -offset (SAM's `calculate_stability_score`); 0 where both are empty. */
export function stability(logits: Float32Array, offset: number): number {
  let inside = 0;
  let union = 0;
  for (const each of logits) {
    if (each > offset) inside++;
    if (each > -offset) union++;
  }
  return union ? inside / union : 0;
}

/**
 * Greedy non-maximum suppression, as `torchvision.ops.nms`: the indices that are kept, best first. No two of their boxes
 * overlap by more than `threshold` IoU.
 */
export function suppress(boxes: readonly Box[], quality: readonly number[], threshold: number): number[] {
  const area = (box: Box): number => (box[2] - box[0]) * (box[3] - box[1]);
  let order = [...quality.keys()].sort((a, b) => quality[b]! - quality[a]! || a - b);
  const kept: number[] = [];
  while (order.length) {
    const best = order[0]!;
    kept.push(best);
    const one = boxes[best]!;
    order = order.slice(1).filter((index) => {
      const other = boxes[index]!;
      const across = Math.max(Math.min(one[2], other[2]) - Math.max(one[0], other[0]), 0);
      const down = Math.max(Math.min(one[3], other[3]) - Math.max(one[1], other[1]), 0);
      const overlap = across * down;
      return !(overlap / (area(one) + area(other) - overlap) > threshold);
    });
  }
  return kept;
}
