import { adaptCheckpoint } from "../adapters/adapted-checkpoint.js";
import { openImageProjection } from "../adapters/ip-adapter.js";
import type { MatMul } from "../adapters/lora-delta.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import { openWeights } from "../weights/component.js";
import type { Native } from "./native.js";
import type { WeightsReference } from "./runner.js";

/** Opens what a request refers to, with its adapters laid over it. Throws what opening and adapting throw. */
export function openReference(native: Native, { weights, adapted, adapters }: WeightsReference): Checkpoint {
  if ("imageProjection" in weights) return openImageProjection(weights.imageProjection);
  const checkpoint = openWeights(weights);
  if (!adapters || !adapted) return checkpoint;
  const { network, places } = adapted;
  return adaptCheckpoint(checkpoint, network, { places, adapters, matMul: matMulOf(native) });
}

/** Without `tf.tidy`, which would look for tensors among the numbers of the result, one by one: 100 times slower. */
const matMulOf =
  (native: Native): MatMul =>
  (a, b, rows, inner, columns) => {
    const { tf } = native;
    const factors = [tf.tensor2d(a, [rows, inner]), tf.tensor2d(b, [inner, columns])] as const;
    const product = tf.matMul(...factors);
    try {
      return product.dataSync<"float32">();
    } finally {
      tf.dispose([...factors, product]);
    }
  };
