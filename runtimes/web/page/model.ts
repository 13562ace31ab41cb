/** The model in a worker of its own. */

import { connect, type RemoteSamClip } from "../src/index.js";
import type { Place, Report } from "./place.js";

/** Open it, and the names that it offers. report: what the worker tells meanwhile, and later. Throws what loading throws. */
export async function load(place: Place, report: (told: Report) => void): Promise<{ model: RemoteSamClip; names: readonly string[] }> {
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }: MessageEvent<Report>) => report(data));
  try {
    const model = await connect(worker, place);
    return { model, names: await model.names() };
  } catch (error) {
    worker.terminate();
    throw error;
  }
}
