/** Runs graphs by ONNX Runtime's JavaScript API, which onnxruntime-web, -node and -react-native share. */

import type { Engine, Held, Tensor } from "../engine.js";

/** What of a package of ONNX Runtime is used: `import * as ort from "onnxruntime-web"`, or another of them. */
export interface Ort {
  readonly InferenceSession: { create(model: Uint8Array, options?: Record<string, unknown>): Promise<OrtSession> };
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

/** options: of each session, as ONNX Runtime's `InferenceSession.SessionOptions` has them. */
export function onnxRuntime(ort: Ort, options: Record<string, unknown> = {}): Engine {
  return {
    async open({ graph, weights }) {
      const session = await ort.InferenceSession.create(graph, {
        logSeverityLevel: 3,
        ...options,
        // Some builds take no empty file.
        externalData: weights.map(({ path, data }) => ({ path, data: data.length ? data : new Uint8Array(1) })),
        // Pairs of QuantizeLinear and DequantizeLinear are for TensorRT; here they run as the graph says.
        extra: { session: { disable_quant_qdq: "1" } },
      });
      // A session runs one question at a time.
      let turn: Promise<unknown> = Promise.resolve();
      return {
        run(inputs) {
          const feeds = Object.fromEntries(
            Object.entries(inputs).map(([name, each]) => [
              name,
              each instanceof OrtHeld ? each.own : new ort.Tensor((each as Tensor).type, (each as Tensor).data, (each as Tensor).dims),
            ]),
          );
          const ran = turn.then(() => session.run(feeds));
          turn = ran.catch(() => undefined);
          return ran.then((said) => Object.fromEntries(Object.entries(said).map(([name, each]) => [name, new OrtHeld(each)])));
        },
        close: () => session.release(),
      };
    },
  };
}
