/** Runs graphs by ONNX Runtime's JavaScript API, which onnxruntime-web, -node and -react-native share. */

import { InputError, oneLine } from "../errors.js";
import type { Engine, Held, Tensor } from "../engine.js";

/** What of a package of ONNX Runtime is used: `import * as ort from "onnxruntime-web"`, or another of them. */
export interface Ort {
  readonly InferenceSession: { create(model: any, options?: Record<string, unknown>): Promise<OrtSession> };
  readonly Tensor: new (type: string, data: Float32Array | Int32Array, dims: readonly number[]) => OrtTensor;
}

interface OrtSession {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}

interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  getData(): Promise<unknown>;
  dispose(): void;
}

class OrtHeld implements Held {
  constructor(readonly own: OrtTensor) {}

  async read(): Promise<Tensor> {
    const data = (await this.own.getData()) as Float32Array | Int32Array;
    return { type: this.own.type as Tensor["type"], dims: this.own.dims, data };
  }

  dispose(): void {
    this.own.dispose();
  }
}

/**
 * options: of each session, as ONNX Runtime's `InferenceSession.SessionOptions` has them. byAddress: open graphs by the addresses
 * that the platform reads them from, paths of files, and not by their bytes; onnxruntime-react-native takes weights in no other
 * way (1.24, `cpp/InferenceSessionHostObject.cpp`).
 */
export function onnxRuntime(ort: Ort, options: Record<string, unknown> = {}, byAddress = false): Engine {
  // One call at a time, of all sessions together: with WebGPU two at once spoil each other's memory.
  let turn: Promise<unknown> = Promise.resolve();
  function inTurn<T>(call: () => Promise<T>): Promise<T> {
    const called = turn.then(call);
    turn = called.catch(() => undefined);
    return called;
  }
  return {
    async open({ address, graph, weights }) {
      const made = {
        logSeverityLevel: 3,
        ...options,
        // Some builds take no empty file.
        ...(byAddress ? {} : { externalData: weights.map(({ path, data }) => ({ path, data: data.length ? data : new Uint8Array(1) })) }),
        // Pairs of QuantizeLinear and DequantizeLinear are for TensorRT; here they run as the graph says.
        extra: { session: { disable_quant_qdq: "1" } },
      };
      const session = await inTurn(() => ort.InferenceSession.create(byAddress ? address : graph, made)).catch((error: Error) => {
        if (!/no available backend/.test(error.message)) throw error;
        throw new InputError(`engine: ONNX Runtime does not start (${oneLine(error)}); see that its files lie where it looks for them`);
      });
      return {
        async run(inputs) {
          const feeds = Object.fromEntries(
            Object.entries(inputs).map(([name, each]) => [
              name,
              each instanceof OrtHeld ? each.own : new ort.Tensor((each as Tensor).type, (each as Tensor).data, (each as Tensor).dims),
            ]),
          );
          const said = await inTurn(() => session.run(feeds));
          return Object.fromEntries(Object.entries(said).map(([name, each]) => [name, new OrtHeld(each)]));
        },
        close: () => inTurn(() => session.release()),
      };
    },
  };
}
