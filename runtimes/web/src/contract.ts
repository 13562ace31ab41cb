/** The graphs: names, inputs, outputs, shapes. As `bundle/contract.py`. */

import { tuple } from "./python.js";
import { list, numberOrText, object, oneOf, optional, text, type Of } from "./schema.js";
import { grid, lowRes, sides, type Size } from "./sizes.js";
import { isFilled, type Spec } from "./spec.js";

export const GRAPHS = ["image_encoder", "clip_head", "prompt_encoder", "mask_decoder", "text_encoder", "clip_image_encoder"] as const;
export type GraphName = (typeof GRAPHS)[number];

const tensor = object("Tensor", { name: text, dtype: optional(oneOf("float32", "int32"), "float32"), shape: list(numberOrText) });
/** What goes into a graph and what comes out, in order. */
export const signature = object("Signature", { inputs: list(tensor), outputs: list(tensor) });
export type Signature = Of<typeof signature>;

type Shapes = readonly (readonly [string, string, readonly (number | string)[]])[];

/** Inputs and outputs of a graph by `bundle/contract.py`: name, type, and shape, in which a letter is open. */
export function contract(spec: Spec, name: GraphName, at: Size | null): { inputs: Shapes; outputs: Shapes } {
  const f = "float32";
  if (name === "text_encoder") {
    const length = isFilled(spec.text) ? spec.text.context : "L";
    return { inputs: [["tokens", "int32", ["B", length]]], outputs: [["text_features", f, ["B", spec.features]]] };
  }
  if (name === "clip_image_encoder") {
    const side = spec.clip_vision!.size;
    return { inputs: [["image", f, ["B", 3, side, side]]], outputs: [["image_features", f, ["B", spec.features]]] };
  }
  const cells = grid(at!);
  const low = lowRes(at!);
  const halved = Math.max(...cells) > spec.clip_head.max_grid;
  const patches = cells.map((each) => (halved ? Math.ceil(each / 2) : each));
  const tokens = ["tokens", f, ["I", spec.encoder.width, ...cells]] as const;
  const shared = spec.guidance ? "B" : "M"; // prompts cannot share a `dense` that each is drawn into
  const made = [["sparse", f, ["B", "N", 256]], ["dense", f, [shared, 256, ...cells]]] as const;
  const embedding = (photos: number | string) => ["embedding", f, [photos, 256, ...cells]] as const;
  switch (name) {
    case "image_encoder":
      return {
        inputs: [["image", f, ["I", 3, ...sides(at!)]]],
        outputs: spec.clip_vision ? [embedding("I")] : [tokens, embedding("I")],
      };
    case "clip_head":
      return {
        inputs: [tokens],
        outputs: [["image_features", f, ["I", spec.features]], ["patch_features", f, ["I", spec.features, ...patches]]],
      };
    case "prompt_encoder":
      return {
        inputs: [
          ["points", f, ["B", "N", 2]], ["labels", f, ["B", "N"]], ["mask", f, [shared, 1, ...low]], ["has_mask", f, [1]],
        ],
        outputs: made,
      };
    case "mask_decoder":
      return { inputs: [embedding(1), ...made], outputs: [["masks", f, ["B", 4, ...low]], ["scores", f, ["B", 4]]] };
  }
}

const names = (all: readonly string[]): string => `[${all.map((each) => `'${each}'`).join(", ")}]`;

/** Why a signature does not keep the contract; null where it does. A fixed number satisfies a letter. */
export function againstContract(own: Signature, wanted: { inputs: Shapes; outputs: Shapes }): string | null {
  const chosen = new Map<string, number | string>();
  for (const [ours, theirs] of [[own.inputs, wanted.inputs], [own.outputs, wanted.outputs]] as const) {
    const fits = ours.length === theirs.length && ours.every((each, k) => {
      const [name, dtype, shape] = theirs[k]!;
      return each.name === name && each.dtype === dtype && each.shape.length === shape.length;
    });
    if (!fits) return `${names(ours.map((each) => each.name))} for ${names(theirs.map(([name]) => name))}`;
    for (const [k, each] of ours.entries()) {
      const shape = theirs[k]![2];
      for (const [place, side] of each.shape.entries()) {
        let asked = shape[place]!;
        if (typeof asked === "string") {
          const named = (typeof side === "number" && side > 0) || (asked === "M" && side === "B");
          if (!chosen.has(asked)) chosen.set(asked, named ? side : asked);
          asked = chosen.get(asked)!;
        }
        if (side !== asked) return `${each.name} is ${tuple(each.shape)}, not ${tuple(shape)}`;
      }
    }
  }
  return null;
}
