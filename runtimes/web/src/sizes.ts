/** The input size of a graph: S for a square of S x S model pixels, or "WxH" for a rectangle. As `bundle/sizes.py`. */

/** In a manifest: a number, or a text such as "1024x576". */
export type Size = number | string;

export const PATCH = 16; // pixels along the side of a token
export const MASK_STRIDE = 4; // model pixels along the side of a low-res mask pixel

/** Height and width in pixels. Throws Error for what is no size, or no positive multiple of 16. */
export function sides(size: Size): [number, number] {
  const found = /^([0-9]{1,6})(?:x([0-9]{1,6}))?$/.exec(String(size));
  if (!found) throw new Error(`${size} is neither a number nor WxH, such as 1024x576`);
  const width = Number(found[1]);
  const height = Number(found[2] ?? found[1]);
  if ([height, width].some((side) => side <= 0 || side % PATCH)) {
    throw new Error(`size ${size} is not a positive multiple of ${PATCH}`);
  }
  return [height, width];
}

/** The size of an input of that height and width. */
export function ofSides(height: number, width: number): Size {
  return height === width ? width : `${width}x${height}`;
}

/** Rows and columns of tokens. */
export function grid(size: Size): [number, number] {
  const [height, width] = sides(size);
  return [height / PATCH, width / PATCH];
}

/** Rows and columns of a low-res mask. */
export function lowRes(size: Size): [number, number] {
  const [height, width] = sides(size);
  return [height / MASK_STRIDE, width / MASK_STRIDE];
}
