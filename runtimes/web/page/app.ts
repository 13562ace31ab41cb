/** The page: photos in, questions to the worker, answers drawn and listed. */

import { connect, decoded, type Mask, type RemoteSamClip, type RemoteScene } from "../src/index.js";
import { Camera } from "./camera.js";
import { coco, colour, cutOut, Picture } from "./picture.js";
import { placeHere, Times, told, type Place, type Report } from "./place.js";

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const [stage, status, answers] = [element("stage"), element("status"), element("answers")];
const [words, stop] = [element<HTMLInputElement>("words"), element<HTMLButtonElement>("stop")];
const picture = new Picture(element<HTMLCanvasElement>("photo"));
const camera = new Camera(element<HTMLVideoElement>("video"));
const times = new Times();
const buttons = ["find", "everything", "undo", "cutout", "json"].map((id) => element<HTMLButtonElement>(id));

interface Shown {
  scene: RemoteScene;
  photo: ImageBitmap;
  name: string;
  history: Mask[][]; // what was shown, the last is shown now
  hover: Mask | null;
  box: [number, number, number, number] | null;
  mark: [number, number] | null;
}

let model: RemoteSamClip | null = null;
let names: string[] = []; // that are offered before a person types
let shown: Shown | null = null;
let busy: AbortController | null = null;

function say(text: string, wrong = false): void {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

function refresh(): void {
  const masks = shown?.history.at(-1) ?? [];
  if (shown) picture.draw(shown.photo, masks, shown.hover, shown.box, shown.mark);
  const enabled: Record<string, boolean> = { find: true, everything: true, undo: (shown?.history.length ?? 0) > 1, cutout: masks.length > 0, json: masks.length > 0 };
  for (const button of buttons) button.disabled = !shown || busy !== null || !enabled[button.id];
  stop.hidden = busy === null;
  answers.replaceChildren(
    ...masks.map((mask, k) => {
      const item = document.createElement("li");
      item.style.setProperty("--colour", colour(k));
      item.textContent = mask.label === null ? "none of the names" : `${mask.label}, ${Math.round(100 * mask.score!)} %`;
      return item;
    }),
  );
}

/** Ask the worker; say what is going on, how long it took, and what went wrong. One question at a time. */
async function asking<T>(what: string, ask: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
  if (busy) return undefined;
  busy = new AbortController();
  say(`${what} …`);
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
  }
}

const asked = (): string[] => words.value.split(",").map((each) => each.trim()).filter(Boolean);

function keep(masks: Mask[]): void {
  shown!.history.push(masks);
  shown!.hover = null;
  refresh();
}

/** Look at a photo. decode: makes it, of a file or of what the camera sees. */
async function open(name: string, decode: () => Promise<ImageBitmap>): Promise<void> {
  if (!model) return;
  const opened = model;
  const made = await asking("Looking at the photo", async () => {
    const photo = await decode();
    return { photo, scene: await opened.look(photo) };
  });
  if (!made) return;
  void shown?.scene.dispose();
  shown?.photo.close();
  shown = { ...made, name, history: [[]], hover: null, box: null, mark: null };
  stage.classList.add("full");
  refresh();
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
  const wanted = asked();
  if (!wanted.length) return say("Words: type at least one.", true);
  const masks = shown && (await asking("Finding words", (signal) => shown!.scene.find(wanted, { signal })));
  if (!masks) return;
  keep(masks);
  const absent = wanted.filter((name) => !masks.some((mask) => mask.label === name));
  if (absent.length) say(`${status.textContent}. Not in this photo: ${absent.join(", ")}`);
});

element("everything").addEventListener("click", async () => {
  const labels = asked().length ? asked() : names;
  const progress = (done: number, all: number): void => say(`Naming everything: ${Math.round((100 * done) / all)} %`);
  const settings = { pointsPerSide: 16, predictedIou: 0.6, stability: 0.7 };
  const how = labels.length ? { labels, settings, progress } : { settings, progress };
  const masks = await asking("Naming everything", (signal) => shown!.scene.everything({ ...how, signal }));
  if (masks) keep(masks);
});

element("undo").addEventListener("click", () => {
  shown!.history.pop();
  say("");
  refresh();
});
stop.addEventListener("click", () => busy?.abort());
element("cutout").addEventListener("click", async () => save(await cutOut(shown!.photo, shown!.history.at(-1)!), "cut-out.png"));
element("json").addEventListener("click", () => save(coco(shown!.photo, shown!.history.at(-1)!, shown!.name), "masks.json"));

function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  say(`Saved as ${name}.`);
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

let pressed: [number, number] | null = null;
picture.canvas.addEventListener("pointerdown", (event) => {
  pressed = picture.at(event);
  picture.canvas.setPointerCapture(event.pointerId); // a box may be drawn beyond the photo's edge
});
picture.canvas.addEventListener("pointermove", (event) => {
  if (!shown) return;
  const [x, y] = picture.at(event);
  if (pressed) {
    const [px, py] = pressed;
    const far = Math.hypot(x - px, y - py) > shown.scene.width / 50;
    shown.box = far ? [Math.min(x, px), Math.min(y, py), Math.max(x, px), Math.max(y, py)] : null;
    refresh();
  } else if (event.pointerType === "mouse") {
    void hover(x, y);
  }
});
picture.canvas.addEventListener("pointerup", (event) => {
  if (!shown || !pressed) return;
  const box = shown.box;
  pressed = shown.box = null;
  if (box && box[2] > box[0] && box[3] > box[1]) void point({ boxes: box });
  else void point({ points: [picture.at(event)] });
});
for (const kind of ["pointerleave", "pointercancel"]) {
  picture.canvas.addEventListener(kind, () => { // cancelled: the finger scrolls the page
    pressed = null;
    if (shown) shown.hover = shown.box = null;
    refresh();
  });
}

let hovering = false;
async function hover(x: number, y: number): Promise<void> {
  if (hovering || busy || !shown) return;
  hovering = true;
  const { scene } = shown;
  const [mask] = await scene.segment({ points: [[x, y]] }).catch(() => []);
  hovering = false;
  if (shown?.scene !== scene || busy) return;
  shown.hover = mask ?? null;
  refresh();
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
  (event.target as HTMLInputElement).value = ""; // so that the same photo can be chosen again
  if (file) void open(file.name, () => decoded(file));
});
for (const kind of ["dragover", "dragleave", "drop"] as const) {
  stage.addEventListener(kind, (event) => {
    event.preventDefault();
    stage.classList.toggle("over", kind === "dragover");
    const file = kind === "drop" ? event.dataTransfer?.files[0] : undefined;
    if (file) void open(file.name, () => decoded(file));
  });
}

function showCamera(open: boolean): void {
  element("video").hidden = element("close").hidden = !open;
  element("camera").textContent = open ? "Take the photo" : "Use the camera";
  stage.classList.toggle("camera", open);
}
element("camera").addEventListener("click", async () => {
  if (camera.open) {
    await open("camera.jpg", () => camera.take());
  } else {
    say("Opening the camera …");
    await camera.start().then(() => say("The camera is open."), (error: Error) => say(error.message, true));
  }
  showCamera(camera.open);
});
element("close").addEventListener("click", () => {
  camera.stop();
  say("");
  showCamera(false);
});

/** The model in a worker of its own. Throws what loading throws. */
async function load(place: Place): Promise<RemoteSamClip> {
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }: MessageEvent<Report>) => {
    if ("graph" in data) times.add(data.graph, data.ms);
    else if ("path" in data) say(`Loading the model … ${data.path}, ${(data.done / 1e6).toFixed(1)} of ${(data.all / 1e6).toFixed(1)} MB`);
  });
  try {
    return await connect(worker, place);
  } catch (error) {
    worker.terminate();
    throw error;
  }
}

async function start(): Promise<void> {
  refresh();
  let place = await placeHere();
  let why = "";
  model = (await asking("Loading the model", () =>
    load(place).catch((error: Error) => {
      if (place.engine === "wasm") throw error;
      why = ` WebGPU was tried first: ${error.message}`;
      place = { ...place, engine: "wasm" };
      return load(place);
    }),
  )) ?? null;
  element("where").textContent = `Runs here, by ${told(place)}. No photo leaves this machine.${why}`;
  if (!model) return;
  names = await model.names();
  words.placeholder = names.slice(0, 3).join(", ");
  element("names").textContent = names.join(", ");
  element("offered").hidden = !names.length;
  say("Choose a photo, or drop one.");
}
void start();
