/**
 * The frame: how one photo lies in the model's input, and how points, maps and masks go from one to the other.
 *
 * *Photo* pixels are of the upright photo; *model* pixels are of the input, whose top left corner the resized photo
 * fills. As `photo/frame.py`; the resize is `SamPredictor`'s.
 */

import { Bits } from "./masks.js";
import { bands, between, firstRows, Grid, product, resize, roundEven, taps, transposedProduct, type Band } from "./resize.js";
import type { Pixels } from "./pixels.js";
import { grid, lowRes, MASK_STRIDE, PATCH, sides, type Size } from "./sizes.js";

export const PIXEL_MEAN = [123.675, 116.28, 103.53] as const; // RGB, SAM's; also the padding colour

export class Frame {
  /** How large the photo lies in the input: in a square its longest side is S. */
  readonly scale: number;
  /** Height and width of the photo inside the input. */
  readonly scaled: readonly [number, number];

  /** height, width: of the photo. size: of the input. */
  constructor(
    readonly height: number,
    readonly width: number,
    readonly size: Size,
  ) {
    const [down, across] = sides(size);
    this.scale = Math.min(down / height, across / width);
    this.scaled = [Math.max(Math.trunc(height * this.scale + 0.5), 1), Math.max(Math.trunc(width * this.scale + 0.5), 1)];
  }

  /** Rows and columns of a low-res mask. */
  get lowRes(): [number, number] {
    return lowRes(this.size);
  }

  /** The photo as the `image` input (1,3,H,W): RGB, 0..255, padded with the pixel mean at the right and bottom. */
  image(photo: Pixels): Float32Array {
    const [height, width] = this.scaled;
    const [down, across] = sides(this.size);
    const { data } = resize(photo, height, width);
    const image = new Float32Array(3 * down * across);
    for (let c = 0; c < 3; c++) {
      image.fill(PIXEL_MEAN[c]!, c * down * across, (c + 1) * down * across);
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) image[(c * down + y) * across + x] = data[(y * width + x) * 3 + c]!;
      }
    }
    return image;
  }

  /** A point x, y of the photo in model coordinates. */
  toModel(x: number, y: number): [number, number] {
    const [height, width] = this.scaled;
    return [Math.fround(x * (width / this.width)), Math.fround(y * (height / this.height))];
  }

  /** The frame of the same photo made no larger than it lies in the input. */
  get reduced(): Frame {
    const [height, width] = this.scaled;
    return height >= this.height ? this : new Frame(height, width, this.size);
  }

  /** Low-res mask logits to logits over the photo's own pixels (SAM's `postprocess_masks`). */
  toPhoto(logits: Grid): Grid {
    const [rows, columns] = this.waysBack(logits);
    // Both products shrink with the smaller side first.
    return this.height <= this.width ? transposedProduct(product(rows, logits), columns) : product(rows, transposedProduct(logits, columns));
  }

  /** Where `toPhoto` of low-res logits is above 0. */
  bits(logits: Grid): Bits {
    const found = new Bits(this.height, this.width);
    const [rows, columns] = this.waysBack(logits);
    // Each pixel is a weighted mean of logits near it, so only what a logit above 0 reaches is computed.
    const wide = transposedProduct(logits, columns); // (low-res rows, photo columns)
    const line = new Float32Array(logits.rows);
    for (let x = 0; x < this.width; x++) {
      for (let row = 0; row < logits.rows; row++) line[row] = wide.data[row * this.width + x]!;
      if (!line.some((each) => each > 0)) continue;
      for (let y = 0; y < this.height; y++) {
        let sum = 0;
        const { first, weights } = rows[y]!;
        for (let k = 0; k < weights.length; k++) sum += weights[k]! * line[first + k]!;
        if (Math.fround(sum) > 0) found.data[x * this.height + y] = 1;
      }
    }
    return found;
  }

  /** The matrices from rows and columns of a low-res mask to those of the photo, by way of the input. */
  private waysBack(low: Grid): [Band[], Band[]] {
    const [height, width] = this.scaled;
    const [down, across] = sides(this.size);
    return [wayBack(low.rows, down, height, this.height), wayBack(low.columns, across, width, this.width)];
  }

  /** Model pixels along the side of a cell of a map over the input. rows: of the map. The last cells may reach over it. */
  cell(rows: number): number {
    return PATCH * Math.ceil(grid(this.size)[0] / rows);
  }

  /** Rows and columns of a map over the input whose centres the photo reaches (at least one each). rows: of the map. */
  cells(rows: number): [number, number] {
    const side = this.cell(rows);
    const [down, across] = this.scaled.map((each) => Math.max(Math.trunc(each / side + 0.5), 1));
    return [down!, across!];
  }

  /**
   * How much of each cell of a map (rows,columns) over the input a photo-sized mask covers, 0..1.
   *
   * A mask too small to cover a hundredth of any cell falls wholly on the cell of its centre.
   */
  coverage(mask: Bits, rows: number, columns: number): Grid {
    const side = this.cell(rows);
    const [height, width] = this.scaled.map((each) => Math.max(roundEven((each * 8) / side), 1)) as [number, number];
    const shares = boxes(mask, height, width);
    const cells = new Grid(rows, columns);
    for (let y = 0; y < Math.min(height, 8 * rows); y++) {
      for (let x = 0; x < Math.min(width, 8 * columns); x++) {
        cells.data[Math.floor(y / 8) * columns + Math.floor(x / 8)]! += shares.data[y * width + x]! / 64;
      }
    }
    if (mask.any && !cells.data.some((each) => each >= 0.01)) {
      const [x, y] = this.toModel(...centre(mask)).map((each) => Math.trunc(Math.fround(each / side))) as [number, number];
      cells.data[Math.min(y, rows - 1) * columns + Math.min(x, columns - 1)] = 1;
    }
    return cells;
  }

  /** A map over the input as low-res logits, linearly. */
  enlarge(values: Grid): Grid {
    const side = this.cell(values.rows) / MASK_STRIDE;
    const [down, across] = this.lowRes;
    const rows = bands(firstRows(between(values.rows, values.rows * side), down));
    const columns = bands(firstRows(between(values.columns, values.columns * side), across));
    return transposedProduct(product(rows, values), columns);
  }
}

const kept = new Map<string, Band[]>(); // of the photos of late

/** The matrix (photo, low-res) from one side of a low-res mask to that of the photo, by way of the input. */
function wayBack(low: number, side: number, scaled: number, photo: number): Band[] {
  const key = [low, side, scaled, photo].join();
  const found = kept.get(key) ?? bands(product(bands(between(scaled, photo)), firstRows(between(low, side), scaled)));
  kept.delete(key);
  kept.set(key, found);
  if (kept.size > 8) kept.delete(kept.keys().next().value!);
  return found;
}

/** How much of each cell of a grid over a mask it covers: Pillow's `resize` with `BOX`. */
function boxes(mask: Bits, height: number, width: number): Grid {
  const rows = taps(mask.height, height, "box");
  const tall = new Grid(mask.width, height); // column after column, as the mask lies
  for (let x = 0; x < mask.width; x++) {
    const column = mask.data.subarray(x * mask.height, (x + 1) * mask.height);
    if (!column.includes(1)) continue;
    rows.forEach(({ first, weights }, row) => {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k]! * column[first + k]!;
      tall.data[x * height + row] = sum;
    });
  }
  const out = new Grid(height, width);
  taps(mask.width, width, "box").forEach(({ first, weights }, column) => {
    for (let row = 0; row < height; row++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k]! * tall.data[(first + k) * height + row]!;
      out.data[row * width + column] = sum;
    }
  });
  return out;
}

/** The mean of the mask's columns and of its rows, cut to whole numbers. */
function centre(mask: Bits): [number, number] {
  let [x, y, count] = [0, 0, 0];
  mask.data.forEach((inside, at) => {
    if (!inside) return;
    x += Math.floor(at / mask.height);
    y += at % mask.height;
    count++;
  });
  return [Math.trunc(x / count), Math.trunc(y / count)];
}
