/**
 * `manifest.json`: what a bundle says of itself. As `bundle/manifest.py`.
 *
 * A bundle comes from anywhere, so the manifest is checked and its paths must stay inside the folder.
 */

import { againstContract, contract, GRAPHS, signature, type GraphName } from "./contract.js";
import { InputError, oneLine } from "./errors.js";
import { tuple } from "./python.js";
import { Fault, isObject, list, maybe, number, object, oneOf, optional, record, text, whole, yes, type Of } from "./schema.js";
import type { Size } from "./sizes.js";
import { size, spec, wrong } from "./spec.js";

export const FORMAT = 2;
export const MANIFEST = "manifest.json";

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

const distance = { error: number(), cosine: number() };
const graph = object("Graph", {
  name: oneOf(...GRAPHS),
  size: maybe(size),
  files: list(file, 1),
  engine: maybe(file),
  function: optional(text, "main"),
  image: optional(yes, false),
  points: maybe(whole({ least: 1 })),
  calls: optional(list(object("Call", { function: text, sides: record(whole({ least: 1 })) })), []),
  operators: optional(record(whole()), {}),
  left_to_cpu: optional(record(list(text)), {}),
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
    target: oneOf("onnx", "coreml", "tensorrt", "litert"),
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
    quantisation: maybe(oneOf("dynamic", "qdq", "static", "weights")),
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

/** The number that a graph fixes where the contract has a letter; null where it is open. */
export function fixedSide(graph: Graph, input: string, place: number): number | null {
  const side = graph.signature.inputs.find((each) => each.name === input)!.shape[place];
  return typeof side === "number" ? side : null;
}
