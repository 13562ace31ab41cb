/** Photos as pixels. */

import { InputError } from "./errors.js";

/** A photo: height, width, and H * W * 3 bytes of RGB, row after row. */
export interface Pixels {
  readonly height: number;
  readonly width: number;
  readonly data: Uint8Array | Uint8ClampedArray;
}

/** Whether a photo is pixels already, such as an ImageData. */
export function isPixels(photo: unknown): photo is Pixels {
  return typeof photo === "object" && photo !== null && "data" in photo && ArrayBuffer.isView(photo.data);
}

/** Pixels of 3 or 4 bytes as pixels of 3; transparency is dropped. Throws InputError for another number of bytes. */
export function rgb({ height, width, data }: Pixels): Pixels {
  const pixels = height * width;
  const whole = Number.isInteger(height) && Number.isInteger(width) && height > 0 && width > 0;
  if (!whole || (data.length !== 3 * pixels && data.length !== 4 * pixels)) {
    throw new InputError(`photo: ${data.length} bytes are not ${width} x ${height} pixels; pass 3 or 4 bytes a pixel`);
  }
  if (data.length === 3 * pixels) return { height, width, data };
  const made = new Uint8Array(3 * pixels);
  for (let k = 0; k < pixels; k++) {
    made[3 * k] = data[4 * k]!;
    made[3 * k + 1] = data[4 * k + 1]!;
    made[3 * k + 2] = data[4 * k + 2]!;
  }
  return { height, width, data: made };
}
