/**
 * A model in a worker, so that a page never waits for it: `serve` in the worker, `connect` in the page.
 *
 * The two talk in messages. Of a call: its number, the scene that it is for, the method and what it is given; of an answer
 * the same number. What a call's `watching` holds stays in the page: progress comes back, and an abort goes over.
 */

import { ChecksumError, InputError } from "./errors.js";
import { Mask } from "./masks.js";
import type { Pointing } from "./prompts.js";
import { Grid } from "./resize.js";
import type { Photo, SamClip } from "./samclip.js";
import type { Naming, Scene } from "./scene.js";
import type { Size } from "./sizes.js";
import type { Guess } from "./tasks/classify.js";
import type { Settings, Watching } from "./tasks/everything.js";

/** A worker from the page's side, the worker's own side, or an end of a MessageChannel. */
export interface Port {
  postMessage(message: unknown): void;
  onmessage: ((event: any) => void) | null;
  /** Of a worker: it fell, and answers nothing more. */
  onerror?: ((event: any) => void) | null;
}

type Told = { id: number } & (
  | { abort: true }
  | { progress: [number, number] }
  | { answer: unknown }
  | { error: { name: string; message: string; argument: string } }
  | { scene: number | null; method: string; given: unknown[]; watched: boolean }
);

/** What a scene is told by. */
interface SceneFacts {
  readonly number: number;
  readonly height: number;
  readonly width: number;
  readonly size: Size;
}

/** Answer the calls of a page. load: opens the model, when the first call comes. */
export function serve(port: Port, load: (...given: any[]) => Promise<SamClip>): void {
  let model: Promise<SamClip> | null = null;
  const scenes = new Map<number, Scene>();
  let next = 0;
  const running = new Map<number, AbortController>();

  const calls: Record<string, (given: any[], watching: Watching) => Promise<unknown>> = {
    load: async (given) => {
      model = load(...given);
      const { sizes, namesSize, points } = await model;
      return { sizes, namesSize, points };
    },
    look: async ([photo, size]) => {
      const scene = await (await model!).look(photo, size);
      const number = next++;
      scenes.set(number, scene);
      return { number, height: scene.height, width: scene.width, size: scene.size } satisfies SceneFacts;
    },
    prepare: async ([size]) => (await model!).prepare(size),
    names: async () => (await model!).names(),
    embed: async ([photos, size]) => (await model!).embed(photos, size),
    embedText: async ([texts]) => (await model!).embedText(texts),
    rank: async ([photos, text, size]) => (await model!).rank(photos, text, size),
    dispose: async () => {
      for (const scene of scenes.values()) await scene.dispose();
      scenes.clear();
      await (await model)?.dispose();
    },
  };
  const asked: Record<string, (scene: Scene, given: any[], watching: Watching) => Promise<unknown>> = {
    classify: (scene, [labels, naming]) => scene.classify(labels, naming),
    segment: (scene, [pointing], watching) => scene.segment(revived(pointing), watching),
    segmentAll: (scene, [pointing], watching) => scene.segmentAll(revived(pointing), watching),
    find: (scene, [labels, how], watching) => scene.find(labels, { ...how, ...watching }),
    everything: (scene, [how], watching) => scene.everything({ ...how, ...watching }),
    name: (scene, [masks, labels, naming], { signal }) => scene.name(masks.map(maskOf), labels, { ...naming, ...watchingOf(signal) }),
    imageFeatures: (scene) => scene.imageFeatures(),
  };

  port.onmessage = async ({ data }: { data: Told }) => {
    const { id } = data;
    if ("abort" in data) return running.get(id)?.abort(new DOMException("the call was aborted", "AbortError"));
    if (!("method" in data)) return;
    const abort = new AbortController();
    running.set(id, abort);
    const watching: Watching = { signal: abort.signal };
    if (data.watched) watching.progress = (...progress) => port.postMessage({ id, progress });
    try {
      const scene = data.scene === null ? null : scenes.get(data.scene);
      let answer: unknown = null;
      if (data.scene !== null && data.method === "dispose") {
        scenes.delete(data.scene);
        await scene?.dispose();
      } else if (data.scene === null) {
        answer = await calls[data.method]!(data.given, watching);
      } else {
        if (!scene) throw new InputError("scene: was disposed of; look at the photo again");
        answer = await asked[data.method]!(scene, data.given, watching);
      }
      port.postMessage({ id, answer });
    } catch (error) {
      const { name = "Error", message = String(error), argument = "" } = Object(error) as Partial<InputError>; // wasm throws numbers
      port.postMessage({ id, error: { name, message, argument } });
    } finally {
      running.delete(id);
    }
  };
}

/** The page's side of a port: calls, and their answers. */
class Line {
  private next = 0;
  private fallen: Error | null = null;
  private readonly waiting = new Map<number, { resolve: (answer: any) => void; reject: (error: unknown) => void; watching: Watching }>();

  constructor(private readonly port: Port) {
    port.onmessage = ({ data }: { data: Told }) => {
      const call = this.waiting.get(data.id);
      if (!call) return;
      if ("progress" in data) return call.watching.progress?.(...data.progress);
      this.waiting.delete(data.id);
      if ("error" in data) call.reject(errorOf(data.error));
      else if ("answer" in data) call.resolve(data.answer);
    };
    port.onerror = ({ message }: { message?: string }) => {
      this.fallen = new Error(`the worker fell (${message ?? "it did not start"}); load the page again`);
      for (const { reject } of this.waiting.values()) reject(this.fallen);
      this.waiting.clear();
    };
  }

  ask<T>(scene: number | null, method: string, given: unknown[], watching: Watching = {}): Promise<T> {
    const id = this.next++;
    const { signal } = watching;
    return new Promise<T>((resolve, reject) => {
      if (this.fallen) return reject(this.fallen);
      if (signal?.aborted) return reject(signal.reason);
      signal?.addEventListener("abort", () => {
        this.port.postMessage({ id, abort: true });
        if (this.waiting.delete(id)) reject(signal.reason);
      });
      this.waiting.set(id, { resolve, reject, watching });
      try {
        this.port.postMessage({ id, scene, method, given, watched: watching.progress !== undefined });
      } catch (error) {
        this.waiting.delete(id); // what cannot be sent
        reject(error);
      }
    });
  }
}

/** A scene in a worker. Its methods are those of `Scene`. */
export class RemoteScene {
  readonly height: number;
  readonly width: number;
  readonly size: Size;

  constructor(
    private readonly line: Line,
    private readonly facts: SceneFacts,
  ) {
    ({ height: this.height, width: this.width, size: this.size } = facts);
  }

  classify(labels: readonly string[], naming: Pick<Naming, "background"> = {}): Promise<Guess[]> {
    return this.line.ask(this.facts.number, "classify", [labels, naming]);
  }

  async segment(pointing: Pointing, watching: Pick<Watching, "signal"> = {}): Promise<Mask[]> {
    return this.masks("segment", [pointing], watching);
  }

  async segmentAll(pointing: Pointing, watching: Pick<Watching, "signal"> = {}): Promise<Mask[][]> {
    const all = await this.line.ask<Mask[][]>(this.facts.number, "segmentAll", [pointing], watching);
    return all.map((each) => each.map(maskOf));
  }

  async find(
    labels: readonly string[],
    how: Naming & Watching & { refine?: boolean; points?: number; threshold?: number; settings?: Partial<Settings> } = {},
  ): Promise<Mask[]> {
    const { signal, progress, ...rest } = how;
    return this.masks("find", [labels, rest], watchingOf(signal, progress));
  }

  async everything(how: Naming & Watching & { labels?: readonly string[]; settings?: Partial<Settings> } = {}): Promise<Mask[]> {
    const { signal, progress, ...rest } = how;
    return this.masks("everything", [rest], watchingOf(signal, progress));
  }

  async name(masks: readonly Mask[], labels: readonly string[], { signal, ...naming }: Naming & Pick<Watching, "signal"> = {}): Promise<Mask[]> {
    return this.masks("name", [masks, labels, naming], watchingOf(signal));
  }

  imageFeatures(): Promise<Float32Array> {
    return this.line.ask(this.facts.number, "imageFeatures", []);
  }

  dispose(): Promise<void> {
    return this.line.ask(this.facts.number, "dispose", []);
  }

  private async masks(method: string, given: unknown[], watching: Watching = {}): Promise<Mask[]> {
    return (await this.line.ask<Mask[]>(this.facts.number, method, given, watching)).map(maskOf);
  }
}

/** A model in a worker. Its methods are those of `SamClip`. */
export class RemoteSamClip {
  constructor(
    private readonly line: Line,
    readonly sizes: readonly Size[],
    readonly namesSize: Size,
    readonly points: number | null,
  ) {}

  /** photo: pixels, or what the worker's platform knows. */
  async look(photo: Photo, size?: Size): Promise<RemoteScene> {
    return new RemoteScene(this.line, await this.line.ask(null, "look", [photo, size]));
  }

  prepare(size?: Size): Promise<void> {
    return this.line.ask(null, "prepare", [size]);
  }

  names(): Promise<string[]> {
    return this.line.ask(null, "names", []);
  }

  embed(photos: readonly Photo[], size?: Size): Promise<Float32Array[]> {
    return this.line.ask(null, "embed", [photos, size]);
  }

  embedText(texts: readonly string[]): Promise<Float32Array[]> {
    return this.line.ask(null, "embedText", [texts]);
  }

  rank(photos: readonly Photo[], text: string, size?: Size): Promise<[number, number][]> {
    return this.line.ask(null, "rank", [photos, text, size]);
  }

  dispose(): Promise<void> {
    return this.line.ask(null, "dispose", []);
  }
}

/** Open a model in a worker. given: what `serve`'s `load` takes there. Throws what loading throws. */
export async function connect(port: Port, ...given: unknown[]): Promise<RemoteSamClip> {
  const line = new Line(port);
  const { sizes, namesSize, points } = await line.ask<{ sizes: Size[]; namesSize: Size; points: number | null }>(null, "load", given);
  return new RemoteSamClip(line, sizes, namesSize, points);
}

function watchingOf(signal?: AbortSignal, progress?: Watching["progress"]): Watching {
  return { ...(signal ? { signal } : {}), ...(progress ? { progress } : {}) };
}

/** A mask whose fields came in a message, which has no classes. */
function maskOf(plain: Mask): Mask {
  const logits = plain.logits && gridOf(plain.logits);
  return new Mask(plain.rle, plain.predictedIou, logits, plain.label, plain.score, plain.point, plain.similarity);
}

function gridOf(plain: Grid): Grid {
  return new Grid(plain.rows, plain.columns, plain.data);
}

function revived(pointing: Pointing): Pointing {
  const { mask } = pointing;
  if (mask === undefined) return pointing;
  return { ...pointing, mask: Array.isArray(mask) ? mask.map(gridOf) : gridOf(mask as Grid) };
}

function errorOf({ name, message, argument }: { name: string; message: string; argument: string }): Error {
  if (name === "InputError" || name === "ChecksumError") {
    return new (name === "InputError" ? InputError : ChecksumError)(message.slice(argument.length), argument);
  }
  return Object.assign(new Error(message), { name });
}
