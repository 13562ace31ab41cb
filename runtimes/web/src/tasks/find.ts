/** Text to masks: where the named things are, and no answer for a name that is not there. As `tasks/find.py`. */

import { breathe } from "../abort.js";
import type { Encoded } from "../encoded.js";
import { InputError } from "../errors.js";
import { checkScore, sigmoid, strongest, type Judge } from "../judge.js";
import { Bits, encodeRle, Mask } from "../masks.js";
import { FOREGROUND, NOTHING } from "../prompts.js";
import { Grid } from "../resize.js";
import { everything, nameFits, type Settings, type Watching } from "./everything.js";

/** How names are looked for. */
export interface FindSettings {
  /** By the mask decoder. */
  readonly refine: boolean;
  /** For the merged model: the most point prompts for a name, 1 to 3. */
  readonly points: number;
  /** For the merged model: the least chance of such a point, as a share of the name's highest. */
  readonly threshold: number;
  /** For SAM + CLIP: which masks there are to be named. */
  readonly settings: Settings;
  /** The least chance that a name is there. */
  readonly minScore: number;
  /** Further rivals of every name. */
  readonly background: readonly string[];
}

/** What a name claims of the photo, before it is held against other names. */
interface Claim {
  readonly name: string;
  readonly bits: Bits;
  readonly logOdds: number;
  readonly score: number;
  readonly similarity: number;
  readonly predictedIou: number | null;
  readonly low: Grid | null;
}

/** One mask for each name that is seen in the photo, highest score first; no two masks overlap. */
export async function find(encoded: Encoded, judge: Judge, names: string[], how: FindSettings, watching: Watching): Promise<Mask[]> {
  check(encoded, how);
  const claims = await (encoded.hasPatches ? amongPatches : amongMasks)(encoded, judge, names, how, watching);
  claims.sort((a, b) => b.logOdds - a.logOdds);
  const taken = new Uint8Array(encoded.frame.height * encoded.frame.width);
  return claims.map((claim) => {
    const own = new Bits(claim.bits.height, claim.bits.width);
    claim.bits.data.forEach((inside, at) => {
      if (!inside) return;
      if (!taken[at]) own.data[at] = 1;
      taken[at] = 1;
    });
    return new Mask(encodeRle(own), claim.predictedIou, claim.low, claim.name, claim.score, null, claim.similarity);
  });
}

function check(encoded: Encoded, how: FindSettings): void {
  if (!(how.points >= 1 && how.points <= 3)) throw new InputError(` ${how.points}: sample 1 to 3 points a name`, "points");
  if (!(how.threshold >= 0 && how.threshold <= 1)) {
    throw new InputError(` ${how.threshold}: give a share of the highest chance, 0 to 1`, "threshold");
  }
  checkScore(how.minScore);
  if (!how.refine && !encoded.hasPatches) {
    throw new InputError(": SAM + CLIP has no map of patches to answer with; refine, or use a merged bundle", "refine");
  }
}

/** The merged model's way: patches say whether a name is there, and prompt the mask decoder with where. */
async function amongPatches(encoded: Encoded, judge: Judge, names: string[], how: FindSettings, watching: Watching): Promise<Claim[]> {
  const { frame } = encoded;
  const { rows, columns, features } = await encoded.patches();
  const question = await judge.question(names, how.background, watching.signal);
  const odds = features.map((each) => question.logOdds(each));
  const [down, across] = frame.cells(rows);
  const claims: Claim[] = [];
  for (const [k, name] of names.entries()) {
    watching.signal?.throwIfAborted();
    const map = new Grid(rows, columns, Float32Array.from(odds, (each) => each[k]!));
    const logOdds = strongest(values(corner(map, down, across)));
    const score = judge.chance("patches", frame.size, logOdds);
    if (!(score >= how.minScore)) continue;
    map.data.forEach((each, at) => (map.data[at] = judge.calibrated("patches", frame.size, each)));
    let [low, predictedIou]: [Grid, number | null] = [frame.enlarge(map), null];
    if (how.refine) {
      [low, predictedIou] = await prompted(encoded, map, sample(corner(map, down, across), how.points, how.threshold), watching);
    }
    const bits = frame.bits(low);
    const similarity = bits.any ? question.similarity(await encoded.featuresUnder(bits), k) : 0;
    claims.push({ name, bits, logOdds, score, similarity, predictedIou, low });
  }
  return claims;
}

/** SAM + CLIP's way: every mask of the photo is found and judged; a name claims all masks that it fits. */
async function amongMasks(encoded: Encoded, judge: Judge, names: string[], how: FindSettings, watching: Watching): Promise<Claim[]> {
  const question = await judge.question(names, how.background, watching.signal);
  const claims = new Map<string, Claim>();
  for (const mask of await everything(encoded, how.settings, watching)) {
    await breathe(watching.signal);
    for (const { name, logOdds, score, similarity } of await nameFits(encoded, judge, mask, question)) {
      if (score < how.minScore) continue;
      const claim: Claim = { name, bits: mask.bits, logOdds, score, similarity, predictedIou: mask.predictedIou, low: null };
      const other = claims.get(name);
      if (!other) {
        claims.set(name, claim);
        continue;
      }
      const both = new Bits(claim.bits.height, claim.bits.width, claim.bits.data.map((each, at) => each | other.bits.data[at]!));
      claims.set(name, { ...(other.logOdds > logOdds ? other : claim), bits: both });
    }
  }
  return [...claims.values()];
}

/** The top left corner of a map. */
function corner(map: Grid, rows: number, columns: number): Grid {
  const made = new Grid(Math.min(rows, map.rows), Math.min(columns, map.columns));
  for (let row = 0; row < made.rows; row++) {
    made.data.set(map.data.subarray(row * map.columns, row * map.columns + made.columns), row * made.columns);
  }
  return made;
}

const values = (map: Grid): number[] => Array.from(map.data);

/** Up to `points` patches (row, column): the likeliest, then each time the farthest from those already taken. */
function sample(map: Grid, points: number, threshold: number): [number, number][] {
  const likely = values(map).map(sigmoid);
  const least = Math.max(threshold * Math.max(...likely), 1e-30);
  const at = (place: number): [number, number] => [Math.floor(place / map.columns), place % map.columns];
  const candidates = likely.flatMap((each, place) => (each >= least ? [at(place)] : []));
  const highest = map.data.reduce((best, each, place) => (each > map.data[best]! ? place : best), 0);
  const taken = [at(highest)];
  while (taken.length < Math.min(points, candidates.length)) {
    const gaps = candidates.map(([y, x]) => Math.min(...taken.map(([row, column]) => Math.abs(y - row) + Math.abs(x - column))));
    taken.push(candidates[gaps.indexOf(Math.max(...gaps))]!);
  }
  return taken;
}

/** The mask decoder's answer to a map over the patches and sampled patches: low-res logits and the predicted IoU. */
async function prompted(encoded: Encoded, map: Grid, patches: [number, number][], watching: Watching): Promise<[Grid, number]> {
  const { frame } = encoded;
  const side = frame.cell(map.rows);
  const places = [...patches.flatMap(([y, x]) => [(x + 0.5) * side - 0.5, (y + 0.5) * side - 0.5]), 0, 0];
  const clipped = new Grid(map.rows, map.columns, map.data.map((each) => Math.min(Math.max(each, -9.2), 9.2)));
  const prompts = {
    count: 1,
    each: patches.length + 1,
    points: Float32Array.from(places),
    labels: Float32Array.from([...patches.map(() => FOREGROUND), NOTHING]),
    masks: [frame.enlarge(clipped)],
    ambiguous: false,
  };
  const [decoded] = await encoded.decode(prompts, watching.signal);
  return [decoded!.masks[0]!, decoded!.predictedIous[0]!];
}
