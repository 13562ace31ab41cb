/** The worker of the page: ONNX Runtime's wasm, and the model that it runs. */

import * as ort from "onnxruntime-web/wasm";
import { browser, onnxRuntime, SamClip, serve, type Port } from "../src/index.js";

const port: Port = {
  postMessage: (message) => self.postMessage(message),
  onmessage: null,
};
self.onmessage = (event) => port.onmessage?.(event);

ort.env.wasm.wasmPaths = new URL("engine/", import.meta.url).href;
serve(port, (threads: number) => {
  ort.env.wasm.numThreads = threads;
  return SamClip.load({ shown: "bundle", engine: onnxRuntime(ort), platform: browser(new URL("bundle", import.meta.url)) });
});
