/**
 * `manifest.json`: what a bundle says of itself. As `bundle/manifest.py`, `bundle/spec.py` and `bundle/contract.py`.
 *
 * A bundle comes from anywhere, so the manifest is checked and its paths must stay inside the folder.
 */

import { InputError, oneLine } from "./errors.js";
import { tuple } from "./python.js";
import {
  byKind, count, Fault, isObject, list, maybe, number, numberOrText, object, oneOf, optional, record, several, text, whole,
  yes, type Of,
} from "./schema.js";
import { grid, lowRes, ofSides, sides, type Size } from "./sizes.js";

export const FORMAT = 2;
export const MANIFEST = "manifest.json";

const GRAPHS = ["image_encoder", "clip_head", "prompt_encoder", "mask_decoder", "text_encoder", "clip_image_encoder"] as const;
export type GraphName = (typeof GRAPHS)[number];

const wrong = (where: readonly (string | number)[], message: string): never => {
  throw new Fault(where, `Value error, ${message}`);
};

const size = (value: unknown, where: readonly (string | number)[]): Size => {
  const given = numberOrText(value, where);
  try {
    return ofSides(...sides(given));
  } catch (error) {
    return wrong(where, (error as Error).message);
  }
};

const path = (value: unknown, where: readonly (string | number)[]): string => {
  const given = text(value, where);
  const leaves = !given || given.startsWith("/") || given.split("/").includes("..") || /[\\:]/.test(given);
  return leaves ? wrong(where, `path '${given}' leaves the bundle`) : given;
};

const sha256 = (value: unknown, where: readonly (string | number)[]): string => {
  const given = text(value, where);
  if (/^[0-9a-f]{64}$/.test(given)) return given;
  throw new Fault(where, "String should match pattern '^[0-9a-f]{64}$'");
};

const file = object("File", { path, sha256, bytes: whole({ least: 0 }) });
export type File = Of<typeof file>;

const tensor = object("Tensor", { name: text, dtype: optional(oneOf("float32", "int32"), "float32"), shape: list(numberOrText) });
const signature = object("Signature", { inputs: list(tensor), outputs: list(tensor) });
export type Signature = Of<typeof signature>;

const distance = { error: number(), cosine: number() };
const graph = object("Graph", {
  name: oneOf(...GRAPHS),
  size: maybe(size),
  files: list(file, 1),
  engine: maybe(file),
  function: optional(text, "main"),
  image: optional(yes, false),
  points: maybe(whole()),
  signature,
  parity: record(object("Parity", distance)),
  reference: record(object("Reference", { std: number(), values: list(number()) })),
  in_float: optional(list(text), []),
  moved: optional(record(object("Moved", distance)), {}),
  steps: maybe(file),
});
export type Graph = Of<typeof graph>;

const words = object(
  "Text",
  {
    templates: file,
    logit_scale: number(),
    logit_bias: maybe(number()),
    tokenizer: maybe(file),
    names: maybe(file),
    features: maybe(file),
  },
  (made, where) => {
    if ((made.tokenizer === null) === (made.names === null) || (made.names === null) !== (made.features === null)) {
      wrong(where, "text has either a tokenizer or a vocabulary of names and features");
    }
  },
);

const logistic = object("Logistic", { slope: optional(number(0), 1), offset: optional(number(), 0) });
export type Logistic = Of<typeof logistic>;
const calibration = object("Calibration", {
  names: file,
  features: file,
  same: number(),
  measured_on: text,
  sizes: list(object("Chances", { size, patches: logistic, mask: logistic, photo: logistic }), 1),
});

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

const spec = object("ModelSpec", {
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

const weights = object("Weights", {
  what: text,
  file: text,
  repository: maybe(text),
  revision: maybe(text),
  sha256: maybe(sha256),
  license: maybe(text),
});

const engines = object("BuiltEngines", {
  builder: oneOf("tensorrt", "tensorrt_rtx"),
  version: text,
  capabilities: list(text, 1),
  portable: optional(yes, false),
  stripped: optional(yes, false),
});

const manifest = object(
  "Manifest",
  {
    format: optional(oneOf(1, 2), FORMAT),
    kind: optional(oneOf("merged", "sam+clip"), "merged"),
    target: oneOf("onnx", "coreml", "tensorrt"),
    precision: oneOf("fp32", "fp16", "int8", "palette8", "palette6"),
    spec,
    sizes: list(size, 1),
    trained: yes,
    trained_at: maybe(list(size)),
    origin: text,
    weights: optional(list(weights), []),
    producer: text,
    graphs: list(graph),
    text: words,
    calibration: maybe(calibration),
    vectors: optional(list(file), []),
    engines: maybe(engines),
    script: maybe(file),
    quantisation: maybe(oneOf("dynamic", "qdq")),
    measured_on: maybe(text),
  },
  (made, where) => {
    const merged = made.spec.clip_vision === null;
    if ((made.kind === "merged") !== merged) wrong(where, `kind ${made.kind} holds a spec of kind ${merged ? "merged" : "sam+clip"}`);
    const sized = GRAPHS.slice(0, 4).filter((name) => merged || name !== "clip_head");
    const shown = (name: GraphName, at: Size | null): string => tuple([name, at]);
    const want = sized.flatMap((name) => made.sizes.map((at) => shown(name, at)));
    if (made.text.tokenizer) want.push(shown("text_encoder", null));
    if (!merged) want.push(shown("clip_image_encoder", null));
    const have = made.graphs.map((each) => shown(each.name, each.size));
    const wanted = [...new Set(want)].sort();
    if ([...have].sort().join() !== wanted.join()) {
      wrong(where, `the graphs [${have.join(", ")}] are not one each of [${wanted.join(", ")}]`);
    }
    for (const each of made.graphs) {
      const fault = againstContract(each.signature, contract(made.spec, each.name, each.size));
      if (fault) wrong(where, `the signature of ${each.name} is not the contract's (${fault})`);
      if ((each.engine === null) !== (made.engines === null)) {
        wrong(where, `\`engine\` of ${each.name} and \`engines\` of the bundle must be given together`);
      }
    }
  },
);
export type Manifest = Of<typeof manifest>;

/** Read a manifest. shown: its path, in messages. Throws InputError when it is none that this version can read. */
export function readManifest(json: string, shown: string): Manifest {
  let fields: unknown;
  try {
    fields = JSON.parse(json);
  } catch (error) {
    throw new InputError(`${shown}: not a manifest (${oneLine(error)}); export the bundle again`);
  }
  const version = isObject(fields) ? fields["format"] : null;
  if (typeof version === "number" && version > FORMAT) {
    throw new InputError(`${shown}: format ${version} is newer than ${FORMAT}, which this version reads; upgrade it`);
  }
  try {
    return manifest(fields, []);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    throw new InputError(`${shown}: ${error.where.join(".") || "manifest"}: ${error.message}; export the bundle again`);
  }
}

/** The token id that ends a text. */
export function endOfText(tower: Spec["text"]): number {
  return tower.end ?? tower.vocab - 1;
}

/** Whether texts must be filled up to the context, because what stands after their end changes the feature. */
export function isFilled(tower: Spec["text"]): boolean {
  return !tower.causal || tower.pool === "last";
}

type Shapes = readonly (readonly [string, string, readonly (number | string)[]])[];

/** Inputs and outputs of a graph by `bundle/contract.py`: name, type, and shape, in which a letter is open. */
function contract(spec: Spec, name: GraphName, at: Size | null): { inputs: Shapes; outputs: Shapes } {
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
function againstContract(own: Signature, wanted: { inputs: Shapes; outputs: Shapes }): string | null {
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

/** The number that a graph fixes where the contract has a letter; null where it is open. */
export function fixedSide(graph: Graph, input: string, place: number): number | null {
  const side = graph.signature.inputs.find((each) => each.name === input)!.shape[place];
  return typeof side === "number" ? side : null;
}
