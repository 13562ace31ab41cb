/** The page: photos in, questions to the worker, answers drawn and listed. */

import type { Mask, RemoteSamClip, RemoteScene } from "../src/index.js";
import { Camera } from "./camera.js";
import { load } from "./model.js";
import { coco, colour, cutOut, Picture, preview } from "./picture.js";
import { placeHere, Times, told, type Report } from "./place.js";

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const [stage, status, answers] = [element("stage"), element("status"), element("answers")];
const [words, stop] = [element<HTMLInputElement>("words"), element<HTMLButtonElement>("stop")];
const picture = new Picture(element<HTMLCanvasElement>("photo"));
const camera = new Camera(element<HTMLVideoElement>("video"));
const times = new Times();
const buttons = ["find", "everything", "undo", "cutout", "json"].map((id) => element<HTMLButtonElement>(id));

type Photo = Blob | ImageBitmap;
interface Shown {
  scene: RemoteScene;
  photo: Photo;
  drawn: ImageBitmap;
  name: string;
  history: Mask[][]; // what was shown, the last is shown now
  hover: Mask | null;
  box: [number, number, number, number] | null;
  mark: [number, number] | null;
}

let model: RemoteSamClip | null = null;
let names: readonly string[] = []; // that are offered before a person types
let shown: Shown | null = null;
let busy: AbortController | null = null;
let stoppable = false;
let wanted: [string, Photo] | null = null; // a photo that was chosen while something else was going on

function say(text: string, wrong = false): void {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

function refresh(): void {
  const masks = shown?.history.at(-1) ?? [];
  if (shown) picture.draw(shown.drawn, shown.scene.width, masks, shown.hover, shown.box, shown.mark);
  const enabled: Record<string, boolean> = { find: true, everything: true, undo: (shown?.history.length ?? 0) > 1, cutout: masks.some((mask) => mask.area > 0), json: masks.length > 0 };
  for (const button of buttons) button.disabled = !shown || busy !== null || !enabled[button.id];
  stop.hidden = busy === null || !stoppable;
}

function list(): void {
  const masks = shown?.history.at(-1) ?? [];
  answers.replaceChildren(
    ...masks.map((mask, k) => {
      const item = document.createElement("li");
      item.style.setProperty("--colour", colour(k));
      item.textContent = mask.label === null ? "none of the names" : `${mask.label}, ${Math.round(100 * mask.score!)} %`;
      return item;
    }),
  );
}

/**
 * Ask the worker; say what is going on, how long it took, and what went wrong. One question at a time. An `ask` that takes the
 * signal can be stopped.
 */
async function asking<T>(what: string, ask: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
  if (busy) return undefined;
  busy = new AbortController();
  stoppable = ask.length > 0;
  say(`${what} …`);
  await hovering;
  times.clear();
  refresh();
  const began = performance.now();
  try {
    const answer = await ask(busy.signal);
    say(`${what}: ${Math.round(performance.now() - began)} ms`);
    return answer;
  } catch (error) {
    const stopped = busy.signal.aborted;
    say(stopped ? `${what}: stopped` : (error as Error).message, !stopped);
    return undefined;
  } finally {
    busy = null;
    refresh();
    element("times").textContent = String(times);
    setTimeout(next);
  }
}

/** Open the photo that was chosen meanwhile. */
function next(): void {
  const chosen = wanted;
  wanted = null;
  if (chosen) void open(...chosen);
}

function asked(): string[] {
  const all = words.value.split(",").map((each) => each.trim()).filter(Boolean);
  return all.filter((each, k) => all.findIndex((other) => same(other, each)) === k);
}

/** Whether two words are one name to the model. */
function same(one: string, other: string): boolean {
  const plain = (text: string): string => text.toLowerCase().replace(/\s+/g, " ");
  return plain(one) === plain(other);
}

function keep(masks: Mask[]): void {
  shown!.history.push(masks);
  shown!.hover = null;
  refresh();
  list();
}

/** Look at a photo; one that is chosen while something is going on has its turn after that, or ends it. */
async function open(name: string, photo: Photo): Promise<void> {
  closeCamera();
  if (!model || busy) {
    wanted = [name, photo];
    if (stoppable) busy?.abort();
    return;
  }
  const opened = model;
  const made = await asking("Looking at the photo", async () => {
    const scene = await opened.look(photo);
    return { scene, photo, drawn: await preview(photo, scene.height, scene.width) };
  });
  if (!made) return;
  void shown?.scene.dispose();
  shown?.drawn.close();
  shown = { ...made, name, history: [[]], hover: null, box: null, mark: null };
  stage.classList.add("full");
  refresh();
  list();
}

/** The thing under a click, or in a box, with its name. */
async function point(pointing: Parameters<RemoteScene["segment"]>[0]): Promise<void> {
  const { scene, history } = shown!;
  const masks = await asking("Segmenting", async (signal) => {
    const found = await scene.segment(pointing, { signal });
    const offered = asked().length ? asked() : names;
    return offered.length ? scene.name(found, offered, { signal }) : found;
  });
  if (masks) keep([...history.at(-1)!, ...masks]);
}

element<HTMLFormElement>("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const labels = asked();
  if (!labels.length) return say("Words: type at least one.", true);
  if (!shown) return;
  const { scene } = shown;
  // A bundle of fixed shapes takes prompts of so many points only, the one that follows clicks counted.
  const how = model?.points ? { points: Math.min(Math.max(model.points - 1, 1), 3) } : {};
  const masks = await asking("Finding words", (signal) => scene.find(labels, { signal, ...how }));
  if (!masks) return;
  keep(masks);
  const absent = labels.filter((label) => !masks.some((mask) => same(mask.label ?? "", label)));
  if (absent.length) say(`${status.textContent}. Not in this photo: ${absent.join(", ")}`);
});

element("everything").addEventListener("click", async () => {
  const { scene } = shown!;
  const labels = asked().length ? asked() : names;
  const progress = (done: number, all: number): void => say(`Naming everything: ${Math.round((100 * done) / all)} %`);
  const settings = { pointsPerSide: 16, predictedIou: 0.6, stability: 0.7 };
  const how = labels.length ? { labels, settings, progress } : { settings, progress };
  const masks = await asking("Naming everything", (signal) => scene.everything({ ...how, signal }));
  if (masks) keep(masks);
});

element("undo").addEventListener("click", () => {
  shown!.history.pop();
  say("");
  refresh();
  list();
});
stop.addEventListener("click", () => busy?.abort());
element("cutout").addEventListener("click", async () => save(await cutOut(shown!.photo, shown!.history.at(-1)!), "cut-out.png"));
element("json").addEventListener("click", () => {
  const { name, scene, history } = shown!;
  save(coco(name, scene.height, scene.width, history.at(-1)!), "masks.json");
});

function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  say(`Saved as ${name}.`);
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

let pressed: [number, number] | null = null;
const place = (event: PointerEvent): [number, number] => picture.at(event, shown!.scene.height, shown!.scene.width);
picture.canvas.addEventListener("pointerdown", (event) => {
  if (!shown || event.button !== 0) return;
  pressed = place(event);
  picture.canvas.setPointerCapture(event.pointerId); // a box may be drawn beyond the photo's edge
});
picture.canvas.addEventListener("pointermove", (event) => {
  if (!shown) return;
  const [x, y] = place(event);
  if (pressed) {
    const [px, py] = pressed;
    const far = Math.hypot(x - px, y - py) > shown.scene.width / 50;
    shown.box = far ? [Math.min(x, px), Math.min(y, py), Math.max(x, px), Math.max(y, py)] : null;
    refresh();
  } else if (event.pointerType === "mouse") {
    over = [x, y];
    void hover();
  }
});
picture.canvas.addEventListener("pointerup", (event) => {
  if (!shown || !pressed) return;
  const box = shown.box;
  pressed = shown.box = null;
  if (box && box[2] > box[0] && box[3] > box[1]) void point({ boxes: box });
  else void point({ points: [place(event)] });
});
for (const kind of ["pointerleave", "pointercancel"]) {
  picture.canvas.addEventListener(kind, () => { // cancelled: the finger scrolls the page
    pressed = over = null;
    if (shown) shown.hover = shown.box = null;
    refresh();
  });
}

let over: [number, number] | null = null; // where the mouse is
let hovering: Promise<void> | null = null;
/** Show what the mouse is over, again and again until it stays where it is. */
function hover(): Promise<void> | null {
  return (hovering ??= (async () => {
    for (let at: typeof over = null; over && at !== over && shown && !busy; ) {
      at = over;
      const { scene } = shown;
      const [mask] = await scene.segment({ points: [at] }).catch(() => []);
      if (shown?.scene === scene && over && !busy) shown.hover = mask ?? null;
      refresh();
    }
    hovering = null;
  })());
}

picture.canvas.addEventListener("keydown", (event) => {
  if (!shown) return;
  const { width, height } = shown.scene;
  const steps: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const step = steps[event.key];
  if (step) {
    const [x, y] = shown.mark ?? [width / 2, height / 2];
    shown.mark = [Math.min(Math.max(x + (step[0] * width) / 40, 0), width), Math.min(Math.max(y + (step[1] * height) / 40, 0), height)];
  } else if ((event.key === "Enter" || event.key === " ") && shown.mark) {
    void point({ points: [shown.mark] });
  } else return;
  event.preventDefault();
  refresh();
});

element<HTMLInputElement>("file").addEventListener("change", (event) => {
  const [file] = (event.target as HTMLInputElement).files ?? [];
  if (file) void open(file.name, file);
  (event.target as HTMLInputElement).value = ""; // so that the same photo can be chosen again
});
for (const kind of ["dragover", "dragleave", "drop"] as const) {
  addEventListener(kind, (event) => { // anywhere: else the browser leaves the page for the photo
    event.preventDefault();
    stage.classList.toggle("over", kind === "dragover");
    const file = kind === "drop" ? event.dataTransfer?.files[0] : undefined;
    if (file) void open(file.name, file);
  });
}

const cameraButton = element<HTMLButtonElement>("camera");
function showCamera(): void {
  element("video").hidden = element("close").hidden = !camera.open;
  cameraButton.textContent = camera.open ? "Take the photo" : "Use the camera";
  stage.classList.toggle("camera", camera.open);
}
function closeCamera(): void {
  camera.stop();
  showCamera();
}
cameraButton.addEventListener("click", async () => {
  if (camera.open) return open("camera.jpg", await camera.take());
  cameraButton.disabled = true; // one camera is enough
  say("Opening the camera …");
  await camera.start().then(() => say("The camera is open."), (error: Error) => say(error.message, true));
  cameraButton.disabled = false;
  showCamera();
});
element("close").addEventListener("click", () => {
  closeCamera();
  say("");
});

function report(data: Report): void {
  if ("graph" in data) times.add(data.graph, data.ms);
  else if ("path" in data) say(`Loading the model … ${data.path}, ${(data.done / 1e6).toFixed(1)} of ${(data.all / 1e6).toFixed(1)} MB`);
}

async function start(): Promise<void> {
  refresh();
  let place = await placeHere();
  let why = "";
  const opened = await asking("Loading the model", () =>
    load(place, report).catch((error: Error) => {
      if (place.engine === "wasm") throw error;
      why = ` WebGPU was tried first: ${error.message}`;
      place = { ...place, engine: "wasm" };
      return load(place, report);
    }),
  );
  element("where").textContent = `Runs here, by ${told(place)}. No photo leaves this machine.${why}`;
  if (!opened) return;
  ({ model, names } = opened);
  words.placeholder = names.slice(0, 3).join(", ");
  element("names").textContent = names.join(", ");
  element("offered").hidden = !names.length;
  say("Choose a photo, or drop one.");
  next();
}
void start();
