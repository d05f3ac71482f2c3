import { internal } from "../errors.js";

/**
 * What the web UI's setting of that name says: whether the mean over a chunk is restored after the weights, whether they
 * are read and then ignored, or whether none are read, and brackets and BREAK are ordinary text.
 */
export type Emphasis = "original" | "no-norm" | "ignore" | "none";

/**
 * Weights of the web UI on the embedding of one chunk: every token's vector times its weight, then everything by one
 * factor, so that the mean over the chunk is what it was (`modules/sd_hijack_clip.py`).
 *
 * @param embedding [tokens, channels], as the text encoder gives it
 * @param weights one a token
 * @param emphasis "no-norm" leaves the mean as the weights make it, "ignore" and "none" the embedding as it is
 */
export function emphasize(
  embedding: Float32Array,
  weights: readonly number[],
  emphasis: Emphasis = "original",
): Float32Array {
  const channels = channelsOf(embedding, weights);
  const isWeighted = emphasis === "original" || emphasis === "no-norm";
  if (!isWeighted || weights.every((weight) => weight === 1)) return embedding;
  const out = embedding.map((value, i) => value * weights[Math.floor(i / channels)]!);
  if (emphasis === "no-norm") return out;
  const restore = mean(embedding) / mean(out);
  return Number.isFinite(restore) ? out.map((value) => value * restore) : out;
}

/**
 * Weights of compel on the embedding of one chunk: every token's vector is moved on the line from the empty prompt's
 * (weight 0) through its own (weight 1).
 *
 * @param empty [tokens, channels], the embedding of the empty prompt
 */
export function emphasizeFromEmpty(
  embedding: Float32Array,
  weights: readonly number[],
  empty: Float32Array,
): Float32Array {
  const channels = channelsOf(embedding, weights);
  if (empty.length !== embedding.length)
    throw internal(`an empty prompt of ${empty.length} numbers for an embedding of ${embedding.length}`);
  if (weights.every((weight) => weight === 1)) return embedding;
  return embedding.map((value, i) => empty[i]! + (value - empty[i]!) * weights[Math.floor(i / channels)]!);
}

/**
 * What compel also does for weights below 1: the embedding is mixed with those of the prompt without the
 * words in question, each as strong as `tan((1 - weight) * pi / 2)`, so that at weight 0 they are gone.
 */
export function blendWithout(
  embedding: Float32Array,
  without: readonly { readonly weight: number; readonly embedding: Float32Array }[],
): Float32Array {
  if (without.length === 0) return embedding;
  const shares = without.map(({ weight }) => Math.tan(((1 - Math.max(1e-5, weight)) * Math.PI) / 2));
  const sum = shares.reduce((total, share) => total + share, 1);
  return embedding.map((value, i) => {
    let mixed = value;
    for (const [k, other] of without.entries()) mixed += shares[k]! * other.embedding[i]!;
    return mixed / sum;
  });
}

function channelsOf(embedding: Float32Array, weights: readonly number[]): number {
  const channels = embedding.length / weights.length;
  if (!Number.isInteger(channels))
    throw internal(`${weights.length} weights for an embedding of ${embedding.length} numbers`);
  return channels;
}

const mean = (values: Float32Array): number => values.reduce((sum, value) => sum + value, 0) / values.length;
