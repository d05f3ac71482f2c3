import { channels, layerNorm, linear } from "../nn/basic.js";
import { layer, type Module } from "../nn/module.js";
import type { Activation, Tensor } from "../ops/ops.js";
import type { Network } from "./network.js";

/** CLIPTextModel and CLIPTextModelWithProjection; the numbers are those of text_encoder/config.json. */
export interface TextEncoderConfig {
  readonly vocabularySize: number; // 49408
  readonly width: number; // 768
  readonly innerWidth: number; // 3072
  readonly layers: number; // 12
  readonly heads: number; // 12
  readonly maxPositions: number; // 77
  readonly activation: Activation;
  readonly epsilon: number;
  readonly eosTokenId: number;
  /** Width of the pooled projection; absent when the checkpoint has none. */
  readonly projection?: number;
}

export interface TextEncoderSize {
  readonly batch: number;
  readonly tokens: number;
  /** Layers left out at the end for the outputs `hidden` and `skipped`: 0 for none, 1 for the penultimate state. */
  readonly skip: number;
}

export type TextEncoderInputs = {
  /** [B, T], int32 */
  readonly ids: Tensor;
  /** The rows of the end-of-text tokens among the [B * T], int32 [B]. */
  readonly pooledRows: Tensor;
};

export type TextEncoderOutputs = {
  /** [B, T, C] after the final norm. */
  readonly last: Tensor;
  /** [B, C], the row of the end-of-text token of `last`. */
  readonly pooled: Tensor;
  /** [B, T, C], the last hidden state but one, without the final norm. */
  readonly penultimate: Tensor;
  /** The state `skip` layers before the end, without and with the final norm. */
  readonly hidden: Tensor;
  readonly skipped: Tensor;
  /** [B, P], where the encoder has a projection. */
  readonly projected?: Tensor;
};

export function textEncoder(
  config: TextEncoderConfig,
  { batch, tokens, skip }: TextEncoderSize,
): Network<TextEncoderInputs, TextEncoderOutputs> {
  return {
    inputs: {
      ids: { shape: [batch, tokens], dtype: "int32" },
      pooledRows: { shape: [batch], dtype: "int32" },
    },
    forward(m, { ids, pooledRows }) {
      const { ops } = m;
      const model = m.at("text_model");
      const hidden = [embeddings(model.at("embeddings"), ids, config)];
      for (let i = 0; i < config.layers; i++)
        hidden.push(encoderLayer(model.at("encoder", "layers", i), hidden[i]!, config, true));
      const normed = (x: Tensor) => layerNorm(model.at("final_layer_norm"), x, config.epsilon);
      const last = normed(hidden.at(-1)!);
      const pooled = ops.gather(ops.reshape(last, [batch * tokens, config.width]), pooledRows);
      const state = hidden.at(-1 - skip)!;
      return {
        last,
        pooled,
        penultimate: hidden.at(-2)!,
        hidden: state,
        skipped: skip === 0 ? last : normed(state),
        ...(config.projection && {
          projected: linear(m.at("text_projection"), pooled, config.projection, { bias: false }),
        }),
      };
    },
  };
}

/** The row of each end-of-text token among the [B * T] positions. Old configs say eos_token_id 2 and mean the largest id. */
export function pooledRows(ids: readonly (readonly number[])[], eosTokenId: number): number[] {
  return ids.map((row, b) => {
    const position = eosTokenId === 2 ? row.indexOf(Math.max(...row)) : Math.max(0, row.indexOf(eosTokenId));
    return b * row.length + position;
  });
}

const embeddings = layer(
  (m: Module, ids: Tensor, { vocabularySize, maxPositions, width }: TextEncoderConfig) => {
    const { ops } = m;
    const tokens = ops.gather(m.at("token_embedding").get("weight", [vocabularySize, width]), ids);
    const table = m.at("position_embedding").get("weight", [maxPositions, width]);
    const indices = Array.from({ length: ids.shape[1]! }, (_, i) => i);
    const positions = ops.gather(table, ops.constant(indices, [indices.length], "int32"));
    return ops.add(tokens, positions);
  },
);

/** What text and pictures share. */
export type EncoderLayerConfig = Pick<
  TextEncoderConfig,
  "width" | "innerWidth" | "heads" | "activation" | "epsilon"
>;

export const encoderLayer = layer((m: Module, x: Tensor, config: EncoderLayerConfig, causal: boolean) => {
  const { ops } = m;
  const normal = layerNorm(m.at("layer_norm1"), x, config.epsilon);
  const h = ops.add(x, selfAttention(m.at("self_attn"), normal, config.heads, causal));
  const mlp = m.at("mlp");
  const { activation, epsilon, innerWidth, width } = config;
  const inner = linear(mlp.at("fc1"), layerNorm(m.at("layer_norm2"), h, epsilon), innerWidth, { activation });
  return ops.add(h, linear(mlp.at("fc2"), inner, width));
});

const selfAttention = layer((m: Module, x: Tensor, heads: number, causal: boolean) => {
  const [q, k, v] = ["q_proj", "k_proj", "v_proj"].map((name) => linear(m.at(name), x, channels(x))) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  return linear(m.at("out_proj"), m.ops.attention(q, k, v, { heads, causal }), channels(x));
});
