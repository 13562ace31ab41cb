/** Opens a bundle and looks at photos. As `pipeline.py`. */

import { Bundle, type Files, type Loading } from "./bundle.js";
import { Merged, SideBySide } from "./encoded.js";
import { InputError } from "./errors.js";
import { Frame } from "./frame.js";
import { Judge } from "./judge.js";
import { checkLabels } from "./names.js";
import { quoted } from "./python.js";
import { isPixels, rgb, type Pixels } from "./pixels.js";
import { Scene } from "./scene.js";
import { ofSides, sides, type Size } from "./sizes.js";
import { dot, Words } from "./words.js";

/** A photo: its pixels, RGB or RGBA, row after row; or a picture that the platform knows, such as a Blob or an ImageBitmap. */
export type Photo<Picture = unknown> = Pixels | Picture;

/** A bundle that was opened. */
export class SamClip {
  readonly words: Words;
  readonly judge: Judge;

  private constructor(
    readonly bundle: Bundle,
    private readonly loading: Loading,
  ) {
    this.words = new Words(bundle);
    this.judge = new Judge(this.words, bundle.manifest);
  }

  /**
   * Open a bundle, by its address or by its files; its graphs are checked and opened when first needed. Throws InputError
   * where there is none.
   */
  static async load(bundle: string | URL | Files, loading: Loading): Promise<SamClip> {
    return new SamClip(await Bundle.open(bundle, loading), loading);
  }

  /** Open what a photo at that size is looked at and asked with, words too, so that the first question need not wait. */
  async prepare(size: Size = this.sizes.at(-1)!): Promise<void> {
    await this.bundle.prepare(this.sizeOf(size));
  }

  /** The input sizes that the bundle holds, rising: S, or "WxH". */
  get sizes(): readonly Size[] {
    return this.bundle.manifest.sizes;
  }

  /** Encode a photo, once. size: one of `sizes`; the largest where left out, which masks want. */
  async look(photo: Photo, size?: Size): Promise<Scene> {
    const wanted = this.sizeOf(size ?? this.sizes.at(-1)!);
    const pixels = isPixels(photo) ? rgb(photo) : await this.pixels(photo);
    const frame = new Frame(pixels.height, pixels.width, wanted);
    const encoded = new (this.bundle.manifest.kind === "sam+clip" ? SideBySide : Merged)(this.bundle, pixels, frame);
    await encoded.look();
    return new Scene(this.words, this.judge, encoded);
  }

  private async pixels(picture: unknown): Promise<Pixels> {
    const { pixels } = this.loading.platform;
    if (!pixels) throw new InputError("photo: this platform decodes no pictures; pass {data, width, height}");
    return rgb(await pixels(picture));
  }

  /** How many points each prompt has, the one that follows clicks counted, in a bundle that fixes it; else null. */
  get points(): number | null {
    return this.bundle.manifest.graphs.find((each) => each.name === "prompt_encoder")?.points ?? null;
  }

  private sizeOf(size: Size): Size {
    try {
      const found = ofSides(...sides(size));
      if (this.sizes.includes(found)) return found;
    } catch {
      // said below
    }
    throw new InputError(` ${size}: the bundle holds ${this.sizes.join(", ")}; choose one of them`, "size");
  }

  /** The size at which photos are named: the smallest at which a trained model was trained, or the smallest. */
  get namesSize(): Size {
    const { trained, trained_at } = this.bundle.manifest;
    const known = (trained && trained_at) || this.sizes;
    return this.sizes.find((size) => known.includes(size)) ?? this.sizes[0]!;
  }

  /** The features (E) of photos, L2-normalised, to be compared with those of texts or of other photos. */
  async embed(photos: readonly (Photo | Scene)[], size: Size = this.namesSize): Promise<Float32Array[]> {
    const rows: Float32Array[] = [];
    for (const photo of photos) {
      if (photo instanceof Scene) {
        rows.push(await photo.imageFeatures());
        continue;
      }
      const scene = await this.look(photo, size);
      rows.push(await scene.imageFeatures());
      await scene.dispose();
    }
    return rows;
  }

  /** The features (E) of texts as they stand, L2-normalised; of names, where the bundle holds a vocabulary. */
  async embedText(texts: readonly string[]): Promise<Float32Array[]> {
    if (typeof texts === "string") throw new InputError(`: ${quoted(texts)} is one string; pass a list of texts`, "texts");
    return this.bundle.manifest.text.names ? this.words.features(texts) : this.words.encode(texts);
  }

  /** Photos by how well they fit a text, best first: the index in `photos`, and their cosine. */
  async rank(photos: readonly (Photo | Scene)[], text: string, size?: Size): Promise<[number, number][]> {
    const [wanted] = await this.embedText(checkLabels([text], "text"));
    const rows = await this.embed(photos, size);
    return rows.map((row, index): [number, number] => [index, dot(row, wanted!)]).sort((a, b) => b[1] - a[1]);
  }

  /** Names to offer, which cost no run of the text encoder: the vocabulary, or the rivals of the bundle. */
  names(): Promise<readonly string[]> {
    return this.words.known();
  }

  /** Close all graphs. */
  dispose(): Promise<void> {
    return this.bundle.close();
  }
}
