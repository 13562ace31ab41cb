/** Photos by a browser's own decoders, refused in Python's words (`photo/decode.py`). */

import { InputError, oneLine } from "../errors.js";
import type { Pixels } from "../pixels.js";

/** What a page has of a photo. */
export type Picture = Blob | ImageBitmap | Pixels;

const MOST = 178_956_970; // pixels of a photo, as in Python
const MEND = "convert it to a JPEG, PNG or WebP";

/** What the first bytes of each kind of photo are; ".": any byte. */
const MARKS = [
  "\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "RIFF....WEBP", "GIF87a", "GIF89a", "BM", "II*\0", "MM\0*",
  "....ftypavif", "....ftypavis", "....ftypheic", "....ftypheix", "....ftypmif1", "....ftypmsf1",
] as const; // prettier-ignore

// Colours as they are stored: Python reads no profile either.
const HOW = { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" } as const;

/** A picture upright, as RGB or RGBA. Throws InputError for what is no photo, is damaged, or is too large. */
export async function pixelsOf(picture: Picture): Promise<Pixels> {
  if (picture instanceof Blob) {
    const bitmap = await decoded(picture);
    try {
      return await pixelsOf(bitmap);
    } finally {
      bitmap.close();
    }
  }
  if ("data" in picture) return picture;
  const { width, height } = picture;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new InputError(`photo: this browser has no canvas of ${width}x${height} pixels; make it smaller`);
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return { width, height, data };
}

/** A photo's file as a browser decodes it, upright by its EXIF. */
export async function decoded(file: Blob): Promise<ImageBitmap> {
  const name = "name" in file ? String(file.name) : "photo";
  if (!file.size) throw new InputError(`${name}: the file is empty; pass a photo`);
  const start = String.fromCharCode(...new Uint8Array(await file.slice(0, 12).arrayBuffer()));
  const mark = MARKS.find((each) => [...each].every((letter, k) => letter === "." || letter === start[k]));
  if (!mark) {
    throw new InputError(`${name}: not a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF photo; convert it to one`);
  }
  let bitmap: ImageBitmap;
  try {
    // A JPEG that breaks off is shown as far as it goes, once it has an end.
    bitmap = await createImageBitmap(file, HOW).catch(() => createImageBitmap(new Blob([file, Uint8Array.of(0xff, 0xd9)]), HOW));
  } catch (error) {
    if (/^[IM]|ftyp/.test(mark)) throw new InputError(`${name}: this browser does not read photos of its kind; ${MEND}`);
    throw new InputError(`${name}: the photo is truncated or damaged (${oneLine(error)}); fetch it again`);
  }
  const pixels = bitmap.width * bitmap.height;
  if (pixels <= MOST) return bitmap;
  bitmap.close();
  throw new InputError(`${name}: is ${bitmap.width}x${bitmap.height}, ${pixels} pixels; make it smaller, to ${MOST}`);
}
