/** What a browser brings: files by `fetch` and its cache, WebCrypto, and photos by its own decoders. */

import type { Platform } from "../engine.js";
import { InputError } from "../errors.js";
import { pixelsOf, type Picture } from "./pictures.js";

/**
 * Files by `fetch`, hashes by WebCrypto, photos by the browser's decoders. cache: the browser's cache that keeps files whose
 * sha256 is known; null: none. Only a file that has this sha256 is kept, and taken from it.
 */
export function browser({ cache = "samclip-edge" }: { cache?: string | null } = {}): Platform {
  return {
    sha256: sha256Of,
    // Each part by itself: no name may be read as another place, nor as a question or a fragment.
    join: (bundle, path) => [bundle, ...path.split("/").map(encodeURIComponent)].join("/"),
    pixels: (picture) => pixelsOf(picture as Picture),
    async read(path, { signal, sha256, progress }) {
      const address = new URL(path, globalThis.location?.href).href;
      const kept = cache !== null && sha256 !== undefined && globalThis.caches ? await caches.open(cache).catch(() => null) : null;
      const key = `${address}?sha256=${sha256}`;
      const found = await kept?.match(key).catch(() => undefined);
      if (found) {
        const bytes = new Uint8Array(await found.arrayBuffer());
        if ((await sha256Of(bytes)) === sha256) return bytes;
      }
      const response = await fetch(address, signal ? { signal } : {});
      if (!response.ok) throw new Error(`${response.status} ${response.statusText}`.trim());
      const bytes = await received(response, (done, all) => progress?.(done, all));
      if (kept && (await sha256Of(bytes)) === sha256) {
        await keep(kept, address, key, bytes).catch(() => undefined); // a full disk keeps nothing, and nothing is lost
      }
      return bytes;
    },
  };
}

/** Put a file into the cache, in the place of those that lay at its address before. */
async function keep(kept: Cache, address: string, key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  for (const { url } of await kept.keys()) if (url !== key && url.startsWith(`${address}?sha256=`)) await kept.delete(url);
  await kept.put(key, new Response(bytes));
}

async function sha256Of(bytes: Uint8Array): Promise<string> {
  if (!globalThis.crypto?.subtle) {
    throw new InputError("page: is not secure, so no sha256 can be checked; serve it by https, or from localhost");
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
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
