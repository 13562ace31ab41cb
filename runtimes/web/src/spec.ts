/** What a model is made of. As `bundle/spec.py` and `bundle/encoder_spec.py`. */

import { tuple } from "./python.js";
import { byKind, count, Fault, isObject, list, maybe, number, numberOrText, object, oneOf, optional, several, text, whole, yes, type Of } from "./schema.js";
import { ofSides, sides, type Size } from "./sizes.js";

/** Says what no schema of JSON could. */
export const wrong = (where: readonly (string | number)[], message: string): never => {
  throw new Fault(where, `Value error, ${message}`);
};

/** An input size. */
export const size = (value: unknown, where: readonly (string | number)[]): Size => {
  const given = numberOrText(value, where);
  try {
    return ofSides(...sides(given));
  } catch (error) {
    return wrong(where, (error as Error).message);
  }
};

const divides = (width: number, heads: number, where: readonly (string | number)[], what = "width"): void => {
  if (width % heads) wrong(where, `${what} ${width} is not a multiple of heads ${heads}`);
};
const counts = (length: number, usual: number[]) => optional(several(count, length), usual);
const adaptor = object("AdaptorSpec", { hidden: optional(count, 2560), blocks: optional(whole({ least: 0 }), 3), out: count });
const colour = several(number(), 3);
const deviations = several(number(0), 3);

/** The width of the tokens, by kind of encoder. */
const encoder = byKind<{ width: number }>(
  {
    vit: object(
      "VitSpec",
      {
        kind: optional(oneOf("vit"), "vit"), width: count, depth: count, heads: count, window: optional(count, 14),
        global_layers: list(whole()), mlp_ratio: optional(number(), 4), grid: optional(count, 64),
        stem: optional(oneOf("patch", "convolutions"), "patch"),
      },
      (made, where) => {
        divides(made.width, made.heads, where);
        if (made.global_layers.some((layer) => layer < 0 || layer >= made.depth)) {
          wrong(where, `global_layers ${tuple(made.global_layers)} name a layer past depth ${made.depth}`);
        }
      },
    ),
    tiny_vit: (value, where) => {
      const made = object("TinyVitSpec", {
        kind: oneOf("tiny_vit"), widths: counts(4, [64, 128, 160, 320]), depths: counts(4, [2, 2, 6, 2]),
        stage_heads: counts(3, [4, 5, 10]), windows: counts(3, [7, 14, 7]), mlp_ratio: optional(number(), 4),
        grid: optional(count, 32),
      })(value, where);
      made.stage_heads.forEach((heads, k) => divides(made.widths[k + 1]!, heads, where));
      return { width: made.widths.at(-1)! };
    },
    radio: (value, where) => {
      const made = object("RadioSpec", {
        kind: oneOf("radio"), trunk: optional(count, 768), depth: optional(count, 12), heads: optional(count, 12),
        mlp_ratio: optional(number(), 4), grid: optional(count, 128), prefix: optional(count, 8),
        summary: optional(whole({ least: 0 }), 0), sam: optional(adaptor, null), mean: maybe(colour), std: maybe(deviations),
      })(value, where);
      divides(made.trunk, made.heads, where, "trunk");
      return { width: 2 * made.trunk };
    },
    efficientnet_lite: (value, where) => {
      const made = object("EfficientNetLiteSpec", {
        kind: oneOf("efficientnet_lite"), stem: optional(count, 32), widths: counts(7, [16, 24, 40, 80, 112, 192, 320]),
        depths: counts(7, [1, 2, 2, 3, 3, 4, 1]), lateral: counts(2, [80, 64]), heads: optional(count, 8),
        mlp_ratio: optional(number(), 2), grid: optional(count, 24),
      })(value, where);
      const width = made.widths[6]! + made.widths[4]! + made.lateral[0]! + made.lateral[1]!;
      divides(width, made.heads, where, "width of the tokens");
      return { width };
    },
  },
  "vit",
  "_kind",
);

const clipHead = byKind<{ max_grid: number }>(
  {
    layers: object("ClipHeadSpec", {
      kind: optional(oneOf("layers"), "layers"), depth: optional(count, 3), hidden: optional(count, 768),
      max_grid: optional(count, 32),
    }),
    adaptor: object("AdaptorHeadSpec", {
      kind: oneOf("adaptor"), hidden: optional(count, 2560), blocks: optional(whole({ least: 0 }), 3), max_grid: optional(count, 32),
    }),
    classes: object("ClassHeadSpec", {
      kind: oneOf("classes"), classes: optional(count, 1000), hidden: optional(count, 1280), max_grid: optional(count, 32),
    }),
  },
  "layers",
  "_head",
);

const tower = (value: unknown, where: readonly (string | number)[]): Record<string, unknown> => {
  if (!isObject(value)) throw new Fault(where, "Input should be a valid dictionary");
  return value;
};
const vision = object("ClipVisionSpec", {
  tower,
  size: optional(count, 224),
  mean: optional(colour, null),
  std: optional(deviations, null),
  resize: optional(oneOf("shortest", "longest", "squash"), "shortest"),
  interpolation: optional(oneOf("bicubic", "bilinear"), "bicubic"),
});

/** What a separate CLIP is shown. Older files say the numbers of a ViT, without a tower. */
const clipVision = (value: unknown, where: readonly (string | number)[]): Of<typeof vision> => {
  if (!isObject(value) || "tower" in value) return vision(value, where);
  if (!Object.values(value).every((each) => each === true || (Number.isInteger(each) && (each as number) > 0))) {
    wrong(where, "the numbers of its ViT are no positive whole numbers");
  }
  const known = ["width", "depth", "heads", "patch", "size"];
  if (known.slice(0, 3).some((key) => !(key in value)) || Object.keys(value).some((key) => !known.includes(key))) {
    wrong(where, "it has neither a tower nor the width, depth and heads of a ViT");
  }
  return vision({ tower: {}, size: value["size"] ?? 224 }, where);
};

const textTower = object(
  "TextSpec",
  {
    width: count, depth: count, heads: count, vocab: optional(whole({ least: 514 }), 49408), context: optional(whole({ above: 0, most: 512 }), 77),
    activation: optional(oneOf("gelu", "gelu_tanh", "quick_gelu"), "gelu"), mlp: maybe(count), eps: optional(number(0), 1e-5),
    causal: optional(yes, true), pool: optional(oneOf("end", "last"), "end"), end: maybe(whole({ least: 0 })),
    projection: optional(oneOf("matrix", "linear", "none"), "matrix"), sigmoid: optional(yes, false),
    tokenizer: optional(oneOf("clip", "own"), "clip"), clean: optional(oneOf("lower", "canonicalize", "whitespace"), "lower"),
  },
  (made, where) => {
    if (made.tokenizer === "clip" && made.vocab > 49408) wrong(where, `vocab ${made.vocab} is more than the 49408 of CLIP's tokenizer`);
    divides(made.width, made.heads, where);
    if (made.end !== null && made.end >= made.vocab) wrong(where, `end ${made.end} is not below vocab ${made.vocab}`);
  },
);

/** By which sizes are sorted: the number of pixels first, then height and width. */
function inOrder(one: Size, other: Size): number {
  const [a, b] = [sides(one), sides(other)];
  return a[0] * a[1] - b[0] * b[1] || a[0] - b[0] || a[1] - b[1];
}

function rising(sizes: Size[], where: readonly (string | number)[]): Size[] {
  const rises = sizes.length > 0 && sizes.every((each, k) => !k || inOrder(sizes[k - 1]!, each) < 0);
  return rises ? sizes : wrong(where, `sizes ${tuple(sizes)} are not a rising list`);
}

/** What a model is made of. */
export const spec = object("ModelSpec", {
  name: text,
  encoder,
  decoder: optional(object("DecoderSpec", { depth: optional(count, 2), heads: optional(count, 8), mlp: optional(count, 2048) }), null),
  clip_head: optional(clipHead, { max_grid: 32 }),
  clip_vision: maybe(clipVision),
  text: textTower,
  features: count,
  guidance: optional(whole({ least: 0 }), 0),
  sizes: (value, where) => rising(list(size)(value, where), where),
});
export type Spec = Of<typeof spec>;

/** The token id that ends a text. */
export function endOfText(tower: Spec["text"]): number {
  return tower.end ?? tower.vocab - 1;
}

/** Whether texts must be filled up to the context, because what stands after their end changes the feature. */
export function isFilled(tower: Spec["text"]): boolean {
  return !tower.causal || tower.pool === "last";
}
