import type * as tfjs from "@tensorflow/tfjs";
import { listFields, mapFields } from "../models/fields.js";
import type { Network } from "../models/network.js";
import { Module } from "../nn/module.js";
import { dryRunOps } from "../ops/dry-run.js";
import { eagerOps } from "../ops/eager.js";
import { defaultView, toTensorFlow, viewShape } from "../ops/layout.js";
import type { Shape, Tensor } from "../ops/ops.js";
import type { Checkpoint } from "../weights/checkpoint.js";

/**
 * A network as a `tf.layers.Layer` on the tfjs that is given, for those who compose with `tf.model(...)`. It takes
 * the network's inputs in their order (see `Network.inputs`) and gives its first output. Weights are read from
 * the checkpoint when the layer is built, which closes it; they are not trainable.
 */
export function tfLayer(
  tf: typeof tfjs,
  network: Network,
  checkpoint: Checkpoint,
  name = "diffusion_network",
): tfjs.layers.Layer {
  const weights = new Map<string, tfjs.Tensor>();

  class NetworkLayer extends tf.layers.Layer {
    static className = "DiffusionNetwork";

    constructor() {
      super({ name, trainable: false });
    }

    override build(): void {
      const store = {
        get(key: string, shape: Shape): Tensor {
          const stored = checkpoint.tensors.get(key)!.shape;
          const view = defaultView(key, stored);
          const values = toTensorFlow(checkpoint.readFloat32(key), stored, view);
          weights.set(key, tf.keep(tf.tensor(values, viewShape(stored, view))));
          return { shape, dtype: "float32" };
        },
      };
      network.forward(new Module(dryRunOps(), store), network.inputs);
      checkpoint.close();
      this.built = true;
    }

    override computeOutputShape(): tfjs.Shape {
      return [...outputShape(network)];
    }

    override call(inputs: tfjs.Tensor | tfjs.Tensor[]): tfjs.Tensor {
      return tf.tidy(() => {
        const given = ((Array.isArray(inputs) ? inputs : [inputs]) as unknown as Tensor[]).values();
        const named = mapFields(network.inputs, () => given.next().value!);
        const m = new Module(eagerOps(tf), { get: (key) => weights.get(key) as unknown as Tensor });
        return listFields(network.forward(m, named))[0]![1] as unknown as tfjs.Tensor;
      });
    }

    override dispose(): ReturnType<tfjs.layers.Layer["dispose"]> {
      for (const tensor of weights.values()) tensor.dispose();
      weights.clear();
      return { refCountAfterDispose: 0, numDisposedVariables: 0 };
    }
  }
  return new NetworkLayer();
}

function outputShape(network: Network): Shape {
  const m = new Module(dryRunOps(), { get: (_name, shape): Tensor => ({ shape, dtype: "float32" }) });
  return listFields(network.forward(m, network.inputs))[0]![1].shape;
}
