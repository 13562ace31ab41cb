/** Resizing: photos as Pillow does it, to the last bit, and maps as torch does it. As `photo/resize.py`. */

import type { Pixels } from "./pixels.js";

/** Numbers (rows, columns), row after row. */
export class Grid {
  constructor(
    readonly rows: number,
    readonly columns: number,
    readonly data: Float32Array = new Float32Array(rows * columns),
  ) {}
}

type Filter = "bilinear" | "bicubic" | "box";

/** Which old samples a new one is made of, and their weights, which add up to 1. */
interface Tap {
  readonly first: number;
  readonly weights: readonly number[];
}

const PRECISION = 22; // bits of a whole weight: with a sample's 8, a sign and room for overshoot they fill 32

function weightAt(filter: Filter, signed: number): number {
  if (filter === "box") return signed > -0.5 && signed <= 0.5 ? 1 : 0;
  const x = Math.abs(signed);
  if (filter === "bilinear") return x < 1 ? 1 - x : 0;
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** The taps from one side to another, of a filter that widens as it shrinks: Pillow's `precompute_coeffs`. */
export function taps(oldSide: number, newSide: number, filter: Filter): Tap[] {
  const scale = Math.fround(oldSide) / newSide;
  const widened = Math.max(scale, 1);
  const support = (filter === "box" ? 0.5 : filter === "bilinear" ? 1 : 2) * widened;
  return Array.from({ length: newSide }, (_, cell) => {
    const centre = (cell + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), oldSide);
    const weights = Array.from({ length: end - first }, (_, k) => weightAt(filter, (first + k - centre + 0.5) * (1 / widened)));
    const sum = weights.reduce((one, other) => one + other, 0);
    return { first, weights: sum === 0 ? weights : weights.map((each) => each / sum) };
  });
}

/** Weights as whole numbers, times 2^22: Pillow's `normalize_coeffs_8bpc`. */
function whole(tap: Tap): Int32Array {
  return Int32Array.from(tap.weights, (each) => Math.trunc(each * 2 ** PRECISION + (each < 0 ? -0.5 : 0.5)));
}

/**
 * One axis of a photo, resized. along: how far apart its samples lie; across: how far the lines; lines: how many.
 * Samples of a pixel, or of a row, lie beside each other.
 */
function resizeAxis(from: Pixels["data"], height: number, width: number, side: number, down: boolean, filter: Filter): Uint8Array {
  const old = down ? height : width;
  const [newHeight, newWidth] = down ? [side, width] : [height, side];
  const out = new Uint8Array(newHeight * newWidth * 3);
  const step = down ? 3 * width : 3; // from one sample to the next that counts
  const lines = down ? 1 : height;
  const run = down ? 3 * width : 3; // samples that have the same taps, one beside the other
  const made = taps(old, side, filter).map((tap) => ({ first: tap.first, weights: whole(tap) }));
  for (let line = 0; line < lines; line++) {
    const begin = line * 3 * width;
    let at = line * 3 * newWidth;
    for (const { first, weights } of made) {
      const source = begin + first * step;
      for (let k = 0; k < run; k++) {
        let sum = 1 << (PRECISION - 1);
        for (let tap = 0, place = source + k; tap < weights.length; tap++, place += step) {
          sum = (sum + Math.imul(weights[tap]!, from[place]!)) | 0;
        }
        const value = sum >> PRECISION;
        out[at++] = value < 0 ? 0 : value > 255 ? 255 : value;
      }
    }
  }
  return out;
}

/** Resize a photo with a filter that widens as it shrinks: Pillow's `BILINEAR` or `BICUBIC`. */
export function resize(photo: Pixels, height: number, width: number, cubic = false): Pixels {
  const filter = cubic ? "bicubic" : "bilinear";
  // Pillow shrinks the width first, but from 13.0 on the height where that shrinks by more than twice as many pixels.
  const shrinks = photo.height - height;
  const downFirst = shrinks > 0 && shrinks > 2 * (photo.width - width);
  let { data, height: rows, width: columns } = photo;
  for (const down of downFirst ? [true, false] : [false, true]) {
    const side = down ? height : width;
    if (side === (down ? rows : columns)) continue;
    data = resizeAxis(data, rows, columns, side, down, filter);
    if (down) rows = side;
    else columns = side;
  }
  return { height, width, data: data === photo.data ? data.slice() : data };
}

/** Round to whole numbers, halves to even ones, as Python does. */
export function roundEven(value: number): number {
  const low = Math.floor(value);
  const rest = value - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

/** How CLIP is shown a photo: see `clipSquare`. */
export type ClipResize = "shortest" | "longest" | "squash";

/**
 * A photo as CLIP sees it: (3,size,size) RGB, 0..255.
 *
 * "shortest" resizes the shorter side to `size` and cuts out the middle, "longest" resizes the longer side and puts the
 * photo into the middle of a black square, "squash" resizes both. Source: open_clip's `image_transform`.
 */
export function clipSquare(photo: Pixels, size: number, mode: ClipResize, cubic: boolean): Float32Array {
  let [height, width] = [size, size];
  if (mode === "longest") {
    const longer = Math.max(photo.height, photo.width);
    height = Math.max(roundEven((photo.height * size) / longer), 1);
    width = Math.max(roundEven((photo.width * size) / longer), 1);
  } else if (mode === "shortest") {
    if (photo.height < photo.width) width = Math.trunc((size * photo.width) / photo.height);
    else height = Math.trunc((size * photo.height) / photo.width);
  }
  const { data } = resize(photo, height, width, cubic);
  const padded = mode === "longest";
  const top = padded ? -Math.floor((size - height) / 2) : roundEven((height - size) / 2);
  const left = padded ? -Math.floor((size - width) / 2) : roundEven((width - size) / 2);
  const out = new Float32Array(3 * size * size);
  for (let y = Math.max(0, -top); y < Math.min(size, height - top); y++) {
    for (let x = Math.max(0, -left); x < Math.min(size, width - left); x++) {
      for (let c = 0; c < 3; c++) out[(c * size + y) * size + x] = data[((top + y) * width + left + x) * 3 + c]!;
    }
  }
  return out;
}

/**
 * The matrix (new,old) that resizes one side of a map linearly, without a filter that widens: torch's
 * `interpolate(mode="bilinear", align_corners=False)`.
 */
export function between(old: number, side: number): Grid {
  const matrix = new Grid(side, old);
  for (let row = 0; row < side; row++) {
    const at = Math.min(Math.max((row + 0.5) * (old / side) - 0.5, 0), old - 1);
    const low = Math.floor(at);
    matrix.data[row * old + low] = 1 - (at - low);
    matrix.data[row * old + Math.min(low + 1, old - 1)]! += Math.fround(at - low);
  }
  return matrix;
}

/** One row of a matrix, without the zeros before and behind its numbers. */
export interface Band {
  readonly first: number;
  readonly weights: Float32Array;
}

/** The rows of a matrix whose numbers lie beside each other. */
export function bands(matrix: Grid): Band[] {
  return Array.from({ length: matrix.rows }, (_, row) => {
    const line = matrix.data.subarray(row * matrix.columns, (row + 1) * matrix.columns);
    const first = Math.max(line.findIndex((each) => each !== 0), 0);
    return { first, weights: line.subarray(first, line.findLastIndex((each) => each !== 0) + 1) };
  });
}

/** left @ right. */
export function product(left: readonly Band[], right: Grid): Grid {
  const { columns } = right;
  const out = new Grid(left.length, columns);
  left.forEach(({ first, weights }, row) => {
    const line = out.data.subarray(row * columns, (row + 1) * columns);
    weights.forEach((weight, k) => {
      const from = (first + k) * columns;
      for (let column = 0; column < columns; column++) line[column]! += weight * right.data[from + column]!;
    });
  });
  return out;
}

/** left @ right.T */
export function transposedProduct(left: Grid, right: readonly Band[]): Grid {
  const out = new Grid(left.rows, right.length);
  for (let row = 0; row < left.rows; row++) {
    const from = row * left.columns;
    for (let column = 0; column < right.length; column++) {
      const { first, weights } = right[column]!;
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k]! * left.data[from + first + k]!;
      out.data[row * right.length + column] = sum;
    }
  }
  return out;
}

/** The first rows of a matrix. */
export function firstRows(matrix: Grid, rows: number): Grid {
  return new Grid(rows, matrix.columns, matrix.data.subarray(0, rows * matrix.columns));
}
