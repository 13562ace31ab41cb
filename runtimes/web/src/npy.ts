/** Features of names in a `.npy` file: (K,E) float32, which a bundle of any source may have written otherwise. */

/** Throws Error where it is not such a file. Returns the K features. */
export function readNpy(bytes: Uint8Array, names: number, width: number): Float32Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || String.fromCharCode(...bytes.subarray(0, 6)) !== "\x93NUMPY") throw new Error("it is no .npy file");
  const wide = bytes[6]! >= 2;
  const begin = (wide ? 12 : 10) + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder().decode(bytes.subarray(wide ? 12 : 10, begin));
  const shape = /'shape':\s*\((\d+), (\d+)\)/.exec(header);
  const said = `${/'descr':\s*'([^']*)'/.exec(header)?.[1]} ${shape?.[0]}`;
  if (!/'descr':\s*'<f4'/.test(header) || !/'fortran_order':\s*False/.test(header)) throw new Error(`${said} is not float32, row after row`);
  if (Number(shape?.[1]) !== names || Number(shape?.[2]) !== width || bytes.length - begin !== 4 * names * width) {
    throw new Error(`${said} for ${names} names`);
  }
  const all = new Float32Array(bytes.slice(begin).buffer);
  return Array.from({ length: names }, (_, row) => all.subarray(row * width, (row + 1) * width));
}
