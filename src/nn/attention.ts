import type { Tensor } from "../ops/ops.js";
import { channels, conv2d, groupNorm, layerNorm, linear, repeated } from "./basic.js";
import { layer, type Module } from "./module.js";
import { mergedTokens, type TokenGrid } from "./token-merging.js";

/** A picture beside the prompt: its tokens [B, S, D], and how much it counts [B, 1, 1]. */
export type PictureTokens = {
  readonly tokens: Tensor;
  readonly scale: Tensor;
};

/**
 * Multi-head attention of x [B, T, C] on context [B, S, D], without bias on q, k and v. Pictures are looked at
 * apart, by the same queries, and what is seen is added (IP-Adapter, Ye et al. 2023, eq. 5).
 */
export const attention = layer(
  (m: Module, x: Tensor, context: Tensor, heads: number, pictures: readonly PictureTokens[] = []) => {
    const { ops } = m;
    const width = channels(x);
    const project = (name: string, from: Tensor) => linear(m.at(name), from, width, { bias: false });
    const [q, k, v] = [project("to_q", x), project("to_k", context), project("to_v", context)];
    let seen = ops.attention(q, k, v, { heads });
    pictures.forEach(({ tokens, scale }, i) => {
      const keys = project(`processor.to_k_ip.${i}`, tokens);
      // A sum over values: the few of them are cheaper to scale than what they add up to.
      const values = ops.mul(project(`processor.to_v_ip.${i}`, tokens), scale);
      seen = ops.add(seen, ops.attention(q, keys, values, { heads }));
    });
    return linear(m.at("to_out", 0), seen, width);
  },
);

/**
 * Self-attention whose map is the identity: every token sees only itself (perturbed attention guidance, Ahn et al. 2024,
 * "Self-Rectifying Diffusion Sampling with Perturbed-Attention Guidance", eq. 14).
 */
const identityAttention = layer((m: Module, x: Tensor) => {
  const width = channels(x);
  return linear(m.at("to_out", 0), linear(m.at("to_v"), x, width, { bias: false }), width);
});

/** Attention over the pixels of x [B, H, W, C], with its own norm and a residual: VAE, unconditional UNet. */
export const spatialSelfAttention = layer(
  (m: Module, x: Tensor, { heads, groups, epsilon }: { heads: number; groups: number; epsilon: number }) => {
    const { ops } = m;
    const [b, h, w, c] = x.shape as [number, number, number, number];
    const tokens = ops.reshape(groupNorm(m.at("group_norm"), x, { groups, epsilon }), [b, h * w, c]);
    const [q, k, v] = ["to_q", "to_k", "to_v"].map((name) => linear(m.at(name), tokens, c)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const mixed = linear(m.at("to_out", 0), ops.attention(q, k, v, { heads }), c);
    return ops.add(ops.reshape(mixed, [b, h, w, c]), x);
  },
);

/** A linear layer gated by another (GEGLU, Shazeer 2020): value * gelu(gate), [..., C] to [..., out]. */
export const geglu = layer((m: Module, x: Tensor, out: number) => {
  const { ops } = m;
  const projection = m.at("proj");
  const weights = ops.split(projection.get("weight", [channels(x), 2 * out]), 2, 1);
  const biases = ops.split(projection.get("bias", [2 * out]), 2, 0);
  const value = ops.linear(x, weights[0]!, biases[0]);
  return ops.mul(value, ops.linear(x, weights[1]!, biases[1], "gelu"));
});

/** Feed-forward, four times as wide inside. */
export const feedForward = layer((m: Module, x: Tensor) =>
  linear(m.at("net", 2), geglu(m.at("net", 0), x, 4 * channels(x)), channels(x)),
);

/**
 * Self-attention, cross-attention and feed-forward on x [B, T, C], each after a norm and with a residual. Where the
 * context has twice the rows, x is repeated before it looks at them.
 */
export const transformerBlock = layer(
  (
    m: Module,
    x: Tensor,
    context: Tensor,
    heads: number,
    onlyCrossAttention: boolean,
    pictures: readonly PictureTokens[] = [],
    /** Tokens of self-attention that are merged, or "identity" where each sees only itself. */
    special?: TokenGrid | "identity",
  ) => {
    const { ops } = m;
    const norm = (name: string, y: Tensor) => layerNorm(m.at(name), y, 1e-5);
    const rows = context.shape[0]!;
    const own = onlyCrossAttention ? repeated(ops, x, rows) : x;
    const first = norm("norm1", own);
    const seen = (): Tensor => {
      if (special === "identity") return identityAttention(m.at("attn1"), first);
      const merging = special && !onlyCrossAttention ? mergedTokens(ops, own, special) : undefined;
      const fewer = merging?.merge(first) ?? first;
      const mixed = attention(m.at("attn1"), fewer, onlyCrossAttention ? context : fewer, heads);
      return merging?.unmerge(mixed) ?? mixed;
    };
    let h = repeated(ops, ops.add(own, seen()), rows);
    h = ops.add(h, attention(m.at("attn2"), norm("norm2", h), context, heads, pictures));
    return ops.add(h, feedForward(m.at("ff"), norm("norm3", h)));
  },
);

export interface SpatialTransformerOptions {
  readonly heads: number;
  readonly layers: number;
  readonly groups: number;
  /** SD 2.x and SDXL project with matrices, SD 1.x with 1x1 convolutions. */
  readonly linearProjection: boolean;
  readonly onlyCrossAttention: boolean;
  readonly pictures?: readonly PictureTokens[];
  /** Self-attention looks at fewer tokens: the share of them that is merged into others. */
  readonly mergeTokens?: number;
  /** Paths of the blocks in which self-attention is the identity. */
  readonly perturbed?: readonly string[];
}

/** Transformer blocks over the pixels of x [B, H, W, C], with a residual around them (Transformer2DModel). */
export const spatialTransformer = layer(
  (m: Module, x: Tensor, context: Tensor, options: SpatialTransformerOptions) => {
    const { ops } = m;
    const [, h, w, c] = x.shape as [number, number, number, number];
    const project = (name: string, y: Tensor, inside: readonly number[]) => {
      const b = y.shape[0]!;
      const projected = options.linearProjection
        ? linear(m.at(name), ops.reshape(y, [b, h * w, c]), c)
        : conv2d(m.at(name), ops.reshape(y, [b, h, w, c]), c, { size: 1 });
      return ops.reshape(projected, [b, ...inside]);
    };
    // 1e-6 here, whatever the UNet's norm_eps says (diffusers' Transformer2DModel).
    const normal = groupNorm(m.at("norm"), x, { groups: options.groups, epsilon: 1e-6 });
    let tokens = project("proj_in", normal, [h * w, c]);
    for (let i = 0; i < options.layers; i++) {
      const block = m.at("transformer_blocks", i);
      const { heads, onlyCrossAttention, pictures, mergeTokens: ratio } = options;
      const grid = ratio === undefined ? undefined : { height: h, width: w, ratio };
      const special = options.perturbed?.includes(block.path) ? "identity" : grid;
      tokens = transformerBlock(block, tokens, context, heads, onlyCrossAttention, pictures, special);
    }
    const rows = tokens.shape[0]!;
    return ops.add(project("proj_out", tokens, [h, w, c]), repeated(ops, x, rows));
  },
);
