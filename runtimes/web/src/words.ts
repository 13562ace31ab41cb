/** Words to text features, once each: by the bundle's text encoder, or looked up in its vocabulary. As `text/words.py`. */

import { breathe } from "./abort.js";
import type { Bundle } from "./bundle.js";
import { clean } from "./clean.js";
import { floats, tensor } from "./engine.js";
import { InputError, oneLine } from "./errors.js";
import { fixedSide, type File } from "./manifest.js";
import { checkText, readNames, readTemplates } from "./names.js";
import { readNpy } from "./npy.js";
import { quoted } from "./python.js";
import { endOfText, isFilled } from "./spec.js";
import { Tokenizer } from "./tokenizer.js";

/** Names and their features (E), L2-normalised. */
export interface Named {
  readonly names: readonly string[];
  readonly features: readonly Float32Array[];
}

const BATCH = 32; // texts in one call
const TOGETHER = 32; // names whose texts are read together
const REMEMBERED = 10_000; // names whose features are kept

/** The text side of a bundle. */
export class Words {
  readonly logitScale: number;
  readonly logitBias: number | null;
  private learned = new Map<string, Float32Array>(); // by the name as `clean` leaves it
  private readonly read: { templates?: Promise<string[]>; tokenizer?: Promise<Tokenizer>; vocabulary?: Promise<Named> } = {};
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly bundle: Bundle) {
    this.logitScale = bundle.manifest.text.logit_scale;
    this.logitBias = bundle.manifest.text.logit_bias;
  }

  /** K names of the bundle and their features. Throws InputError where the files do not fit each other. */
  async stored(names: File, features: File): Promise<Named> {
    const listed = readNames(await this.bundle.text(names), names.path);
    try {
      return { names: listed, features: readNpy(await this.bundle.bytes(features), listed.length, this.bundle.manifest.spec.features) };
    } catch (error) {
      if (error instanceof InputError) throw error;
      throw new InputError(`${features.path}: no features of names (${oneLine(error)}); export the bundle again`);
    }
  }

  /** Names whose features the bundle holds, so that asking for them runs nothing: its vocabulary, or else its rivals. */
  async known(): Promise<readonly string[]> {
    const vocabulary = await this.vocabulary();
    const rivals = this.bundle.manifest.calibration;
    if (vocabulary || !rivals) return vocabulary ?? [];
    const { names, features } = await this.stored(rivals.names, rivals.features);
    names.forEach((name, k) => this.learned.set(clean(name), features[k]!));
    return names;
  }

  /** The names of a bundle without a text encoder; null where any word will do. */
  async vocabulary(): Promise<readonly string[] | null> {
    return (await this.own())?.names ?? null;
  }

  private async own(): Promise<Named | null> {
    const { names, features } = this.bundle.manifest.text;
    return names && features ? (this.read.vocabulary ??= this.stored(names, features)) : null;
  }

  /**
   * A feature (E) for each name, L2-normalised: the mean over the prompt templates (CLIP, Sec. 3.1.4).
   *
   * Throws InputError for a name that the bundle's vocabulary does not hold, or that is no text.
   */
  async features(names: readonly string[], signal?: AbortSignal): Promise<Float32Array[]> {
    for (const name of names) checkText(name, "name");
    const keys = names.map(clean);
    if (!keys.every((key) => this.learned.has(key))) {
      this.turn = this.turn.then(() => this.learn(new Map(keys.map((key, k) => [key, names[k]!])), signal));
      const turn = this.turn;
      this.turn = turn.catch(() => undefined);
      await turn;
    }
    return keys.map((key) => this.learned.get(key)!);
  }

  private async learn(names: Map<string, string>, signal?: AbortSignal): Promise<void> {
    const own = await this.own();
    if (own && !this.learned.size) own.names.forEach((name, k) => this.learned.set(clean(name), own.features[k]!));
    const missing = [...names].filter(([key]) => !this.learned.has(key));
    if (own && missing.length) {
      throw new InputError(
        `name ${quoted(missing[0]![1])}: not in the bundle's vocabulary of ${this.learned.size} names; ` +
          "choose one of them (`samclip-edge info` lists them) or export with the text encoder",
      );
    }
    if (this.learned.size + missing.length > REMEMBERED && !own) {
      this.learned = new Map([...names.keys()].flatMap((key) => (this.learned.has(key) ? [[key, this.learned.get(key)!] as const] : [])));
    }
    const { text } = this.bundle.manifest;
    const templates = missing.length
      ? await (this.read.templates ??= this.bundle.text(text.templates).then((all) => readTemplates(all, text.templates.path)))
      : [];
    const step = this.dynamic ? 1 : TOGETHER; // no name may change the feature of another
    for (let start = 0; start < missing.length; start += step) {
      const part = missing.slice(start, start + step);
      const texts = part.flatMap(([, name]) => templates.map((template) => template.replaceAll("{}", () => name)));
      const features = await this.encoded(texts, signal);
      part.forEach(([key], k) => {
        const mean = new Float32Array(features[0]!.length);
        for (const each of features.slice(k * templates.length, (k + 1) * templates.length)) {
          each.forEach((value, e) => (mean[e]! += value / templates.length));
        }
        this.learned.set(key, normalised(mean));
      });
    }
  }

  /** Whether int8 finds its scales in each call, so that what shares a call changes what is said of each. */
  private get dynamic(): boolean {
    const { precision, quantisation } = this.bundle.manifest;
    return precision === "int8" && quantisation !== "qdq";
  }

  /** A feature for each text as it stands, L2-normalised. Throws InputError without a text encoder. */
  async encode(texts: readonly string[]): Promise<Float32Array[]> {
    for (const text of texts) checkText(text, "text");
    if (this.bundle.manifest.text.names) {
      throw new InputError(": the bundle holds a vocabulary, not a text encoder; use the names in it", "text");
    }
    return this.encoded(texts);
  }

  /** The bundle's tokenizer. */
  tokenizer(): Promise<Tokenizer> {
    const { spec, text } = this.bundle.manifest;
    const tower = { ...spec.text, filled: isFilled(spec.text) };
    if (spec.text.tokenizer === "own") {
      throw new InputError("text: its tokenizer is not CLIP's, which this runtime reads; export the bundle with a vocabulary");
    }
    const length = fixedSide(this.bundle.graph("text_encoder"), "tokens", 1);
    return (this.read.tokenizer ??= this.bundle
      .text(text.tokenizer!)
      .then((json) => new Tokenizer(json, tower, length, text.tokenizer!.path)));
  }

  private async encoded(texts: readonly string[], signal?: AbortSignal): Promise<Float32Array[]> {
    const tokenizer = await this.tokenizer();
    const tokens = texts.map((text) => tokenizer.read(text));
    const graph = this.bundle.graph("text_encoder");
    const [rows, width] = [fixedSide(graph, "tokens", 0), fixedSide(graph, "tokens", 1)];
    const end = endOfText(this.bundle.manifest.spec.text);
    // Each call reads texts of one length, so that nothing is filled up.
    const byLength = new Map<number, number[]>();
    const longest = Math.max(...tokens.map((each) => each.length));
    tokens.forEach((each, k) => {
      const length = width ?? (isFilled(this.bundle.manifest.spec.text) ? longest : each.indexOf(end) + 1);
      byLength.set(length, [...(byLength.get(length) ?? []), k]);
    });
    const found: Float32Array[] = [];
    for (const [length, same] of byLength) {
      for (let start = 0; start < same.length; start += rows ?? BATCH) {
        await breathe(signal);
        const part = same.slice(start, start + (rows ?? BATCH));
        // Engines have a way of their own for a single text, whose last bits differ. So it is read twice.
        const batch = rows ?? Math.max(part.length, 2);
        const given = new Int32Array(batch * length).fill(tokenizer.pad);
        for (let row = 0; row < batch; row++) given.set(tokens[part[row % part.length]!]!.slice(0, length), row * length);
        const { text_features } = await this.bundle.run("text_encoder", null, { tokens: tensor(given, batch, length) });
        const values = await floats(text_features!);
        text_features!.dispose();
        const wide = values.length / batch;
        part.forEach((k, row) => (found[k] = values.slice(row * wide, (row + 1) * wide)));
      }
    }
    return found;
  }
}

/** The sum of products. */
export function dot(one: Float32Array, other: Float32Array): number {
  let sum = 0;
  for (let k = 0; k < one.length; k++) sum += one[k]! * other[k]!;
  return sum;
}

/** A vector of length 1, in place. */
export function normalised(vector: Float32Array): Float32Array {
  const length = Math.max(Math.sqrt(dot(vector, vector)), 1e-12);
  vector.forEach((each, k) => (vector[k] = each / length));
  return vector;
}
