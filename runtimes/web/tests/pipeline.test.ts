/** The whole pipeline: what this runtime answers is what Python did, by the test vectors of exported bundles. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { decodeRle, Grid, type Mask, type Rle, type SamClip, type Scene, type Settings } from "../src/index.js";
import { dot } from "../src/words.js";
import { open, ROOT } from "./node.js";

interface Entry {
  file: string;
  dtype: "uint8" | "float32";
  shape: number[];
}
interface Answer {
  rle: Rle;
  label?: string | null;
  score?: number | null;
  similarity?: number | null;
  predicted_iou: number | null;
  point?: [number, number] | null;
}
interface Step {
  ask: string;
  at?: number | string;
  given: Record<string, any>;
  answers: any;
}

const KINDS = ["photo", "tiny-fp32", "tiny-fp16", "tiny-int8", "tiny-words", "tiny-static", "sam+clip"]; // of tests/vector_bundles.py

describe.each(KINDS)("%s", (kind) => {
  const bundle = join(ROOT, "build", "vectors", kind);
  const told = JSON.parse(readFileSync(join(bundle, "vectors", "pipeline.json"), "utf-8")) as {
    holds: Record<string, number>;
    photo: Entry;
    steps: Step[];
  };
  const { holds, steps } = told;
  let model: SamClip;
  const scenes = new Map<number | string, Scene>();

  const bytes = (entry: Entry): Uint8Array => new Uint8Array(readFileSync(join(bundle, "vectors", entry.file)));
  const numbers = (entry: Entry): Float32Array => new Float32Array(bytes(entry).buffer);

  beforeAll(async () => {
    model = await open(bundle);
    const [height, width] = told.photo.shape as [number, number, number];
    for (const at of new Set(steps.flatMap((step) => (step.at === undefined ? [] : [step.at])))) {
      scenes.set(at, await model.look({ height, width, data: bytes(told.photo) }, at));
    }
  });

  const near = (ours: number | null | undefined, theirs: number | null | undefined): void => {
    if (theirs === null || theirs === undefined) expect(ours ?? null).toBeNull();
    else expect(Math.abs(ours! - theirs)).toBeLessThanOrEqual(holds["score"]!);
  };

  function same(masks: readonly Mask[], answers: readonly Answer[]): void {
    expect(masks.map((each) => each.label)).toEqual(answers.map((each) => each.label ?? null));
    masks.forEach((mask, k) => {
      const answer = answers[k]!;
      const [one, other] = [mask.bits.data, decodeRle(answer.rle).data];
      let [both, either] = [0, 0];
      one.forEach((each, at) => {
        both += each & other[at]!;
        either += each | other[at]!;
      });
      expect(mask.rle.size).toEqual(answer.rle.size);
      expect(either - both <= holds["pixels"]! || both / either >= holds["iou"]!, `mask ${k}: ${both} of ${either}`).toBe(true);
      near(mask.score, answer.score);
      near(mask.similarity, answer.similarity);
      near(mask.predictedIou, answer.predicted_iou);
    });
  }

  function alike(ours: readonly Float32Array[], theirs: Float32Array, wide: number): void {
    expect(ours).toHaveLength(theirs.length / wide);
    ours.forEach((each, k) => {
      expect(dot(each, theirs.subarray(k * wide, (k + 1) * wide))).toBeGreaterThanOrEqual(holds["cosine"]!);
    });
  }

  const settings = (given: any): Partial<Settings> => ({
    pointsPerSide: given.points_per_side,
    predictedIou: given.predicted_iou,
    stability: given.stability,
    offset: given.offset,
    overlap: given.overlap,
  });

  const naming = (given: any) => ({
    ...(given.background === undefined ? {} : { background: given.background }),
    ...(given.min_score === undefined ? {} : { minScore: given.min_score }),
  });

  const pointing = (given: any) => ({
    ...given,
    ...(given.mask ? { mask: new Grid(given.mask.shape.at(-2), given.mask.shape.at(-1), numbers(given.mask)) } : {}),
  });

  const asked: Record<string, (step: Step) => Promise<void>> = {
    tokens: async ({ given, answers }) => {
      const tokenizer = await model.words.tokenizer();
      expect(given["texts"].map((text: string) => tokenizer.read(text))).toEqual(answers);
    },
    embed_text: async ({ given, answers }) => alike(await model.embedText(given["texts"]), numbers(answers), answers.shape[1]),
    name_features: async ({ given, answers }) => alike(await model.words.features(given["names"]), numbers(answers), answers.shape[1]),
    look: async ({ at, answers }) => {
      const scene = scenes.get(at!)!;
      alike([await scene.imageFeatures()], numbers(answers.image_features), answers.image_features.shape[0]);
      if (!answers.patch_features) return;
      const theirs = numbers(answers.patch_features);
      const { features } = await scene.encoded.patches();
      features.forEach((each, cell) => {
        alike([each], each.map((_, e) => theirs[e * features.length + cell]!), each.length);
      });
    },
    classify: async ({ at, given, answers }) => {
      const guesses = await scenes.get(at!)!.classify(given["labels"], naming(given));
      expect(guesses.map((each) => each.label)).toEqual(answers.map((each: any) => each.label));
      guesses.forEach((guess, k) => {
        near(guess.score, answers[k].score);
        near(guess.similarity, answers[k].similarity);
        near(guess.share, answers[k].share);
      });
    },
    segment: async ({ at, given, answers }) => same(await scenes.get(at!)!.segment(pointing(given)), answers),
    segment_all: async ({ at, given, answers }) => same((await scenes.get(at!)!.segmentAll(pointing(given))).flat(), answers.flat()),
    name: async ({ at, given, answers }) => {
      const scene = scenes.get(at!)!;
      const masks = (await scene.segmentAll(pointing(steps[given["masks"].step]!.given))).flat();
      same(await scene.name(masks, given["labels"], naming(given)), answers);
    },
    everything: async ({ at, given, answers }) => {
      const how = { ...naming(given), ...(given["labels"] ? { labels: given["labels"] } : {}), settings: settings(given["settings"]) };
      const masks = await scenes.get(at!)!.everything(how);
      same(masks, answers);
      masks.forEach((mask, k) => expect(mask.point).toEqual(answers[k].point));
    },
    find: async ({ at, given, answers }) => {
      const { labels, refine, points, threshold } = given;
      const how = { ...naming(given), refine, points, threshold, ...(given["settings"] ? { settings: settings(given["settings"]) } : {}) };
      same(await scenes.get(at!)!.find(labels, how), answers);
    },
  };

  test.each(steps.map((step, number) => [number, step.ask, step.at ?? "", step] as const))("step %i: %s %s", async (_, ask, __, step) => {
    await asked[ask]!(step);
  });
});
