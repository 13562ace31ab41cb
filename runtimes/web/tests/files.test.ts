/** Files over the network: how far they have come, that they can be stopped, and what is said where they do not come. */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { browser, onnxRuntime, SamClip } from "../src/index.js";
import { ROOT } from "./node.js";

const BUNDLE = join(ROOT, "build", "vectors", "tiny-fp32");
const PHOTO = { height: 8, width: 8, data: new Uint8Array(8 * 8 * 3) };
let server: Server;
let url: string;
const asked: string[] = [];

beforeAll(async () => {
  server = createServer((request, response) => {
    const path = new URL(request.url!, "http://localhost").pathname;
    asked.push(path);
    if (path.endsWith("mask_decoder.weights")) return void response.writeHead(503).end();
    const bytes = readFileSync(join(BUNDLE, path));
    const told = path.endsWith("prompt_encoder_256.onnx") ? {} : { "content-length": bytes.length }; // of one nobody says how long it is
    response.writeHead(200, told).end(bytes);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});
afterAll(() => void server.close());

const engine = onnxRuntime(ort);

test("each file says how far it has come, and one that does not come is named", async () => {
  const told = new Map<string, [number, number][]>();
  const progress = (path: string, done: number, all: number): void => void told.set(path, [...(told.get(path) ?? []), [done, all]]);
  const model = await SamClip.load(url, { engine, platform: browser(), progress });
  const scene = await model.look(PHOTO, 256);
  await expect(scene.segment({ points: [[4, 4]] })).rejects.toThrow(
    `${url}mask_decoder.weights: cannot be read (503 Service Unavailable); copy or export the bundle again`,
  );
  const { graphs } = model.bundle.manifest;
  const [graph, weights] = graphs.find((each) => each.name === "image_encoder" && each.size === 256)!.files;
  expect(told.get(graph!.path)!.at(-1)).toEqual([graph!.bytes, graph!.bytes]);
  const steps = told.get(weights!.path)!;
  expect(steps.length).toBeGreaterThan(1);
  expect(steps.map(([done]) => done)).toEqual([...steps.map(([done]) => done)].sort((a, b) => a - b));
  expect(steps.at(-1)).toEqual([weights!.bytes, weights!.bytes]);
  const open = graphs.find((each) => each.name === "prompt_encoder" && each.size === 256)!.files[0]!;
  expect(told.get(open.path)!.at(-1)).toEqual([open.bytes, 0]);
});

test("what is being read can be stopped, and only then", async () => {
  const abort = new AbortController();
  const progress = (path: string): void => {
    if (path === "image_encoder.weights") abort.abort(new Error("enough"));
  };
  const model = await SamClip.load(url, { engine, platform: browser(), signal: abort.signal, progress });
  await expect(model.look(PHOTO, 256)).rejects.toThrow("enough");
  await expect(SamClip.load(url, { engine, platform: browser(), signal: AbortSignal.abort(new Error("before")) })).rejects.toThrow("before");
});

test("an address without a bundle", async () => {
  await expect(SamClip.load("http://127.0.0.1:1/", { engine, platform: browser() })).rejects.toThrow(
    /^http:\/\/127\.0\.0\.1:1: holds no manifest\.json \(.+\); pass the folder that `samclip-edge export` wrote$/,
  );
});

test("what a browser keeps is asked for once, under its sha256", async () => {
  const kept = new Map<string, Response>();
  const forget = async (key: string): Promise<boolean> => kept.delete(key);
  const cache = { keys: async () => [...kept.keys()].map((url) => ({ url })), delete: forget, match: async (key: string) => kept.get(key)?.clone(), put: async (key: string, answer: Response) => void kept.set(key, answer) };
  Object.assign(globalThis, { caches: { open: async () => cache } });
  try {
    const sha256 = createHash("sha256").update(readFileSync(join(BUNDLE, "tokenizer.json"))).digest("hex");
    asked.length = 0;
    const own = browser();
    const [one, other] = [await own.read(`${url}tokenizer.json`, { sha256 }), await own.read(`${url}tokenizer.json`, { sha256 })];
    expect(one).toEqual(other);
    expect(await own.sha256(one)).toBe(sha256);
    expect(asked).toEqual(["/tokenizer.json"]);
    await browser({ cache: null }).read(`${url}tokenizer.json`, { sha256 });
    expect(asked).toHaveLength(2);
    // What came spoilt is not kept, and what lies there spoilt is fetched again.
    await own.read(`${url}tokenizer.json`, { sha256: "0".repeat(64) });
    expect([...kept.keys()]).toEqual([`${url}tokenizer.json?sha256=${sha256}`]);
    kept.set(`${url}tokenizer.json?sha256=${sha256}`, new Response("spoilt"));
    kept.set(`${url}tokenizer.json?sha256=${"1".repeat(64)}`, new Response("of the bundle before"));
    expect(await own.read(`${url}tokenizer.json`, { sha256 })).toEqual(one);
    expect(asked).toHaveLength(4);
    expect([...kept.keys()]).toEqual([`${url}tokenizer.json?sha256=${sha256}`]);
    await own.read(`${url}tokenizer.json`, { sha256 });
    expect(asked).toHaveLength(4);
  } finally {
    delete (globalThis as { caches?: unknown }).caches;
  }
});
