/** Where the model runs: by which engine, on how many threads, in how much memory. */

/** What the worker is told. */
export interface Place {
  readonly engine: "webgpu" | "wasm";
  readonly threads: number;
  /** A bundle that needs more is refused; null: no limit but the browser's. */
  readonly mostBytes: number | null;
}

/** What the worker tells, beside its answers: how far a file has come, and how long a graph took. */
export type Report = { path: string; done: number; all: number } | { graph: string; ms: number };

const IPHONE_BYTES = 512_000_000; // of one page: iOS ends one that takes much more, and says nothing

/** An iPhone or iPad, which may call itself a Mac, but no Mac has a touch screen. */
function isIphone(): boolean {
  return /iPhone|iPad|iPod/.test(navigator.userAgent) || (/Mac/.test(navigator.userAgent) && navigator.maxTouchPoints > 1);
}

/** Whether threads may share memory, as wasm's do. */
function shares(): boolean {
  return crossOriginIsolated && typeof SharedArrayBuffer !== "undefined";
}

async function hasGpu(): Promise<boolean> {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return !!adapter && !(adapter.info?.isFallbackAdapter ?? (adapter as { isFallbackAdapter?: boolean }).isFallbackAdapter); // one made of software is slower than wasm
}

/** The place that fits this browser; `?engine=wasm` and `?threads=1` in the address choose another. */
export async function placeHere(): Promise<Place> {
  const asked = new URLSearchParams(location.search);
  const engine = asked.get("engine");
  const iphone = isIphone();
  const most = shares() && !iphone ? Math.min(navigator.hardwareConcurrency || 1, 4) : 1;
  const threads = Number(asked.get("threads")) || most;
  return {
    engine: engine === "wasm" || engine === "webgpu" ? engine : !iphone && (await hasGpu()) ? "webgpu" : "wasm",
    threads: Math.min(Math.max(Math.floor(threads), 1), most),
    mostBytes: iphone ? IPHONE_BYTES : null,
  };
}

/** A place in words. */
export function told({ engine, threads }: Place): string {
  if (engine === "webgpu") return "WebGPU";
  const apart = ", because this page is not isolated from others", alone = ", because this browser shares no memory between threads";
  const why = shares() ? "" : crossOriginIsolated ? alone : apart;
  return `wasm on ${threads} thread${threads === 1 ? "" : "s"}${threads === 1 ? why : ""}`;
}

const STAGES: Record<string, string> = {
  image_encoder: "image encoder",
  clip_image_encoder: "CLIP's image encoder",
  clip_head: "CLIP head",
  prompt_encoder: "prompt encoder",
  mask_decoder: "mask decoder",
  text_encoder: "text encoder",
};

/** How long each graph took in the last question. */
export class Times {
  private readonly spent = new Map<string, { ms: number; runs: number }>();

  add(graph: string, ms: number): void {
    const { ms: before, runs } = this.spent.get(graph) ?? { ms: 0, runs: 0 };
    this.spent.set(graph, { ms: before + ms, runs: runs + 1 });
  }

  clear(): void {
    this.spent.clear();
  }

  toString(): string {
    const told = ([graph, { ms, runs }]: [string, { ms: number; runs: number }]): string =>
      `${STAGES[graph] ?? graph} ${Math.round(ms)} ms${runs > 1 ? ` in ${runs} runs` : ""}`;
    return [...this.spent].map(told).join(", ");
  }
}
