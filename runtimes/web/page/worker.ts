/** The worker of the page: ONNX Runtime as it lies in `engine/`, and the model that it runs. */

import { browser, onnxRuntime, SamClip, serve, type Engine, type Ort, type Port } from "../src/index.js";
import type { Place, Report } from "./place.js";

type OrtModule = Ort & { env: { wasm: { wasmPaths: string; numThreads: number } } };

const report = (told: Report): void => self.postMessage(told);

/** An engine that tells how long each graph takes. */
function timed(engine: Engine): Engine {
  return {
    async open(files) {
      const session = await engine.open(files);
      return {
        async run(inputs) {
          const began = performance.now();
          const said = await session.run(inputs);
          report({ graph: files.name, ms: performance.now() - began });
          return said;
        },
        close: () => session.close(),
      };
    },
  };
}

serve(self as Port, async ({ engine, threads, mostBytes }: Place) => {
  const folder = new URL("engine/", import.meta.url).href;
  const file = `ort.${engine}.min.mjs`;
  const ort = (await import(folder + file).catch((error: Error) => {
    throw new Error(`engine/${file}: cannot be loaded (${error.message}); write the site again`);
  })) as OrtModule;
  ort.env.wasm.wasmPaths = folder;
  ort.env.wasm.numThreads = threads;
  const model = await SamClip.load(new URL("bundle", import.meta.url), {
    engine: timed(onnxRuntime(ort, { executionProviders: [engine] })),
    platform: browser(),
    progress: (path, done, all) => report({ path, done, all }),
    ...(mostBytes === null ? {} : { mostBytes }),
  });
  await model.prepare();
  return model;
});
