/** The page in Chromium, as `samclip-edge web` serves it, or any web server. */

import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { expect } from "vitest";
import { BUILD, ROOT } from "../node.js";

const BIN = join(ROOT, ".venv", "bin");
export const PHOTOS = join(ROOT, "samclip_edge", "data", "photos");
export const CAT = join(PHOTOS, "chelsea.jpg");
const SHOTS = join(BUILD, "screenshots");

/** A server of a site, and its address. */
export interface Served {
  url: string;
  stop: () => void;
}

function said(process: ChildProcess, what: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let text = "";
    const read = (part: Buffer): void => {
      text += part.toString();
      const found = what.exec(text);
      if (found) resolve(found);
    };
    process.stdout!.on("data", read);
    process.stderr!.on("data", read);
    process.on("exit", () => reject(new Error(`the server ended: ${text}`)));
  });
}

async function started(command: string, given: string[], what: RegExp, url: (found: RegExpExecArray) => string): Promise<Served> {
  const process = spawn(command, given);
  return { url: url(await said(process, what)), stop: () => void process.kill() };
}

/** What `samclip-edge web --serve` serves. bundle: its folder, or `photo` or `tiny`. */
export function serve(bundle: string): Promise<Served> {
  const given = ["web", bundle, "--serve", "--port", "0", "--json"];
  return started(join(BIN, "samclip-edge"), given, /"url": "([^"]+)"/, (found) => found[1]!);
}

/** A folder behind a server that knows nothing of the headers that isolate a page. */
export function serveAnyhow(folder: string): Promise<Served> {
  const given = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", folder];
  return started(join(BIN, "python"), given, /port (\d+)/, (found) => `http://localhost:${found[1]}/`);
}

/** Chromium: `CHROME_PATH`, or Debian's. */
export function launch(...flags: string[]): Promise<Browser> {
  const paths = [process.env["CHROME_PATH"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const executablePath = paths.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error("CHROME_PATH: no Chromium here; `apt install chromium`, or name one");
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-background-networking", ...flags] });
}

/** A page that is open, and what one does with it. */
export class Opened {
  readonly faults: string[] = []; // errors of the page, requests to other hosts, and what its policy forbids

  constructor(readonly page: Page) {}

  async load(url: string): Promise<void> {
    this.page.on("pageerror", (error) => this.faults.push(error.message));
    this.page.on("console", (message) => {
      if (/Content.Security|Refused to/i.test(message.text())) this.faults.push(message.text());
    });
    this.page.on("request", (request) => {
      const other = !request.url().startsWith(new URL("/", url).href) && !/^(blob|data):/.test(request.url());
      if (other) this.faults.push(`asked for ${request.url()}`);
    });
    await this.page.goto(url);
  }

  /** What the line under the photo says, once it says something like `text`. */
  async status(text: RegExp | string): Promise<string> {
    const line = this.page.locator("#status").filter({ hasText: text });
    await line.waitFor({ timeout: 180_000 });
    return (await line.textContent())!;
  }

  ready(): Promise<string> {
    return this.status("Choose a photo, or drop one.");
  }

  text(id: string): Promise<string | null> {
    return this.page.locator(`#${id}`).textContent();
  }

  async look(photo: string = CAT): Promise<void> {
    await this.page.setInputFiles("#file", photo);
    await this.status(/^Looking at the photo: \d+ ms$/);
  }

  /** Where a point of the photo, given in parts of its sides, is on the screen. */
  async on(x: number, y: number): Promise<[number, number]> {
    const box = (await this.page.locator("#photo").boundingBox())!;
    return [box.x + x * box.width, box.y + y * box.height];
  }

  async click(x: number, y: number): Promise<void> {
    await this.page.mouse.click(...(await this.on(x, y)));
    await this.status(/^Segmenting: \d+ ms$/);
  }

  async find(words: string): Promise<string> {
    await this.page.fill("#words", words);
    await this.page.click("#find");
    return this.status(/^Finding words: \d+ ms/);
  }

  answers(): Promise<string[]> {
    return this.page.locator("#answers li").allTextContents();
  }

  /** What is saved by a button. */
  async saved(button: string): Promise<string> {
    const download = this.page.waitForEvent("download");
    await this.page.click(`#${button}`);
    return (await download).path();
  }

  async shot(name: string): Promise<void> {
    mkdirSync(SHOTS, { recursive: true });
    await this.page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
  }

  /** Close it; nothing went wrong on the way, and no other host was asked. */
  async close(): Promise<void> {
    await this.page.context().close();
    expect(this.faults).toEqual([]);
  }
}

/** A page of a browser, with a profile of its own. */
export async function open(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Opened> {
  const context = await browser.newContext({ viewport: { width: 1000, height: 900 }, ...options });
  const opened = new Opened(await context.newPage());
  await opened.load(url);
  return opened;
}
