/** Prompts in photo coordinates, checked and brought to what the `prompt_encoder` graph takes. As `tasks/prompts.py`. */

import type { Prompts } from "./encoded.js";
import { InputError } from "./errors.js";
import type { Frame } from "./frame.js";
import { tuple } from "./python.js";
import type { Grid } from "./resize.js";

export const [NOTHING, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT] = [-1, 0, 1, 2, 3] as const;
const SLACK = 0.5; // pixels that a point may lie outside the photo, by rounding

export type Point = readonly [number, number];
export type BoxPrompt = readonly [number, number, number, number];

/** What a person points at; given together, they are one prompt each. */
export interface Pointing {
  /** The points of one prompt, or of several, x, y in photo pixels. */
  points?: readonly Point[] | readonly (readonly Point[])[];
  /** 1 on the thing (where left out), 0 off it, for each point. */
  labels?: readonly number[] | readonly (readonly number[])[];
  /** x0, y0, x1, y1 in photo pixels, of one prompt or of several. */
  boxes?: BoxPrompt | readonly BoxPrompt[];
  /** The `logits` of a mask of the step before, of one prompt or of several. */
  mask?: Grid | readonly Grid[];
}

/** Put prompts in SAM's order: points, then the box, or a point labelled -1 where there is none. Throws InputError. */
export function prepare(frame: Frame, given: Pointing): Prompts {
  const points = pointsOf(frame, given.points);
  const labels = labelsOf(points, given.labels);
  const boxes = boxesOf(frame, given.boxes);
  const masks = masksOf(frame, given.mask);
  const counts = new Set([points, boxes, masks].flatMap((part) => (part ? [part.length] : [])));
  if (!counts.size) throw new InputError("no prompt: give a point, a box or a mask");
  if (counts.size > 1) {
    const sorted = [...counts].sort((a, b) => a - b).join(", ");
    throw new InputError(`prompts: points, boxes and masks are for [${sorted}] prompts; give the same number of each`);
  }
  const [count] = counts as Set<number> & [number];
  const clicks = points?.[0]?.length ?? 0;
  const each = clicks + (boxes ? 2 : points ? 1 : 0);
  const where = new Float32Array(2 * count! * each);
  const kinds = new Float32Array(count! * each);
  for (let row = 0; row < count!; row++) {
    const put = (place: number, point: Point | null, kind: number): void => {
      if (point) where.set(frame.toModel(...point), 2 * (row * each + place));
      kinds[row * each + place] = kind;
    };
    points?.[row]!.forEach((point, k) => put(k, point, labels![row]![k]!));
    const box = boxes?.[row];
    if (box) {
      put(clicks, [box[0], box[1]], TOP_LEFT);
      put(clicks + 1, [box[2], box[3]], BOTTOM_RIGHT);
    } else if (points) {
      put(clicks, null, NOTHING);
    }
  }
  const ambiguous = clicks === 1 && !boxes && !masks;
  return { count: count!, each, points: where, labels: kinds, masks, ambiguous };
}

/** A number as C's `%g` writes it. */
function g(value: number): string {
  const [digits, power] = value.toExponential(5).split("e") as [string, string];
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 6) return String(Number(value.toPrecision(6)));
  const sign = exponent < 0 ? "-" : "+";
  return `${Number(digits)}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

/** The shape of nested lists of numbers. Throws InputError where they have none, or are not finite. */
function shapeOf(what: string, values: unknown): number[] {
  const ragged = new InputError(`${what}: not an array of numbers of one shape`);
  const of = (value: unknown): number[] => {
    if (typeof value === "number") return [];
    if (!Array.isArray(value)) throw ragged;
    const inner = value.map(of);
    if (inner.some((each) => each.join() !== inner[0]!.join())) throw ragged;
    return [value.length, ...(inner[0] ?? [])];
  };
  const shape = of(values);
  if (JSON.stringify(values).includes("null")) throw new InputError(`${what}: NaN or infinite; give numbers`);
  return shape;
}

function pointsOf(frame: Frame, points: Pointing["points"]): Point[][] | null {
  if (points === undefined) return null;
  const given = shapeOf("point", points);
  const all = (given.length === 2 ? [points] : points) as Point[][];
  const shape = given.length === 2 ? [1, ...given] : given;
  if (shape.length !== 3 || shape[2] !== 2 || !shape[1]) {
    throw new InputError(`point: an array of shape ${tuple(shape)} is neither (N,2) nor (B,N,2) x,y`);
  }
  for (const [x, y] of all.flat()) {
    if (x < -SLACK || y < -SLACK || x > frame.width + SLACK || y > frame.height + SLACK) {
      throw new InputError(`point ${g(x)},${g(y)}: outside the photo, which is ${frame.width}x${frame.height}; move it inside`);
    }
  }
  const into = (value: number, most: number): number => Math.min(Math.max(value, 0), most);
  return all.map((each) => each.map(([x, y]) => [into(x, frame.width), into(y, frame.height)] as const));
}

function labelsOf(points: Point[][] | null, labels: Pointing["labels"]): number[][] | null {
  if (!points) {
    if (labels !== undefined) throw new InputError("labels: given without points; give the points they speak of");
    return null;
  }
  if (labels === undefined) return points.map((each) => each.map(() => FOREGROUND));
  const given = shapeOf("labels", labels);
  const all = (given.length === 1 ? [labels] : labels) as number[][];
  const shape = given.length === 1 ? [1, ...given] : given;
  const wanted = [points.length, points[0]!.length];
  if (shape.join() !== wanted.join()) {
    throw new InputError(`labels: shape ${tuple(shape)} for points of shape ${tuple([...wanted, 2])}; give one label a point`);
  }
  if (all.flat().some((each) => each !== BACKGROUND && each !== FOREGROUND)) {
    throw new InputError("labels: only 0 (background) and 1 (foreground) label a point");
  }
  return all;
}

function boxesOf(frame: Frame, boxes: Pointing["boxes"]): BoxPrompt[] | null {
  if (boxes === undefined) return null;
  const given = shapeOf("box", boxes);
  if (given.join() === "0") return [];
  const all = (given.length === 1 ? [boxes] : boxes) as BoxPrompt[];
  const shape = given.length === 1 ? [1, ...given] : given;
  if (shape.length !== 2 || shape[1] !== 4) {
    throw new InputError(`box: an array of shape ${tuple(shape)} is neither (4,) nor (B,4) x0,y0,x1,y1`);
  }
  return all.map((box) => {
    const [x0, y0, x1, y1] = box;
    const name = `box ${box.map(g).join()}`;
    if (x0 >= x1 || y0 >= y1) throw new InputError(`${name}: reversed or empty; give x0,y0,x1,y1 with x0 < x1 and y0 < y1`);
    const sides = [frame.width, frame.height, frame.width, frame.height];
    const kept = box.map((each, k) => Math.min(Math.max(each, 0), sides[k]!)) as unknown as BoxPrompt;
    if (kept[0] >= kept[2] || kept[1] >= kept[3]) {
      throw new InputError(`${name}: does not meet the photo, which is ${frame.width}x${frame.height}; leave it out`);
    }
    return kept;
  });
}

function masksOf(frame: Frame, mask: Pointing["mask"]): Grid[] | null {
  if (mask === undefined) return null;
  const all = (Array.isArray(mask) ? mask : [mask]) as Grid[];
  const [rows, columns] = frame.lowRes;
  for (const each of all) {
    if (each.rows !== rows || each.columns !== columns || each.data.length !== rows * columns) {
      const shape = tuple([all.length, each.rows, each.columns]);
      throw new InputError(`mask: shape ${shape} is not (${rows},${columns}) logits; pass the \`logits\` of a mask of the same size`);
    }
    if (each.data.some((value) => !Number.isFinite(value))) throw new InputError("mask: NaN or infinite; give numbers");
  }
  return all;
}
