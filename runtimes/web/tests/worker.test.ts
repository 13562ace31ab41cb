/** A model behind messages answers as the same model does without them. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect, InputError, serve, type Mask, type Port, type RemoteSamClip, type SamClip } from "../src/index.js";
import { open, ROOT } from "./node.js";

const BUNDLE = join(ROOT, "build", "vectors", "tiny-fp32");
const PHOTO = { height: 144, width: 160, data: new Uint8Array(readFileSync(join(BUNDLE, "vectors", "pipeline.photo.bin"))) };
const NAMES = ["blue square", "red arrow", "white hexagon"];
const { port1, port2 } = new MessageChannel();
let remote: RemoteSamClip;
let local: SamClip;

beforeAll(async () => {
  serve(port1 as unknown as Port, (folder: string) => open(folder));
  remote = await connect(port2 as unknown as Port, BUNDLE);
  local = await open(BUNDLE);
});
afterAll(() => port2.close());

const told = (masks: readonly Mask[]): string => JSON.stringify(masks);

test("what it says of itself, of a photo and of words", async () => {
  expect([remote.sizes, remote.namesSize]).toEqual([local.sizes, local.namesSize]);
  expect(await remote.embedText(NAMES)).toEqual(await local.embedText(NAMES));
  expect(await remote.rank([PHOTO], "cat")).toEqual(await local.rank([PHOTO], "cat"));
});

test("a scene's answers", async () => {
  const [theirs, ours] = [await remote.look(PHOTO, 128), await local.look(PHOTO, 128)];
  expect([theirs.height, theirs.width, theirs.size]).toEqual([144, 160, 128]);
  expect(await theirs.classify(NAMES)).toEqual(await ours.classify(NAMES));
  const [mask] = await theirs.segment({ boxes: [41, 23, 123, 133] });
  expect(told([mask!])).toBe(told(await ours.segment({ boxes: [41, 23, 123, 133] })));
  expect(mask!.area).toBeGreaterThan(0); // it is a mask again, and no bare fields
  const again = { boxes: [41, 23, 123, 133], mask: mask!.logits! } as const;
  expect(told(await theirs.segment(again))).toBe(told(await ours.segment(again)));
  expect((await theirs.segmentAll({ points: [[73, 79]] })).map(told)).toEqual((await ours.segmentAll({ points: [[73, 79]] })).map(told));
  expect(told(await theirs.find(NAMES, { minScore: 0 }))).toBe(told(await ours.find(NAMES, { minScore: 0 })));
  expect(told(await theirs.name([mask!], NAMES, { minScore: 0 }))).toBe(told(await ours.name([mask!], NAMES, { minScore: 0 })));
  const steps: number[] = [];
  const how = { labels: NAMES, settings: { pointsPerSide: 6, predictedIou: 0.5, stability: 0.5 } };
  const found = await theirs.everything({ ...how, progress: (done) => steps.push(done) });
  expect(told(found)).toBe(told(await ours.everything(how)));
  expect(steps).toEqual([16, 32, 36]);
});

test("what is thrown reaches the page, whatever it is; a worker that falls is told, then and later", async () => {
  for (const [thrown, line] of [[7, "7"], ["out of memory", "out of memory"], [undefined, "undefined"], [null, "null"]] as const) {
    const { port1: inside, port2: outside } = new MessageChannel();
    serve(inside as unknown as Port, () => Promise.reject(thrown));
    await expect(connect(outside as unknown as Port)).rejects.toThrow(line);
    outside.close();
  }
  const fallen: Port = { postMessage: () => undefined, onmessage: null };
  const opening = connect(fallen);
  fallen.onerror!({ message: "memory access out of bounds" });
  await expect(opening).rejects.toThrow("the worker fell (memory access out of bounds); load the page again");
  await expect(remote.rank([{ height: 1, width: 1, data: new Uint8Array(3), then: () => undefined } as never], "cat")).rejects.toThrow();
  expect(await remote.names()).toContain("red circle");
});

test("errors keep their kind, and an abort ends the call there too", async () => {
  const scene = await remote.look(PHOTO, 128);
  const refused = await scene.classify([]).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(InputError);
  expect(refused).toMatchObject({ message: "labels: no name; give at least one", argument: "labels" });
  const abort = new AbortController();
  let after = 0;
  const progress = (): void => {
    after++;
    abort.abort(new Error("enough"));
  };
  await expect(scene.everything({ settings: { pointsPerSide: 64 }, signal: abort.signal, progress })).rejects.toThrow("enough");
  expect(await scene.segment({ points: [[73, 79]] })).toHaveLength(1);
  expect(after).toBeLessThan(4);
  await scene.dispose();
  await expect(scene.segment({ points: [[73, 79]] })).rejects.toThrow("scene: was disposed of; look at the photo again");
});
