import type * as tfjs from "@tensorflow/tfjs";
import { DiffusionError } from "../errors.js";
import type { Values } from "../latents/latents.js";
import { type Fields, listFields, mapFields } from "../models/fields.js";
import type { Network } from "../models/network.js";
import { Module } from "../nn/module.js";
import { eagerOps } from "../ops/eager.js";
import { defaultView, toTensorFlow, viewShape } from "../ops/layout.js";
import type { Tensor } from "../ops/ops.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import { float16ToFloat32, float32ToFloat16 } from "../weights/formats/float16.js";
import type { Input, Precision, Results, Runner } from "./runner.js";

/** Runs a network op by op: the reference for the graph, and the way on machines where that does not load. */
export function eagerRunner<N extends Network>(
  tf: typeof tfjs,
  network: N,
  checkpoint: Checkpoint,
  precision: Precision,
): Runner<N> {
  if (precision === "bf16")
    throw new DiffusionError("UNSUPPORTED", "bf16 needs the graph runtime: tfjs has no bfloat16", {
      hint: 'use runtime: "graph", or precision "fp32" or "fp16"',
    });
  const weights = new Map<string, tfjs.Tensor>();
  // Uploaded when the first run asks for it, and kept.
  const weight = (name: string): tfjs.Tensor => {
    const known = weights.get(name);
    if (known) return known;
    const { shape } = checkpoint.tensors.get(name)!;
    const view = defaultView(name, shape);
    const stored = checkpoint.readFloat32(name);
    const values =
      precision === "fp16" && shape.length > 1 ? float16ToFloat32(float32ToFloat16(stored)) : stored;
    const tensor = tf.keep(tf.tensor(toTensorFlow(values, shape, view), viewShape(shape, view)));
    weights.set(name, tensor);
    return tensor;
  };
  const m = new Module(eagerOps(tf), { get: (name) => weight(name) as unknown as Tensor });
  return {
    run(inputs) {
      tf.engine().startScope("network");
      try {
        const given = new Map(listFields(inputs as Fields<Input>));
        const tensors = mapFields(network.inputs, ({ shape, dtype }, path) => {
          return tf.tensor(given.get(path)!.data, [...shape], dtype) as unknown as Tensor;
        });
        return mapFields(network.forward(m, tensors), (x): Values => {
          const data = (x as unknown as tfjs.Tensor).dataSync<"float32">();
          return { shape: x.shape, data: Float32Array.from(data) };
        }) as Results<N>;
      } finally {
        tf.engine().endScope();
      }
    },
    dispose() {
      for (const tensor of weights.values()) tensor.dispose();
      weights.clear();
      checkpoint.close();
    },
  };
}
