/** What a browser brings: files by `fetch` and its cache, WebCrypto, and photos by its own decoders. */

import type { Platform } from "../engine.js";
import { InputError } from "../errors.js";
import type { Pixels } from "../resize.js";

/** How a bundle is fetched. */
export interface Fetching {
  /** Called while a file comes: its path, the bytes that are there, and how many there will be (0: nobody says). */
  progress?: (path: string, done: number, all: number) => void;
  /** The browser's cache that keeps files whose sha256 is known; null: none. */
  cache?: string | null;
}

/** A bundle at an address. A file that is kept is fetched anew where the manifest says another sha256. */
export function browser(url: string | URL, { progress, cache = "samclip-edge" }: Fetching = {}): Platform {
  const base = String(url).replace(/\/*$/, "/");
  return {
    async read(path, signal, sha256) {
      const address = new URL(path, new URL(base, globalThis.location?.href)).href;
      const kept = cache !== null && sha256 !== undefined && globalThis.caches ? await caches.open(cache).catch(() => null) : null;
      const key = `${address}?sha256=${sha256}`;
      const found = await kept?.match(key);
      if (found) return new Uint8Array(await found.arrayBuffer());
      const response = await fetch(address, signal ? { signal } : {});
      if (!response.ok) throw new Error(`${response.status} ${response.statusText}`.trim());
      const bytes = await received(response, (done, all) => progress?.(path, done, all));
      // A full disk keeps nothing, and nothing is lost.
      await kept?.put(key, new Response(bytes)).catch(() => undefined);
      return bytes;
    },
    async sha256(bytes) {
      if (!globalThis.crypto?.subtle) {
        throw new InputError("page: is not secure, so no sha256 can be checked; serve it by https, or from localhost");
      }
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource));
      return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    },
  };
}

async function received(response: Response, progress: (done: number, all: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  const all = Number(response.headers.get("content-length") ?? 0);
  const reader = response.body?.getReader();
  if (!reader) return new Uint8Array(await response.arrayBuffer());
  const parts: Uint8Array[] = [];
  let done = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    done += part.value.length;
    progress(done, all);
  }
  const bytes = new Uint8Array(done);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** What a page has of a photo. Bytes of a picture are RGB or RGBA, row after row. */
export type Picture = Blob | ImageBitmap | ImageData | { data: Uint8Array | Uint8ClampedArray; width: number; height: number };

const MOST = 100_000_000; // pixels of a photo, as in Python

/** A photo as `look` takes it: upright, RGB; transparency is dropped. Throws InputError for what is no photo. */
export async function pixelsOf(picture: Picture): Promise<Pixels> {
  if (picture instanceof Blob) {
    let bitmap: ImageBitmap;
    try {
      bitmap = await createImageBitmap(picture, { imageOrientation: "from-image", premultiplyAlpha: "none" });
    } catch {
      throw new InputError(`${(picture as File).name ?? "photo"}: is no photo that this browser reads; give a JPEG, PNG or WebP`);
    }
    try {
      return await pixelsOf(bitmap);
    } finally {
      bitmap.close();
    }
  }
  const { width, height } = picture;
  if (width * height > MOST) throw new InputError(`photo: has ${width}x${height} pixels, more than ${MOST}; make it smaller`);
  if ("data" in picture) return rgb(picture.data, width, height);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(picture, 0, 0);
  return rgb(context.getImageData(0, 0, width, height).data, width, height);
}

function rgb(data: Uint8Array | Uint8ClampedArray, width: number, height: number): Pixels {
  const pixels = width * height;
  if (data.length === 3 * pixels) return { width, height, data };
  if (data.length !== 4 * pixels) {
    throw new InputError(`photo: ${data.length} bytes are not ${width} x ${height} pixels; pass 3 or 4 bytes a pixel`);
  }
  const made = new Uint8Array(3 * pixels);
  for (let k = 0; k < pixels; k++) {
    made[3 * k] = data[4 * k]!;
    made[3 * k + 1] = data[4 * k + 1]!;
    made[3 * k + 2] = data[4 * k + 2]!;
  }
  return { width, height, data: made };
}
