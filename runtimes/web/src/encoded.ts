/**
 * What the encoders say of one photo: the embedding, the features, and decoded prompts. As `encoded.py`.
 *
 * Two kinds with one interface: `Merged`, one encoder with two heads, and `SideBySide`, SAM and CLIP as two models.
 */

import { breathe } from "./abort.js";
import type { Bundle } from "./bundle.js";
import { floats, tensor, type Held } from "./engine.js";
import { InputError } from "./errors.js";
import type { Frame } from "./frame.js";
import type { GraphName } from "./contract.js";
import { encodeRle, Mask, squareAround, type Bits } from "./masks.js";
import { clipSquare, Grid } from "./resize.js";
import type { Pixels } from "./pixels.js";
import { sides } from "./sizes.js";
import { normalised } from "./words.js";

const BATCH = 16; // prompts decoded together

/** B prompts as the `prompt_encoder` graph takes them. */
export interface Prompts {
  readonly count: number; // B
  readonly each: number; // N, points of a prompt
  readonly points: Float32Array; // (B,N,2) x, y in model pixels
  readonly labels: Float32Array; // (B,N)
  readonly masks: readonly Grid[] | null; // low-res logits of each; null: none
  readonly ambiguous: boolean; // one click and nothing else: SAM answers with three masks
}

/** Four low-res masks of a prompt and their predicted IoUs: the single mask, then the three. */
export interface Decoded {
  readonly masks: readonly Grid[];
  readonly predictedIous: readonly number[];
}

/** Each patch in CLIP's space: rows x columns features (E), L2-normalised, row after row. */
export interface Patches {
  readonly rows: number;
  readonly columns: number;
  readonly features: readonly Float32Array[];
}

/** A photo as the encoders see it. */
export abstract class Encoded {
  /** Whether the CLIP of this kind says what each patch is of. */
  abstract readonly hasPatches: boolean;
  protected readonly known = new Map<GraphName, Promise<Record<string, Held>>>();
  private gone = false;

  constructor(
    readonly bundle: Bundle,
    readonly photo: Pixels,
    readonly frame: Frame,
  ) {}

  /** Run what has to run before anything is asked. */
  abstract look(): Promise<void>;
  /** The photo in CLIP's space (E), L2-normalised. */
  abstract imageFeatures(): Promise<Float32Array>;
  /** Throws InputError where there are none. */
  abstract patches(): Promise<Patches>;
  /** What is under a mask, in CLIP's space (E), L2-normalised. */
  abstract featuresUnder(mask: Bits): Promise<Float32Array>;

  /** What a graph that takes nothing but the photo says. It runs at most once. */
  protected async ask(graph: GraphName, run: () => Promise<Record<string, Held>>): Promise<Record<string, Held>> {
    if (this.gone) throw new InputError("scene: was disposed of; look at the photo again");
    let said = this.known.get(graph);
    if (!said) {
      said = run();
      this.known.set(graph, said);
      said.catch(() => this.known.delete(graph));
    }
    return said;
  }

  protected encode(): Promise<Record<string, Held>> {
    const image = () => tensor(this.frame.image(this.photo), 1, 3, ...sides(this.frame.size));
    return this.ask("image_encoder", () => this.bundle.run("image_encoder", this.frame.size, { image: image() }));
  }

  /** Prompts to low-res masks. Throws InputError where the bundle takes prompts of another number of points only. */
  async decode(prompts: Prompts, signal?: AbortSignal): Promise<Decoded[]> {
    const { size } = this.frame;
    const graph = this.bundle.graph("prompt_encoder", size);
    if (graph.points !== null && graph.points !== prompts.each) {
      throw new InputError(
        `prompt: has ${prompts.each} points, corners of a box and the one of no box counted; the bundle takes ` +
          `${graph.points}: give so many, ask \`find\` for one point, or export without --static or --points`,
      );
    }
    const found: Decoded[] = [];
    if (!prompts.count) return found;
    const { embedding } = await this.encode();
    const takes = graph.signature.inputs[2]!.shape[0]; // M, or 1, or B in a bundle that takes a mask for each prompt
    const own = (prompts.masks?.length ?? 1) > 1 || takes === "B";
    const step = graph.points !== null || (own && takes === 1) ? 1 : BATCH;
    const [rows, columns] = this.frame.lowRes;
    const low = rows * columns;
    for (let start = 0; start < prompts.count; start += step) {
      await breathe(signal);
      const count = Math.min(step, prompts.count - start);
      const masks = own ? count : 1;
      const mask = new Float32Array(masks * low);
      if (prompts.masks) {
        for (let k = 0; k < masks; k++) mask.set(prompts.masks[prompts.masks.length > 1 ? start + k : 0]!.data, k * low);
      }
      const prompted = await this.bundle.run("prompt_encoder", size, {
        points: tensor(prompts.points.slice(2 * start * prompts.each, 2 * (start + count) * prompts.each), count, prompts.each, 2),
        labels: tensor(prompts.labels.slice(start * prompts.each, (start + count) * prompts.each), count, prompts.each),
        mask: tensor(mask, masks, 1, rows, columns),
        has_mask: tensor(Float32Array.of(prompts.masks ? 1 : 0), 1),
      });
      const decoded = await this.bundle.run("mask_decoder", size, {
        embedding: embedding!,
        sparse: prompted["sparse"]!,
        dense: prompted["dense"]!,
      });
      const [logits, ious] = await Promise.all([floats(decoded["masks"]!), floats(decoded["scores"]!)]);
      for (const held of [...Object.values(prompted), ...Object.values(decoded)]) held.dispose();
      for (let k = 0; k < count; k++) {
        found.push({
          masks: [0, 1, 2, 3].map((m) => new Grid(rows, columns, logits.slice((4 * k + m) * low, (4 * k + m + 1) * low))),
          predictedIous: Array.from(ious.subarray(4 * k, 4 * k + 4)),
        });
      }
    }
    return found;
  }

  /** Low-res logits as a mask over the photo. */
  mask(lowRes: Grid, predictedIou: number | null): Mask {
    return new Mask(encodeRle(this.frame.bits(lowRes)), predictedIou, lowRes);
  }

  /** Let go of what lies in the engine's memory. */
  async dispose(): Promise<void> {
    this.gone = true;
    const said = await Promise.allSettled(this.known.values());
    this.known.clear();
    for (const each of said) if (each.status === "fulfilled") Object.values(each.value).forEach((held) => held.dispose());
  }
}

/** What the merged model says: one run of its encoder, when the photo is looked at, serves both heads. */
export class Merged extends Encoded {
  readonly hasPatches = true;
  private found: Promise<Patches> | null = null;

  override async look(): Promise<void> {
    await this.encode();
  }

  private async head(): Promise<Record<string, Held>> {
    const { tokens } = await this.encode();
    return this.ask("clip_head", () => this.bundle.run("clip_head", this.frame.size, { tokens: tokens! }));
  }

  override async imageFeatures(): Promise<Float32Array> {
    return (await floats((await this.head())["image_features"]!)).slice();
  }

  override patches(): Promise<Patches> {
    return (this.found ??= this.head().then(async (said) => {
      const { data, dims } = await said["patch_features"]!.read();
      const [, width, rows, columns] = dims as [number, number, number, number];
      const cells = rows * columns;
      const features = Array.from({ length: cells }, (_, cell) => {
        return Float32Array.from({ length: width }, (_, e) => data[e * cells + cell]!);
      });
      return { rows, columns, features };
    }));
  }

  /** The mean of the patch features there. */
  override async featuresUnder(mask: Bits): Promise<Float32Array> {
    const { rows, columns, features } = await this.patches();
    const weights = this.frame.coverage(mask, rows, columns);
    const total = new Float32Array(features[0]!.length);
    features.forEach((each, cell) => {
      const weight = weights.data[cell]!;
      if (weight) each.forEach((value, e) => (total[e]! += weight * value));
    });
    return normalised(total);
  }
}

/** What two models say: SAM encodes the photo when a mask is asked for, and CLIP when a name is. */
export class SideBySide extends Encoded {
  readonly hasPatches = false;

  override async look(): Promise<void> {}

  override async imageFeatures(): Promise<Float32Array> {
    const said = await this.ask("clip_image_encoder", () => this.clip(this.photo));
    return (await floats(said["image_features"]!)).slice();
  }

  override async patches(): Promise<Patches> {
    throw new InputError("SAM + CLIP: has no features of patches; use a merged bundle");
  }

  /** What CLIP says of the photo in a square around the mask's box. */
  override async featuresUnder(mask: Bits): Promise<Float32Array> {
    const [x0, y0, x1, y1] = squareAround(mask);
    const data = new Uint8Array((x1 - x0) * (y1 - y0) * 3);
    for (let y = y0; y < y1; y++) {
      const begin = (y * this.photo.width + x0) * 3;
      data.set(this.photo.data.subarray(begin, begin + 3 * (x1 - x0)), (y - y0) * (x1 - x0) * 3);
    }
    const said = await this.clip({ height: y1 - y0, width: x1 - x0, data });
    const features = (await floats(said["image_features"]!)).slice();
    said["image_features"]!.dispose();
    return features;
  }

  private clip(photo: Pixels): Promise<Record<string, Held>> {
    const vision = this.bundle.manifest.spec.clip_vision!;
    const image = clipSquare(photo, vision.size, vision.resize, vision.interpolation === "bicubic");
    return this.bundle.run("clip_image_encoder", null, { image: tensor(image, 1, 3, vision.size, vision.size) });
  }
}
