/** The page in WebKit, by the driver that Debian has for it (WebDriver, W3C): the engine of Safari, on Linux. */

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CAT, serve, type Served } from "./browser.js";

const PORT = 20_000 + (process.pid % 20_000);
const ELEMENT = "element-6066-11e4-a52e-4f735466cecf"; // under which WebDriver answers with an element
const home = mkdtempSync(join(tmpdir(), "samclip-webkit-"));
// WebKit's port for GTK has threads only where this is set; elsewhere the page runs on one, and says so.
const env: NodeJS.ProcessEnv = { ...process.env, HOME: home, XDG_RUNTIME_DIR: home, XDG_CACHE_HOME: home, XDG_DATA_HOME: home, JSC_useSharedArrayBuffer: "0" };
const started: ChildProcess[] = [];
let session = "";
let served: Served;

async function call(method: string, path: string, body: object = {}): Promise<any> {
  const url = `http://127.0.0.1:${PORT}${session && `/session/${session}`}${path}`;
  const answer = await fetch(url, { method, ...(method === "POST" ? { body: JSON.stringify(body) } : {}) });
  const { value } = (await answer.json()) as { value: any };
  if (value?.error) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`);
  return value;
}

function start(command: string, given: string[]): ChildProcess {
  const process = spawn(command, given, { env, stdio: ["ignore", "pipe", "inherit"], detached: true });
  started.push(process);
  return process;
}

const run = (script: string): Promise<any> => call("POST", "/execute/sync", { script, args: [] });
const element = async (css: string): Promise<string> => (await call("POST", "/element", { using: "css selector", value: css }))[ELEMENT];
const click = async (css: string): Promise<void> => call("POST", `/element/${await element(css)}/click`);
const type = async (css: string, text: string): Promise<void> => call("POST", `/element/${await element(css)}/value`, { text });
const answers = (): Promise<string[]> => run("return [...document.querySelectorAll('#answers li')].map((each) => each.textContent)");

/** What the line under the photo says, once it is like `wanted`. */
async function status(wanted: RegExp): Promise<string> {
  for (let tries = 0; ; tries++) {
    const text: string = await run("return document.getElementById('status').textContent");
    if (wanted.test(text)) return text;
    if (tries === 600 || (await run("return document.querySelector('#status.wrong') !== null"))) throw new Error(`the page says "${text}"`);
    await sleep(200);
  }
}

beforeAll(async () => {
  served = await serve("photo");
  const display = start("Xvfb", ["-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp"]);
  env["DISPLAY"] = `:${await new Promise<string>((resolve) => display.stdout!.once("data", (told) => resolve(String(told).trim())))}`;
  start("WebKitWebDriver", [`--port=${PORT}`]);
  for (let tries = 0; ; tries++) {
    try {
      await call("GET", "/status");
      break;
    } catch (error) {
      if (tries === 50) throw error;
      await sleep(200);
    }
  }
  session = (await call("POST", "/session", { capabilities: {} })).sessionId;
  await call("POST", "/url", { url: served.url });
});

afterAll(async () => {
  await call("DELETE", "").catch(() => undefined);
  for (const { pid } of started.reverse()) process.kill(-pid!, "SIGKILL");
  served.stop();
  rmSync(home, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
});

test("a photo, a click, words of which one is absent, and everything", async () => {
  await status(/^Choose a photo, or drop one\.$/);
  expect(await run("return document.getElementById('where').textContent")).toBe(
    "Runs here, by wasm on 1 thread, because this browser shares no memory between threads. No photo leaves this machine.",
  );
  await type("#file", CAT);
  await status(/^Looking at the photo: \d+ ms$/);
  await click("#photo");
  await status(/^Segmenting: \d+ ms$/);
  expect(await answers()).toEqual(["cat, 97 %"]);
  await type("#words", "cat, zebra");
  await click("#find");
  expect(await status(/^Finding words: \d+ ms/)).toMatch(/Not in this photo: zebra$/);
  expect(await answers()).toEqual([expect.stringMatching(/^cat, 9\d %$/)]);
  await click("#everything");
  await status(/^Naming everything: \d+ ms$/);
  expect((await answers())[0]).toMatch(/^cat, 9\d %$/);
});
