/** A photo that was looked at, and what it can be asked. As `scene.py`. */

import type { Encoded } from "./encoded.js";
import { InputError } from "./errors.js";
import { BACKGROUND_NAMES, checkScore, MIN_SCORE, type Judge } from "./judge.js";
import type { Mask } from "./masks.js";
import { checkBackground, checkLabels } from "./names.js";
import { prepare, type Pointing } from "./prompts.js";
import type { Size } from "./sizes.js";
import { classify, type Guess } from "./tasks/classify.js";
import { everything, nameMasks, settled, type Settings, type Watching } from "./tasks/everything.js";
import { find } from "./tasks/find.js";
import { segment, segmentAll } from "./tasks/segment.js";
import type { Words } from "./words.js";

/** By what names are judged beside the bundle's rivals, and from which chance on one is answered. */
export interface Naming {
  background?: readonly string[];
  minScore?: number;
}

/** A photo that was looked at. Coordinates in and masks out are in pixels of the upright photo. */
export class Scene {
  constructor(
    private readonly words: Words,
    private readonly judge: Judge,
    readonly encoded: Encoded,
  ) {}

  get height(): number {
    return this.encoded.frame.height;
  }

  get width(): number {
    return this.encoded.frame.width;
  }

  /** The input size at which the photo was encoded. */
  get size(): Size {
    return this.encoded.frame.size;
  }

  /** Name the photo: the labels, best first, each with the chance that it fits. */
  async classify(labels: readonly string[], naming: Pick<Naming, "background"> = {}): Promise<Guess[]> {
    const rivals = checkBackground(naming.background ?? BACKGROUND_NAMES);
    return classify(this.encoded, this.words, this.judge, checkLabels(labels), rivals);
  }

  /** The best mask for each prompt. Throws InputError for prompts that are NaN, reversed, or outside the photo. */
  async segment(pointing: Pointing, watching: Pick<Watching, "signal"> = {}): Promise<Mask[]> {
    return segment(this.encoded, prepare(this.encoded.frame, pointing), watching.signal);
  }

  /** The three masks of each prompt, highest predicted IoU first. */
  async segmentAll(pointing: Pointing, watching: Pick<Watching, "signal"> = {}): Promise<Mask[][]> {
    return segmentAll(this.encoded, prepare(this.encoded.frame, pointing), watching.signal);
  }

  /** Where the named things are: one mask a name that is seen, none overlapping. See `FindSettings`. */
  async find(
    labels: readonly string[],
    how: Naming & Watching & { refine?: boolean; points?: number; threshold?: number; settings?: Partial<Settings> } = {},
  ): Promise<Mask[]> {
    const names = checkLabels(labels);
    const { refine = true, points = 3, threshold = 0.5, minScore = MIN_SCORE } = how;
    const background = checkBackground(how.background ?? BACKGROUND_NAMES);
    const settings = settled(how.settings);
    return find(this.encoded, this.judge, names, { refine, points, threshold, settings, minScore, background }, how);
  }

  /** Every mask in the photo, best first, each named by the one of `labels` that fits it best, if there are labels. */
  async everything(how: Naming & Watching & { labels?: readonly string[]; settings?: Partial<Settings> } = {}): Promise<Mask[]> {
    const names = how.labels === undefined ? null : checkLabels(how.labels);
    const rivals = checkBackground(how.background ?? BACKGROUND_NAMES);
    const minScore = how.minScore ?? MIN_SCORE;
    checkScore(minScore);
    const masks = await everything(this.encoded, settled(how.settings), how);
    return names ? nameMasks(this.encoded, this.judge, masks, names, rivals, minScore, how.signal) : masks;
  }

  /** Masks of this photo, from wherever they are, named as `everything` names its own. */
  async name(masks: readonly Mask[], labels: readonly string[], naming: Naming & Pick<Watching, "signal"> = {}): Promise<Mask[]> {
    const names = checkLabels(labels);
    const rivals = checkBackground(naming.background ?? BACKGROUND_NAMES);
    const minScore = naming.minScore ?? MIN_SCORE;
    checkScore(minScore);
    masks.forEach(({ rle: { size: [height, width] } }, place) => {
      if (height === this.height && width === this.width) return;
      throw new InputError(
        `: mask ${place + 1} of ${masks.length} is of a photo of ${width}x${height}, this one is ` +
          `${this.width}x${this.height}; pass masks of this photo`,
        "masks",
      );
    });
    return nameMasks(this.encoded, this.judge, masks, names, rivals, minScore, naming.signal);
  }

  /** The photo in CLIP's space (E), L2-normalised. */
  imageFeatures(): Promise<Float32Array> {
    return this.encoded.imageFeatures();
  }

  /** Let go of what lies in the engine's memory. */
  dispose(): Promise<void> {
    return this.encoded.dispose();
  }
}
