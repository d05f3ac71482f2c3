/**
 * The one contract of the networks: everything that a layer may do. Layers in `nn/` and `models/` are written
 * against `Ops` and nothing else, and run in three ways: `eager.ts` computes each op now with tfjs, `graph.ts`
 * writes each op down as TensorFlow nodes, `dry-run.ts` only follows the shapes.
 *
 * Images are [B, H, W, C], sequences [B, T, C]. Shapes are static, and values are never read.
 */

export type Shape = readonly number[];
export type DType = "float32" | "int32";

/** Opaque to layers: a tf.Tensor when eager, a node when emitting a graph, a bare shape in the dry run. */
export interface Tensor {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** `gelu` is the exact form with erf, `gelu_tanh` its approximation, `quick_gelu` x * sigmoid(1.702 x). */
export type Activation = "silu" | "gelu" | "gelu_tanh" | "quick_gelu" | "relu" | "tanh";

export interface GroupNormOptions {
  readonly groups: number;
  readonly epsilon: number;
  /** Applied to the result; said here because a graph can do both in fewer passes over memory. */
  readonly activation?: Activation;
}

export interface Conv2dOptions {
  readonly stride?: number;
  /** Zeros added [top, bottom, left, right]; default (k - 1) / 2 on each side. */
  readonly padding?: readonly [number, number, number, number];
}

export interface AttentionOptions {
  readonly heads: number;
  /** Each position sees itself and earlier ones only. */
  readonly causal?: boolean;
}

export interface Ops {
  /** Names a region: a tidy when eager, a prefix of node names in a graph, the path that errors report. */
  scope<T extends Tensor | readonly Tensor[]>(name: string, body: () => T): T;
  constant(values: readonly number[], shape: Shape, dtype?: DType): Tensor;

  add(a: Tensor, b: Tensor): Tensor;
  sub(a: Tensor, b: Tensor): Tensor;
  mul(a: Tensor, b: Tensor): Tensor;
  activate(x: Tensor, activation: Activation): Tensor;
  /** What is below zero times `slope`: one number (leaky ReLU), or one for each channel, [C] (PReLU, He et al. 2015). */
  leakyRelu(x: Tensor, slope: number | Tensor): Tensor;

  /** x [..., I] times weight [I, O], plus bias [O], then the activation. */
  linear(x: Tensor, weight: Tensor, bias?: Tensor, activation?: Activation): Tensor;
  /** x [B, H, W, I] with kernel [h, w, I, O], plus bias [O]. */
  conv2d(x: Tensor, kernel: Tensor, bias?: Tensor, options?: Conv2dOptions): Tensor;
  /** Statistics over H, W and the channels of a group of x [B, H, W, C]; scale and shift are [C]. */
  groupNorm(x: Tensor, scale: Tensor, shift: Tensor, options: GroupNormOptions): Tensor;
  /** Statistics over the last axis. */
  layerNorm(x: Tensor, scale: Tensor, shift: Tensor, epsilon: number): Tensor;
  /** Scaled dot-product attention of q [B, T, C], k [B, S, C] and v [B, S, D], heads side by side in C and D. */
  attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor;
  /** Nearest neighbour, to [B, height, width, C]. */
  upsample(x: Tensor, height: number, width: number): Tensor;
  /** Rows of table [N, C], a weight or a computed tensor, by ids (int32, any shape). */
  gather(table: Tensor, ids: Tensor): Tensor;
  /**
   * Which `merged` of the sources [S, C] are most like a destination [D, C], by cosine. Places among the rows, int32: of
   * those sources [merged], of their destinations [merged], of every source in (sources left, destinations) [S], and of
   * the sources left [S - merged], unless none is.
   */
  matchRows(sources: Tensor, destinations: Tensor, merged: number): readonly Tensor[];
  /** The mean of each row of x [D, C] and the rows [M, C] whose target [M] it is. */
  meanInto(x: Tensor, rows: Tensor, target: Tensor): Tensor;

  reshape(x: Tensor, shape: Shape): Tensor;
  concat(xs: readonly Tensor[], axis: number): Tensor;
  /** `size` entries along an axis, from the one with index `from`. */
  slice(x: Tensor, axis: number, from: number, size: number): Tensor;
  /** Equal parts along an axis. */
  split(x: Tensor, parts: number, axis: number): Tensor[];
}

export const elements = (shape: Shape): number => shape.reduce((a, b) => a * b, 1);
