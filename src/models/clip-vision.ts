import { conv2d, layerNorm, linear } from "../nn/basic.js";
import { layer, type Module } from "../nn/module.js";
import type { Tensor } from "../ops/ops.js";
import { type EncoderLayerConfig, encoderLayer } from "./clip.js";
import type { Network } from "./network.js";

/** CLIPVisionModelWithProjection; the numbers are those of image_encoder/config.json. */
export interface ImageEncoderConfig extends EncoderLayerConfig {
  readonly layers: number; // 32
  /** Side of its pictures in pixels. */
  readonly imageSize: number; // 224
  readonly patchSize: number; // 14
  /** Width of the projection of the pooled output. */
  readonly projection: number; // 1024
}

/** Tokens of a picture: one for each patch, and one for the whole. */
export const imageTokens = ({ imageSize, patchSize }: ImageEncoderConfig): number =>
  Math.floor(imageSize / patchSize) ** 2 + 1;

export type ImageEncoderInputs = {
  /** [B, size, size, 3], normalised as CLIP's pictures are. */
  readonly image: Tensor;
};

export type ImageEncoderOutputs = {
  /** [B, P], the token for the whole after norm and projection. */
  readonly projected: Tensor;
  /** [B, T, C], the state before the last layer. */
  readonly penultimate: Tensor;
};

export function imageEncoder(
  config: ImageEncoderConfig,
  { batch }: { readonly batch: number },
): Network<ImageEncoderInputs, ImageEncoderOutputs> {
  const { imageSize, width, epsilon, projection } = config;
  return {
    inputs: { image: { shape: [batch, imageSize, imageSize, 3], dtype: "float32" } },
    forward(m, { image }) {
      const { ops } = m;
      const model = m.at("vision_model");
      const embedded = embeddings(model.at("embeddings"), image, config);
      // The name is OpenAI's slip of the pen.
      const hidden = [layerNorm(model.at("pre_layrnorm"), embedded, epsilon)];
      for (let i = 0; i < config.layers; i++)
        hidden.push(encoderLayer(model.at("encoder", "layers", i), hidden[i]!, config, false));
      const tokens = imageTokens(config);
      const first = Array.from({ length: batch }, (_, b) => b * tokens);
      const rows = ops.reshape(hidden.at(-1)!, [batch * tokens, width]);
      const whole = ops.gather(rows, ops.constant(first, [batch], "int32"));
      const pooled = layerNorm(model.at("post_layernorm"), whole, epsilon);
      return {
        projected: linear(m.at("visual_projection"), pooled, projection, { bias: false }),
        penultimate: hidden.at(-2)!,
      };
    },
  };
}

const embeddings = layer((m: Module, image: Tensor, config: ImageEncoderConfig) => {
  const { ops } = m;
  const { width, patchSize } = config;
  const [batch, count] = [image.shape[0]!, imageTokens(config)];
  const patches = conv2d(m.at("patch_embedding"), image, width, {
    ...{ size: patchSize, stride: patchSize, bias: false },
    padding: [0, 0, 0, 0],
  });
  const whole = ops.reshape(m.get("class_embedding", [width]), [1, 1, width]);
  const wholes = batch === 1 ? whole : ops.concat(Array<Tensor>(batch).fill(whole), 0);
  const tokens = ops.concat([wholes, ops.reshape(patches, [batch, count - 1, width])], 1);
  const table = m.at("position_embedding").get("weight", [count, width]);
  const indices = ops.constant(
    Array.from({ length: count }, (_, i) => i),
    [count],
    "int32",
  );
  return ops.add(tokens, ops.gather(table, indices));
});
