/**
 * How long the page takes beside Python, in one run: `node tools/measure.mjs ROUNDS BUNDLE ...`, after `make test-web`.
 *
 * Each round asks the same photo the same questions in fresh processes: Python and the page, by one thread and by two, in
 * turn. The table has the medians, in ms. What is asked before, so that names are known, is not in it.
 */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const BIN = join(ROOT, ".venv", "bin");
const PHOTO = join(ROOT, "samclip_edge", "data", "photos", "chelsea.jpg");
const NAMES = "cat, dog, cup";
const COLUMNS = ["load", "look", "click and name", "words to masks", "everything", "peak MB"];

const PYTHON = `
import json, sys, time
began = time.perf_counter()
from samclip_edge import SamClip
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.cli.loading import bundle_of
from samclip_edge.tasks.everything import Settings
from pathlib import Path
bundle, photo, names, threads = sys.argv[1], sys.argv[2], sys.argv[3].split(", "), int(sys.argv[4])
model = SamClip(bundle_of(Path(bundle)), SessionOptions(threads))
model.prepare()
times = [time.perf_counter() - began]
def timed(ask):
    began = time.perf_counter()
    answer = ask()
    times.append(time.perf_counter() - began)
    return answer
model.embed_text(["cat"])
scene = model.look(photo)
height, width = scene.pixels.shape[:2]
click = lambda: scene.name(scene.segment(points=[[width / 2, height / 2]]), names)
click()  # the names are known from here on
scene = timed(lambda: model.look(photo))
timed(click)
timed(lambda: scene.find(names))
timed(lambda: scene.everything(names, Settings(points_per_side=16, predicted_iou=0.6, stability=0.7)))
status = Path("/proc/self/status").read_text()
print(json.dumps([*(1000 * each for each in times), int(status.split("VmHWM:")[1].split()[0]) / 1000]))
`;

function python(bundle, threads) {
  return JSON.parse(execFileSync(join(BIN, "python"), ["-c", PYTHON, bundle, PHOTO, NAMES, String(threads)], { encoding: "utf-8" }));
}

async function served(bundle) {
  const server = spawn(join(BIN, "samclip-edge"), ["web", bundle, "--serve", "--port", "0", "--json"], { stdio: ["ignore", "pipe", "inherit"] });
  for await (const part of server.stdout) return { url: JSON.parse(String(part)).url, stop: () => server.kill("SIGINT") };
  throw new Error("the server ended");
}

async function page(url, threads) {
  const path = [process.env.CHROME_PATH, "/usr/bin/chromium", "/usr/bin/google-chrome"].find((each) => each && existsSync(each));
  const browser = await chromium.launch({ executablePath: path, args: ["--no-sandbox", "--disable-background-networking"] });
  const tab = await browser.newPage({ hasTouch: true, viewport: { width: 1000, height: 900 } });
  tab.setDefaultTimeout(1_800_000);
  const status = async (what) => {
    const line = tab.locator("#status").filter({ hasText: new RegExp(`^${what}: \\d+ ms`) });
    await line.waitFor();
    return Number(/: (\d+) ms/.exec(await line.textContent())[1]);
  };
  const began = performance.now();
  await tab.goto(`${url}?engine=wasm&threads=${threads}`);
  await tab.getByText("Choose a photo, or drop one.").waitFor();
  const times = [performance.now() - began];
  const look = async () => {
    await tab.setInputFiles("#file", PHOTO);
    return status("Looking at the photo");
  };
  const click = async () => {
    await tab.evaluate(() => (document.getElementById("status").textContent = ""));
    await tab.locator("#photo").tap(); // a mouse would ask what is under it first
    return status("Segmenting");
  };
  await look();
  await tab.fill("#words", NAMES);
  await click();
  times.push(await look(), await click());
  await tab.click("#find");
  times.push(await status("Finding words"));
  await tab.click("#everything");
  times.push(await status("Naming everything"));
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  const peaks = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, "utf-8"))[1] / 1000);
  await browser.close();
  return [...times, Math.max(...peaks)];
}

const [rounds, ...bundles] = process.argv.slice(2);
console.log(`${cpus()[0].model}, ${cpus().length} cores, ${/avx512_vnni/.test(readFileSync("/proc/cpuinfo", "utf-8")) ? "AVX-512 VNNI" : "no AVX-512 VNNI"}\n`);
console.log(`| bundle | runtime | ${COLUMNS.join(" | ")} |\n|---|---|${COLUMNS.map(() => "---:|").join("")}`);
for (const bundle of bundles) {
  const { url, stop } = await served(bundle);
  const found = new Map();
  for (let round = 0; round < Number(rounds); round++) {
    for (const threads of [1, 2]) {
      for (const [name, measured] of [[`Python, ${threads} thread(s)`, () => python(bundle, threads)], [`wasm, ${threads} thread(s)`, () => page(url, threads)]]) {
        found.set(name, [...(found.get(name) ?? []), await measured()]);
      }
    }
  }
  stop();
  for (const [name, runs] of found) {
    const median = COLUMNS.map((_, k) => runs.map((run) => run[k]).sort((a, b) => a - b)[Math.floor(runs.length / 2)]);
    console.log(`| ${bundle.split("/").at(-1)} | ${name} | ${median.map((each) => Math.round(each)).join(" | ")} |`);
  }
}
