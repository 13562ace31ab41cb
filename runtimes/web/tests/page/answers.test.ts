/** The page in Chromium answers as Python does, on one thread and several, whatever the precision of the bundle. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeRle, type Rle } from "../../src/index.js";
import { BUILD, ROOT } from "../node.js";
import { launch, open, serve, type Opened, type Served } from "./browser.js";

interface Told {
  label: string | null;
  score: number | null;
  segmentation: Rle;
}
/** What Python says of `photo` and of bundles of `tiny`; see `references.py`. */
const PYTHON = JSON.parse(readFileSync(join(BUILD, "page.json"), "utf-8")) as Record<string, Record<string, Told[]>>;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/**
 * Hold what the page saved to what Python says: names and their order, masks, chances. least: IoU of each mask. int8 finds its
 * scales in each call, so the last bits of another engine move a mask more: there one mask of ten may be moved, to `least`.
 */
async function same(page: Opened, wanted: Told[], least = 0.995): Promise<void> {
  const { annotations, categories } = JSON.parse(readFileSync(await page.saved("json"), "utf-8")) as Record<string, any[]>;
  expect(annotations!.map((each) => categories![each.category_id - 1].name)).toEqual(wanted.map((each) => each.label ?? "thing"));
  const ious = annotations!.map((each, k) => {
    if (wanted[k]!.label !== null) expect(Math.abs(each.score - wanted[k]!.score!)).toBeLessThanOrEqual(1e-3);
    const [one, other] = [decodeRle(each.segmentation).data, decodeRle(wanted[k]!.segmentation).data];
    let [both, either] = [0, 0];
    one.forEach((bit, at) => {
      both += bit & other[at]!;
      either += bit | other[at]!;
    });
    return either ? both / either : 1;
  });
  expect(Math.min(...ious)).toBeGreaterThanOrEqual(least);
  expect(ious.filter((each) => each < 0.995).length).toBeLessThanOrEqual(ious.length / 10);
}

const BUNDLES = { photo: "photo", ...Object.fromEntries(["tiny-fp32", "tiny-fp16", "tiny-int8"].map((name) => [name, join(ROOT, "build", "vectors", name)])) };

describe.each(Object.entries(BUNDLES))("%s", (name, bundle) => {
  let served: Served;
  beforeAll(async () => {
    served = await serve(bundle);
  });
  afterAll(() => served.stop());
  const wanted = PYTHON[name]!;

  test.each([1, 2])("with %i threads", async (threads) => {
    const page = await open(browser, `${served.url}?threads=${threads}`);
    await page.ready();
    expect(await page.text("where")).toMatch(`by wasm on ${threads} thread`);
    await page.look(join(BUILD, `page-${name.split("-")[0]}.png`));
    await page.click(0.5, 0.5);
    await same(page, wanted["click"]!);
    const steps = wanted["find"]!.map((each) => each.label!);
    await page.find([...steps, "zebra"].join(", "));
    await same(page, wanted["find"]!);
    await page.page.fill("#words", "");
    await page.page.click("#everything");
    await page.status(/^Naming everything: \d+ ms$/);
    await same(page, wanted["everything"]!, name === "tiny-int8" ? 0.8 : 0.995);
    await page.close();
  });
});
