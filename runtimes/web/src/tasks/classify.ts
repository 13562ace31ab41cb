/** Names for a photo (CLIP, Sec. 3.1): which of the labels fits best, and whether any fits at all. As `tasks/classify.py`. */

import type { Encoded } from "../encoded.js";
import type { Judge } from "../judge.js";
import type { Words } from "../words.js";

/** A name for a photo. */
export interface Guess {
  readonly label: string;
  /** The calibrated chance, 0..1, that it fits, whatever else was asked. */
  readonly score: number;
  /** The cosine of the photo and the name. */
  readonly similarity: number;
  /** Its softmax probability among the labels that were asked for, 0..1. */
  readonly share: number;
}

/** Each name judged by itself, most similar first. */
export async function classify(encoded: Encoded, words: Words, judge: Judge, names: string[], background: string[]): Promise<Guess[]> {
  const photo = await encoded.imageFeatures();
  const question = await judge.question(names, background);
  const odds = question.logOdds(photo);
  const similarities = names.map((_, k) => question.similarity(photo, k));
  const highest = Math.max(...similarities);
  const powers = similarities.map((each) => Math.exp(words.logitScale * (each - highest)));
  const total = powers.reduce((one, other) => one + other, 0);
  return names
    .map((label, k) => ({
      label,
      score: judge.chance("photo", encoded.frame.size, odds[k]!),
      similarity: similarities[k]!,
      share: powers[k]! / total,
    }))
    .sort((a, b) => b.similarity - a.similarity);
}
