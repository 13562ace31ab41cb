/** A bundle: every file is held against its sha256 before it is used. As `bundle/folder.py` and `bundle/sessions.py`. */

import type { Engine, Held, Platform, Reading, Session, Tensor } from "./engine.js";
import { ChecksumError, InputError, oneLine } from "./errors.js";
import type { GraphName } from "./contract.js";
import { checkMemory } from "./memory.js";
import { MANIFEST, readManifest, type File, type Graph, type Manifest } from "./manifest.js";
import type { Size } from "./sizes.js";

/** What a bundle is opened with. */
export interface Loading {
  /** What runs its graphs. */
  readonly engine: Engine;
  /** What reads its files. */
  readonly platform: Platform;
  /** Ends what is being read. */
  readonly signal?: AbortSignal;
  /** Called while a file comes: its path, the bytes that are there, and how many there will be. */
  readonly progress?: (path: string, done: number, all: number) => void;
  /** A bundle that would need more memory is refused. */
  readonly mostBytes?: number;
}

/** The files of a bundle by their paths, in the place of an address. */
export type Files = Readonly<Record<string, Uint8Array | { arrayBuffer(): Promise<ArrayBuffer> }>>;

export class Bundle {
  private readonly sessions = new Map<string, Promise<Session>>();
  private closed = false;

  private constructor(
    readonly manifest: Manifest,
    private readonly loading: Loading,
    private readonly read: (path: string, how: Reading) => Promise<Uint8Array>,
    private readonly shown: string,
  ) {}

  /** given: its address, or its files. Throws InputError when there is no bundle that this version can read. */
  static async open(given: string | URL | Files, loading: Loading): Promise<Bundle> {
    const placed = typeof given === "string" || "href" in given;
    const shown = placed ? String(given).replace(/\/+$/, "") : "files";
    const read = placed
      ? (path: string, how: Reading) => loading.platform.read(addressOf(loading.platform, shown, path), how)
      : (path: string) => bytesOf(given as Files, path);
    let bytes: Uint8Array;
    try {
      bytes = await read(MANIFEST, { signal: loading.signal });
      if (bytes[0] === 0x3c) throw new Error("a page is there"); // "<": some servers answer with one for what is missing
    } catch (error) {
      loading.signal?.throwIfAborted();
      throw new InputError(`${shown}: holds no ${MANIFEST} (${oneLine(error)}); pass the folder that \`samclip-edge export\` wrote`);
    }
    const manifest = readManifest(new TextDecoder().decode(bytes), `${shown}/${MANIFEST}`);
    if (manifest.target !== "onnx") {
      throw new InputError(`${shown}: is for target ${manifest.target}; export it with \`--target onnx\``);
    }
    if (loading.mostBytes !== undefined) checkMemory(manifest, loading.mostBytes, shown);
    return new Bundle(manifest, loading, read, shown);
  }

  /** The bytes of a file, held against the manifest. Throws ChecksumError when it is missing or another file. */
  async bytes(file: File): Promise<Uint8Array> {
    const { signal, progress, platform } = this.loading;
    const path = `${this.shown}/${file.path}`;
    const mend = "copy or export the bundle again";
    let bytes: Uint8Array;
    try {
      bytes = await this.read(file.path, { signal, sha256: file.sha256, progress: (done, all) => progress?.(file.path, done, all) });
    } catch (error) {
      signal?.throwIfAborted();
      throw new ChecksumError(`${path}: cannot be read (${oneLine(error)}); ${mend}`);
    }
    if (bytes.length !== file.bytes) {
      throw new ChecksumError(`${path}: ${bytes.length} bytes where the manifest says ${file.bytes}; ${mend}`);
    }
    if ((await platform.sha256(bytes)) !== file.sha256) {
      throw new ChecksumError(`${path}: its sha256 is not the manifest's; ${mend}`);
    }
    return bytes;
  }

  /** The text of a file. */
  async text(file: File): Promise<string> {
    return new TextDecoder().decode(await this.bytes(file));
  }

  /** The graph of that name, at that size where it has one. */
  graph(name: GraphName, size: Size | null = null): Graph {
    const found = this.manifest.graphs.find((each) => each.name === name && each.size === size);
    if (found) return found;
    throw new InputError(`${this.shown}: has no ${name} at size ${size}; its sizes are [${this.manifest.sizes.join(", ")}]`);
  }

  /** Run a graph, which is opened at the first call. */
  async run(name: GraphName, size: Size | null, inputs: Record<string, Tensor | Held>): Promise<Record<string, Held>> {
    return (await this.session(name, size)).run(inputs);
  }

  /** The session of a graph. One that could not be opened is tried anew. */
  async session(name: GraphName, size: Size | null): Promise<Session> {
    if (this.closed) throw new InputError("model: was disposed of; load it again");
    const key = `${name} ${size}`;
    let session = this.sessions.get(key);
    if (!session) {
      session = this.opened(this.graph(name, size));
      this.sessions.set(key, session);
      session.catch(() => this.sessions.delete(key));
    }
    return session;
  }

  private async opened(graph: Graph): Promise<Session> {
    const [first, ...rest] = graph.files;
    const bytes = await this.bytes(first!);
    const weights = await Promise.all(rest.map(async (file) => ({ path: file.path, data: await this.bytes(file) })));
    const outputs = graph.signature.outputs.map((each) => each.name);
    try {
      return await this.loading.engine.open({ name: graph.name, address: addressOf(this.loading.platform, this.shown, first!.path), graph: bytes, weights, outputs });
    } catch (error) {
      if (error instanceof InputError) throw error;
      throw new InputError(`${this.shown}/${first!.path}: ONNX Runtime refuses it (${oneLine(error)}); export the bundle again`);
    }
  }

  /** Open the graphs of a size, and the text encoder. */
  async prepare(size: Size): Promise<void> {
    const wanted = this.manifest.graphs.filter((each) => each.size === size || each.size === null);
    for (const graph of wanted) await this.session(graph.name, graph.size);
  }

  /** Close all graphs. */
  async close(): Promise<void> {
    this.closed = true;
    const open = await Promise.allSettled(this.sessions.values());
    this.sessions.clear();
    for (const each of open) if (each.status === "fulfilled") await each.value.close();
  }
}

function addressOf(platform: Platform, bundle: string, path: string): string {
  return platform.join?.(bundle, path) ?? `${bundle}/${path}`;
}

async function bytesOf(files: Files, path: string): Promise<Uint8Array> {
  const file = Object.hasOwn(files, path) ? files[path]! : null;
  if (!file) throw new Error("is not among the files");
  return file instanceof Uint8Array ? file : new Uint8Array(await file.arrayBuffer());
}
