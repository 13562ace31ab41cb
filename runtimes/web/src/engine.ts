/** What runs the graphs, and what else a platform has to bring. Both are handed in: nothing here imports them. */

import type { Pixels } from "./pixels.js";

/** A tensor on the host. */
export interface Tensor {
  readonly type: "float32" | "int32";
  readonly dims: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** A tensor where the engine has it. It may go into another graph as it is. */
export interface Held {
  /** Its numbers, on the host. */
  read(): Promise<Tensor>;
  /** Let go of it. */
  dispose(): void;
}

/** One graph, loaded into an engine. */
export interface Session {
  /** All inputs by name to all outputs by name. */
  run(inputs: Readonly<Record<string, Tensor | Held>>): Promise<Record<string, Held>>;
  close(): Promise<void>;
}

/** What is opened: the bytes of a graph and of the weights beside it, and how it is called. */
export interface GraphFiles {
  readonly name: string;
  /** Where the graph lies, as the platform reads it; its weights lie beside it. */
  readonly address: string;
  /** The graph. */
  readonly graph: Uint8Array;
  /** Weights that the graph names by their path. */
  readonly weights: readonly { path: string; data: Uint8Array }[];
  readonly outputs: readonly string[];
}

/** What runs graphs. */
export interface Engine {
  open(files: GraphFiles): Promise<Session>;
}

/** How a file is read. */
export interface Reading {
  readonly signal?: AbortSignal | undefined;
  /** What the manifest says of the file: by it a platform may know a file that it kept. */
  readonly sha256?: string | undefined;
  /** Called while the file comes: the bytes that are there, and how many there will be (0: nobody says). */
  readonly progress?: ((done: number, all: number) => void) | undefined;
}

/** What a place brings that JavaScript runs in: files, a hash, and pictures. */
export interface Platform {
  /** The address of a file: by that of its bundle, and its path in it. Left out: the two with "/" between. */
  join?(bundle: string, path: string): string;
  /** The bytes of the file at an address. */
  read(address: string, how: Reading): Promise<Uint8Array>;
  /** The sha256 of bytes, in hexadecimal. */
  sha256(bytes: Uint8Array): Promise<string>;
  /** A picture as pixels, where the place has pictures of its own. Throws InputError for what is none. */
  pixels?(picture: unknown): Promise<Pixels>;
}

/** Numbers as a tensor. */
export function tensor(data: Float32Array | Int32Array, ...dims: number[]): Tensor {
  return { type: data instanceof Int32Array ? "int32" : "float32", dims, data };
}

/** The floats of a tensor that an engine holds. */
export async function floats(held: Held): Promise<Float32Array> {
  return (await held.read()).data as Float32Array;
}
