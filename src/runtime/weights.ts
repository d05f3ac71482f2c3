import { adaptCheckpoint } from "../adapters/adapted-checkpoint.js";
import { openImageProjection } from "../adapters/ip-adapter.js";
import type { MatMul } from "../adapters/lora-delta.js";
import { internal } from "../errors.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import { openModel, openPart } from "../weights/model.js";
import type { Native } from "./native.js";
import type { WeightsReference } from "./runner.js";

/** Opens what a request refers to, with its adapters laid over it. Throws what opening and adapting throw. */
export function openWeights(native: Native, reference: WeightsReference): Checkpoint {
  const { model, role, opening, adapters, pipeline } = reference;
  if (role === "part") return openPart(model, { pipeline: pipeline ?? "" }, opening).open();
  if (role === "image_projection") return openImageProjection(model);
  const source = openModel(model, opening);
  const encoder = Number(role.slice("text_encoder.".length));
  const network = role === "unet" ? source.unet : role === "vae" ? source.vae : source.textEncoders[encoder];
  if (!network) throw internal(`${model} has no ${role}`);
  const checkpoint = network.open();
  if (!adapters || role === "vae") return checkpoint;
  const name = role === "unet" ? role : encoder === 0 ? "text_encoder" : "text_encoder_2";
  return adaptCheckpoint(checkpoint, name, { source, adapters, matMul: matMulOf(native) });
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
