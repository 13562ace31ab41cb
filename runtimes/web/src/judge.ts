/**
 * Judges each name by itself: what speaks for it against a fixed set of rivals, and the chance that comes of it. As
 * `text/judge.py`.
 */

import { InputError } from "./errors.js";
import { clean } from "./clean.js";
import type { Logistic, Manifest } from "./manifest.js";
import type { Size } from "./sizes.js";
import { dot, type Named, type Words } from "./words.js";

/** What log-odds are of; each kind has a calibration of its own. */
export type Kind = "patches" | "mask" | "photo";

export const STRONGEST = 4; // patches that speak for a name
export const MIN_SCORE = 0.5; // the chance from which on a name is answered
export const BACKGROUND_NAMES = ["background"] as const; // rivals of every name, whatever the bundle's own are

/** The names of one question and what they are held against: made once, asked of many features. */
export interface Question {
  readonly names: readonly string[];
  /** Log-odds (K) of the names in a feature (E), L2-normalised. */
  logOdds(feature: Float32Array): Float32Array;
  /** The cosine of a feature and of the k-th name. */
  similarity(feature: Float32Array, name: number): number;
}

/** Judges names for a bundle. */
export class Judge {
  private rivals: Promise<Named & { same: number }> | null = null;

  constructor(
    private readonly words: Words,
    private readonly manifest: Manifest,
  ) {}

  /** The rivals of the bundle; an older bundle has the names of its vocabulary. */
  private async theirs(): Promise<Named & { same: number }> {
    const stored = this.manifest.calibration;
    if (stored) return { ...(await this.words.stored(stored.names, stored.features)), same: stored.same };
    const names = await this.words.vocabulary();
    if (!names) throw new InputError("calibration: this bundle is older and has no rivals; export it again");
    const features = await this.words.features(names);
    return { names, features, same: nearest(features) };
  }

  /** What is asked of names: `Judge.log_odds` of Python, whose rivals it names. background: further rivals. */
  async question(names: readonly string[], background: readonly string[], signal?: AbortSignal): Promise<Question> {
    const own = await this.words.features(names, signal);
    const rivals = await (this.rivals ??= this.theirs());
    const further = background.length ? await this.words.features(background, signal) : [];
    const against = [...rivals.features, ...further];
    const spelled = [...rivals.names, ...background].map(clean);
    const bias = this.words.logitBias;
    // A rival that means the same as the name does not compete; one of `background` does, unless it is the name. With
    // a CLIP that was trained by a sigmoid the name stands against nothing, and against `background` alone.
    const competes = own.map((feature, k) =>
      against.flatMap((rival, r) => {
        const further = r >= rivals.names.length;
        const fits = further || (bias === null && Math.fround(dot(feature, rival)) <= rivals.same);
        return fits && spelled[r] !== clean(names[k]!) ? [r] : [];
      }),
    );
    const scale = this.words.logitScale;
    return {
      names,
      similarity: (feature, name) => dot(feature, own[name]!),
      logOdds: (feature) => {
        const theirs = against.map((rival) => scale * dot(feature, rival) + (bias ?? 0));
        return Float32Array.from(own, (each, k) => {
          const others = competes[k]!.map((r) => theirs[r]!);
          if (bias !== null) others.push(0);
          return scale * dot(feature, each) + (bias ?? 0) - logSum(others);
        });
      },
    };
  }

  /** The calibrated log-odds of a kind at an input size. */
  calibrated(kind: Kind, size: Size, logOdds: number): number {
    const { slope, offset } = this.logistic(kind, size);
    return Math.fround(slope * logOdds + offset);
  }

  /** The calibrated chance, 0..1, that a name is right. */
  chance(kind: Kind, size: Size, logOdds: number): number {
    return sigmoid(this.calibrated(kind, size, logOdds));
  }

  private logistic(kind: Kind, size: Size): Logistic {
    const found = this.manifest.calibration?.sizes.find((each) => each.size === size);
    return found ? found[kind] : { slope: 1, offset: 0 };
  }
}

/** Throw InputError unless it is a chance. */
export function checkScore(minScore: number): void {
  if (!(minScore >= 0 && minScore <= 1)) throw new InputError(` ${minScore}: give a chance, 0 to 1`, "min_score");
}

/** What the patches that name a thing best say together: log-odds of the mean of their `STRONGEST` highest chances. */
export function strongest(logOdds: readonly number[]): number {
  const chances = logOdds.map(sigmoid).sort((a, b) => b - a).slice(0, STRONGEST);
  const mean = chances.reduce((one, other) => one + other, 0) / chances.length;
  return Math.fround(Math.log(mean) - Math.log1p(-Math.min(mean, 1 - 1e-12)));
}

/** Log-odds to a chance, without overflow. */
export function sigmoid(logOdds: number): number {
  return 1 / (1 + Math.exp(-Math.min(Math.max(logOdds, -60), 60)));
}

function nearest(features: readonly Float32Array[]): number {
  let highest = features.length < 2 ? 1 : -1;
  features.forEach((one, k) => features.slice(0, k).forEach((other) => (highest = Math.max(highest, dot(one, other)))));
  return Math.fround(highest);
}

function logSum(logits: readonly number[]): number {
  if (!logits.length) return -60;
  const highest = Math.max(...logits);
  return highest + Math.log(logits.reduce((sum, each) => sum + Math.exp(each - highest), 0));
}
