/** What a person does with the page: each of its ways to ask, what it says where something is wrong, and what it leaves. */

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeRle, type Rle } from "../../src/index.js";
import { BUILD, ROOT } from "../node.js";
import { CAT, launch, open, PHOTOS, serve, serveAnyhow, type Opened, type Served } from "./browser.js";

const IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";
let browser: Browser;
let served: Served;
let scratch: string;

beforeAll(async () => {
  browser = await launch("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream");
  served = await serve("photo");
  scratch = mkdtempSync(join(tmpdir(), "samclip-page-"));
});
afterAll(async () => {
  served.stop();
  await browser.close();
  rmSync(scratch, { recursive: true });
});

async function ready(options: Parameters<typeof open>[2] = {}, query = ""): Promise<Opened> {
  const page = await open(browser, served.url + query, options);
  await page.ready();
  return page;
}

/** What is saved of a click in the middle of a photo. */
async function clicked(page: Opened, photo: string): Promise<Record<string, any[]>> {
  await page.look(photo);
  await page.click(0.5, 0.5);
  return JSON.parse(readFileSync(await page.saved("json"), "utf-8"));
}

function iou(one: Rle, other: Rle): number {
  const [ours, theirs] = [decodeRle(one).data, decodeRle(other).data];
  let [both, either] = [0, 0];
  ours.forEach((bit, at) => {
    both += bit & theirs[at]!;
    either += bit | theirs[at]!;
  });
  return either ? both / either : 1;
}

/** A photo that Pillow made of the cat: turned in its file and upright by EXIF, with a gamma, cut off, or of 11 megapixels. */
function photos(name: string): string {
  const made = join(scratch, name);
  const code = `
import struct, sys
from PIL import Image
from PIL.PngImagePlugin import PngInfo
cat = Image.open(${JSON.stringify(join(BUILD, "page-photo.png"))}).convert("RGB")
exif = Image.Exif()
exif[0x0112] = 6
gamma = PngInfo()
gamma.add(b"gAMA", struct.pack(">I", 100_000))
ways = {
    "turned.jpg": lambda: cat.transpose(Image.Transpose.ROTATE_90).save(sys.argv[1], exif=exif, quality=100, subsampling=0),
    "gamma.png": lambda: cat.save(sys.argv[1], pnginfo=gamma),
    "cut.jpg": lambda: cat.save(sys.argv[1], quality=95),
    "large.jpg": lambda: cat.resize((4059, 2700)).save(sys.argv[1], quality=95),
}
ways[sys.argv[2]]()
if sys.argv[2] == "cut.jpg":
    whole = open(sys.argv[1], "rb").read()
    open(sys.argv[1], "wb").write(whole[: len(whole) * 9 // 10])
`;
  execFileSync(join(ROOT, ".venv", "bin", "python"), ["-c", code, made, name]);
  return made;
}

describe("asking", () => {
  test("a tap on a phone's screen is answered by a name", async () => {
    const page = await ready({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
    await page.shot("phone-empty");
    await page.look();
    await page.page.touchscreen.tap(...(await page.on(0.5, 0.5)));
    await page.status(/^Segmenting: \d+ ms$/);
    expect(await page.answers()).toEqual(["cat, 97 %"]);
    expect(await page.text("times")).toMatch(/^prompt encoder \d+ ms, mask decoder \d+ ms/);
    expect(await page.page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    await page.shot("phone");
    const finger = await page.page.context().newCDPSession(page.page);
    const touch = async (type: string, ...at: [] | [number, number]): Promise<void> => {
      const [x, y] = at.length ? await page.on(...at) : [];
      await finger.send("Input.dispatchTouchEvent", { type: type as "touchStart", touchPoints: x === undefined ? [] : [{ x, y: y! }] });
    };
    await touch("touchStart", 0.2, 0.1);
    for (const step of [0.3, 0.5, 0.7, 0.9]) await touch("touchMove", step, step - 0.1);
    await touch("touchEnd");
    await page.page.locator("#answers li").nth(1).waitFor();
    expect(await page.answers()).toEqual(["cat, 97 %", expect.stringMatching(/^cat, 9\d %$/)]);
    const [tapped, boxed] = JSON.parse(readFileSync(await page.saved("json"), "utf-8")).annotations;
    expect(boxed.area).not.toBe(tapped.area); // a box, and no second tap
    await page.close();
  });

  test("a box, words of which one is absent, everything, undo", async () => {
    const page = await ready({ colorScheme: "dark" });
    await page.look();
    expect(await page.text("times")).toMatch(/^image encoder \d+ ms$/);
    await page.page.mouse.move(...(await page.on(0.2, 0.1)));
    await page.page.mouse.down();
    await page.page.mouse.move(...(await page.on(0.9, 0.9)), { steps: 5 });
    await page.shot("dark-box");
    await page.page.mouse.up();
    await page.status(/^Segmenting: \d+ ms$/);
    expect(await page.answers()).toEqual(["cat, 98 %"]);
    expect(await page.find("cat, zebra")).toMatch(/ms\. Not in this photo: zebra$/);
    expect(await page.answers()).toEqual([expect.stringMatching(/^cat, \d+ %$/)]);
    await page.page.click("#everything");
    await page.status(/^Naming everything: \d+ ms$/);
    expect((await page.answers()).filter((each) => each.startsWith("cat"))).not.toEqual([]);
    await page.shot("dark-everything");
    for (const left of ["cat", "cat", ""]) {
      await page.page.click("#undo");
      expect((await page.answers()).map((each) => each.split(",")[0])).toEqual(left ? [left] : []);
    }
    expect(await page.page.isDisabled("#undo")).toBe(true);
    await page.close();
  });

  test("Stop ends the work, and not just the wait for it", async () => {
    const page = await ready({}, "?threads=1");
    await page.look();
    await page.page.click("#everything");
    await page.status(/^Naming everything: \d+ %$/);
    await page.page.click("#stop");
    await page.status("Naming everything: stopped");
    await page.click(0.5, 0.5);
    expect(await page.answers()).toEqual(["cat, 97 %"]);
    // Two runs for the click, one for what the mouse was over, and at most one that was under way.
    const runs = Number(/mask decoder \d+ ms(?: in (\d+) runs)?/.exec((await page.text("times"))!)![1] ?? 1);
    expect(runs).toBeLessThanOrEqual(4);
    await page.close();
  });

  test("by the keyboard alone", async () => {
    const page = await ready({ viewport: { width: 360, height: 740 } });
    await page.look();
    await page.page.focus("#photo");
    await page.page.keyboard.press("ArrowRight");
    await page.page.keyboard.press("ArrowLeft");
    await page.page.keyboard.press("Enter");
    await page.status(/^Segmenting: \d+ ms$/);
    expect(await page.answers()).toEqual(["cat, 97 %"]);
    await page.page.focus("#words");
    await page.page.keyboard.type("cat");
    await page.page.keyboard.press("Enter");
    await page.status(/^Finding words: \d+ ms$/);
    expect(await page.page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    const unnamed = "[...document.querySelectorAll('button, input, canvas, video')].filter((each) => !each.ariaLabel && !each.labels?.length && !each.textContent.trim()).length";
    expect(await page.page.evaluate(unnamed)).toBe(0);
    await page.shot("narrow");
    await page.close();
  });

  test("a photo that lies on its side, one that breaks off, one that says how bright it is meant, and one of a phone's size are seen as by Python", async () => {
    const page = await ready();
    const upright = await clicked(page, join(BUILD, "page-photo.png"));
    for (const [name, least] of [["turned.jpg", 0.97], ["gamma.png", 0.999], ["cut.jpg", 0.5]] as const) {
      const { images, annotations } = await clicked(page, photos(name));
      expect([images[0].height, images[0].width]).toEqual([300, 451]);
      expect(iou(annotations[0].segmentation, upright.annotations[0].segmentation)).toBeGreaterThan(least);
      const [width, height] = await page.page.evaluate(() => { const { width, height } = document.getElementById("photo") as HTMLCanvasElement; return [width, height]; });
      expect([width, height]).toEqual([451, 300]);
    }
    const large = await clicked(page, photos("large.jpg"));
    expect([large.images[0].height, large.images[0].width]).toEqual([2700, 4059]);
    expect(await page.page.evaluate(() => (document.getElementById("photo") as HTMLCanvasElement).width)).toBe(1600);
    expect(await page.answers()).toEqual(["cat, 97 %"]);
    await page.shot("large");
    await page.close();
  });

  test("of two photos chosen at once the last is shown; names are one by their spelling; other buttons of the mouse ask nothing", async () => {
    const page = await ready();
    await page.page.setInputFiles("#file", join(BUILD, "page-photo.png"));
    await page.page.setInputFiles("#file", join(PHOTOS, "coffee.jpg"));
    await expect.poll(() => page.page.evaluate(() => (document.getElementById("photo") as HTMLCanvasElement).width)).toBe(600);
    await page.status(/^Looking at the photo: \d+ ms$/);
    await page.look(CAT);
    expect(await page.find("Cat,  cat, ZEBRA, zebra")).toMatch(/ms\. Not in this photo: ZEBRA$/);
    expect(await page.answers()).toEqual([expect.stringMatching(/^Cat, \d+ %$/)]);
    await page.page.mouse.click(...(await page.on(0.5, 0.5)), { button: "right" });
    await page.page.fill("#words", " , ");
    await page.page.click("#find");
    expect(await page.status("Words")).toBe("Words: type at least one.");
    expect(await page.answers()).toHaveLength(1);
    await page.close();
  });

  test.each(["sam+clip", "tiny-words", "tiny-static"])("a bundle of another kind: %s", async (kind) => {
    const other = await serve(join(ROOT, "build", "vectors", kind));
    const page = await open(browser, other.url);
    await page.ready();
    await page.look(join(BUILD, "page-tiny.png"));
    await page.click(0.5, 0.5);
    expect(await page.answers()).toHaveLength(1);
    const [name] = JSON.parse(readFileSync(join(ROOT, "build", "vectors", kind, kind === "tiny-words" ? "vocabulary.json" : "rivals.json"), "utf-8"));
    await page.find(name);
    await page.close();
    other.stop();
  });

  test("what a mouse is over is shown before it is clicked", async () => {
    const page = await ready();
    await page.look();
    const drawn = (): Promise<string> => page.page.evaluate(() => (document.getElementById("photo") as HTMLCanvasElement).toDataURL());
    const before = await drawn();
    await page.page.mouse.move(...(await page.on(0.5, 0.5)));
    await expect.poll(drawn, { timeout: 20_000 }).not.toBe(before);
    await page.page.mouse.move(1, 1);
    await expect.poll(drawn, { timeout: 20_000 }).toBe(before);
    expect(await page.answers()).toEqual([]);
    await page.close();
  });

  test("the camera", async () => {
    const page = await ready({ permissions: ["camera"] });
    await page.page.click("#camera");
    await page.page.locator("#video").waitFor();
    await page.page.click("text=Take the photo");
    await page.status(/^Looking at the photo: \d+ ms$/);
    await page.page.locator("#video").waitFor({ state: "hidden" });
    await page.click(0.5, 0.5);
    expect(await page.answers()).toHaveLength(1);
    await page.page.click("#camera");
    await page.page.click("#close");
    expect(await page.page.isVisible("#video")).toBe(false);
    await page.close();
    const refused = await ready();
    await refused.page.evaluate("navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('Permission denied'))");
    await refused.page.click("#camera");
    expect(await refused.status(/camera/)).toBe("the camera: Permission denied; allow it, or choose a photo");
    await refused.close();
  });

  test("a cut-out, which is the photo inside the mask and clear around it", async () => {
    const page = await ready();
    await page.look();
    await page.click(0.5, 0.5);
    const cut = readFileSync(await page.saved("cutout"));
    const { annotations } = JSON.parse(readFileSync(await page.saved("json"), "utf-8"));
    const [facts, opaque] = await page.page.evaluate(async (bytes) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(bytes)]));
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d")!;
      canvas.drawImage(bitmap, 0, 0);
      const { data } = canvas.getImageData(0, 0, bitmap.width, bitmap.height);
      return [[bitmap.width, bitmap.height], data.filter((value, at) => at % 4 === 3 && value === 255).length] as const;
    }, [...cut]);
    expect(facts).toEqual(annotations[0].bbox.slice(2));
    expect(opaque).toBe(annotations[0].area);
    await page.close();
  });
});

describe("where something is wrong", () => {
  test("a file that is no photo, or half of one, is refused in Python's words, and the photo before it stays", async () => {
    const page = await ready();
    await page.look();
    const png = readFileSync(join(BUILD, "page-photo.png"));
    writeFileSync(join(scratch, "cut.png"), png.subarray(0, 60));
    writeFileSync(join(scratch, "empty.jpg"), "");
    for (const [file, shown, mend] of [
      [join(ROOT, "README.md"), "README.md", "not a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF photo; convert it to one"],
      [join(scratch, "empty.jpg"), "empty.jpg", "the file is empty; pass a photo"],
      [join(scratch, "cut.png"), "cut.png", "the photo is truncated or damaged ("],
    ] as const) {
      await page.page.setInputFiles("#file", file);
      const line = await page.status(shown);
      const python = pythonSays(file).replace(file, shown);
      expect(line.startsWith(`${shown}: ${mend}`), line).toBe(true);
      expect(python.startsWith(`${shown}: ${mend}`), python).toBe(true);
    }
    await page.click(0.5, 0.5);
    expect(await page.answers()).toEqual(["cat, 97 %"]);
    await page.close();
  });

  test("a bundle with one changed byte is refused, and names the file", async () => {
    const site = join(scratch, "changed");
    execFileSync(join(ROOT, ".venv", "bin", "samclip-edge"), ["web", "photo", "-o", site]);
    const file = join(site, "bundle", "mask_decoder.weights");
    const bytes = readFileSync(file);
    bytes[1000]! ^= 1;
    writeFileSync(file, bytes);
    const other = await serveAnyhow(site);
    const page = await open(browser, other.url);
    expect(await page.status(/sha256/)).toBe(`${other.url}bundle/mask_decoder.weights: its sha256 is not the manifest's; copy or export the bundle again`);
    await page.close();
    bytes[1000]! ^= 1;
    writeFileSync(file, bytes);
    const rivals = join(site, "bundle", "rivals.npy");
    writeFileSync(rivals, Buffer.from(readFileSync(rivals)).fill(1, 200, 201));
    const names = await open(browser, other.url);
    expect(await names.status(/sha256/)).toBe(`${other.url}bundle/rivals.npy: its sha256 is not the manifest's; copy or export the bundle again`);
    await names.close();
    rmSync(join(site, "engine"), { recursive: true });
    const bare = await open(browser, other.url);
    expect(await bare.status(/engine/)).toMatch(/^engine\/ort\.wasm\.min\.mjs: cannot be loaded \(.*\); write the site again$/);
    await bare.close();
    other.stop();
  });

  test("on an iPhone it runs on one thread, and takes no bundle that needs more than 512 MB", async () => {
    const page = await ready({ userAgent: IPHONE });
    expect(await page.text("where")).toMatch(/^Runs here, by wasm on 1 thread\./);
    await page.close();
    const site = join(scratch, "large");
    cpSync(join(BUILD, "large"), site, { recursive: true });
    execFileSync(join(ROOT, ".venv", "bin", "samclip-edge"), ["web", "photo", "-o", join(scratch, "small")]);
    for (const each of readdirSync(join(scratch, "small"))) {
      if (!existsSync(join(site, each))) cpSync(join(scratch, "small", each), join(site, each), { recursive: true });
    }
    const other = await serveAnyhow(site);
    const large = await open(browser, other.url, { userAgent: IPHONE });
    expect(await large.status(/MB/)).toMatch(/\/bundle: needs about \d+ MB of memory, more than the 512 MB that are allowed here; export a smaller model/);
    await large.close();
    other.stop();
  });
});

describe("where it runs", () => {
  test("without isolation on one thread, and it says why; files are kept in the browser's cache", async () => {
    const site = join(scratch, "plain");
    execFileSync(join(ROOT, ".venv", "bin", "samclip-edge"), ["web", "photo", "-o", site]);
    const other = await serveAnyhow(site);
    const page = await open(browser, other.url);
    await page.ready();
    expect(await page.text("where")).toBe("Runs here, by wasm on 1 thread, because this page is not isolated from others. No photo leaves this machine.");
    await page.look(CAT);
    const asked: string[] = [];
    page.page.on("request", (request) => asked.push(new URL(request.url()).pathname));
    await page.page.reload();
    await page.ready();
    expect(asked.filter((each) => each.startsWith("/bundle/"))).toEqual(["/bundle/manifest.json"]);
    await page.close();
    other.stop();
  });

  test("WebGPU, made of software, answers as wasm does", async () => {
    const gpu = await launch("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan", "--ignore-gpu-blocklist");
    const tiny = await serve(join(ROOT, "build", "vectors", "tiny-fp32"));
    const saved: any[] = [];
    for (const engine of ["webgpu", "wasm"]) {
      const page = await open(gpu, `${tiny.url}?engine=${engine}`);
      await page.ready();
      expect(await page.text("where")).toContain(engine === "wasm" ? "by wasm on" : "by WebGPU.");
      await page.look(join(BUILD, "page-tiny.png"));
      await page.click(0.5, 0.5);
      saved.push(JSON.parse(readFileSync(await page.saved("json"), "utf-8")));
      await page.close();
    }
    expect(saved[0].categories).toEqual(saved[1].categories);
    const [one, other] = saved.map(({ annotations }) => annotations[0]);
    expect(iou(one.segmentation, other.segmentation)).toBeGreaterThanOrEqual(0.995);
    expect(Math.abs(one.score - other.score)).toBeLessThanOrEqual(1e-3);
    tiny.stop();
    await gpu.close();
  });

  test("after fifty photos it takes no more memory than after ten", async () => {
    const page = await ready();
    const big = join(scratch, "big.png"); // 11 MB of pixels, which a page that keeps photos would keep fifty times
    execFileSync(join(ROOT, ".venv", "bin", "python"), ["-c", `from PIL import Image; Image.open(${JSON.stringify(CAT)}).resize((2200, 1650)).save(${JSON.stringify(big)})`]);
    const session = await browser.newBrowserCDPSession();
    const renderers = async (): Promise<number> => {
      const { processInfo } = await session.send("SystemInfo.getProcessInfo");
      const status = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => readFileSync(`/proc/${id}/status`, "utf-8"));
      return status.reduce((sum, each) => sum + Number(/VmRSS:\s+(\d+)/.exec(each)![1]) / 1000, 0); // MB
    };
    let after10 = 0;
    for (let k = 1; k <= 50; k++) {
      await page.look(k % 2 ? big : join(PHOTOS, "coffee.jpg"));
      await page.click(0.5, 0.5);
      if (k === 10) after10 = await renderers();
    }
    expect(await renderers()).toBeLessThan(after10 + 150);
    await page.close();
  });
});

/** The line in which Python refuses a photo. */
function pythonSays(file: string): string {
  const code = "import sys\nfrom samclip_edge.photo.read import read_photo\ntry: read_photo(sys.argv[1])\nexcept Exception as error: print(error)";
  return execFileSync(join(ROOT, ".venv", "bin", "python"), ["-c", code, file], { encoding: "utf-8" }).trim();
}
