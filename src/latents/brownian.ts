import { DiffusionError, demand } from "../errors.js";
/**
 * Noise from one Brownian path over the noise levels, for the SDE samplers: portions of noise that lie between the
 * same levels belong together, whatever steps a sampler takes. A binary tree of halved intervals; every node draws
 * from a seed that numpy's SeedSequence derives from its place. The numbers are those of torchsde's
 * `BrownianInterval(halfway_tree=True, tol=1e-6, pool_size=24)`, which k-diffusion and diffusers use.
 */
export interface BrownianOptions {
  /** The lowest and the highest level of the run. */
  readonly sigmaMin: number;
  readonly sigmaMax: number;
  /** The path's seed. */
  readonly seed: number | bigint;
  /** Standard normals of the sample's length from a 32-bit seed; torch's generator gives the reference's numbers. */
  readonly normal: (seed: number) => Float32Array;
}

interface Interval {
  readonly start: number;
  readonly end: number;
  readonly key: number;
  readonly depth: number;
  readonly parent?: Interval;
  middle?: number;
  seed?: number;
  left?: Interval;
  right?: Interval;
}

/** Values that are kept: the ones near the last query are asked for again. */
const cached = 45;
const round = (x: number): number => Number(x.toFixed(6));
const f32 = Math.fround;

/**
 * The noise source of one run, to be given to a scheduler's `step`: the path's increment between two levels, over
 * the square root of their distance, so that each portion has unit variance.
 */
export function brownianNoise(
  options: BrownianOptions,
): (sigmaFrom: number, sigmaTo: number) => Float32Array {
  demand("brownianNoise", options, "object");
  const { seed, normal } = options;
  demand("normal", normal, "function");
  for (const name of ["sigmaMin", "sigmaMax"] as const)
    if (!Number.isFinite(options[name]))
      throw new DiffusionError("BAD_OPTION", `${name}: expected a number, got ${String(options[name])}`);
  const root: Interval = { start: round(options.sigmaMin), end: round(options.sigmaMax), key: 0, depth: 0 };
  const width = Math.sqrt(options.sigmaMax - options.sigmaMin);
  const whole = normal(seedSequence(seed, [], 1)[0]!).map((z) => z * f32(width));
  const values = new Map<Interval, Float32Array>();

  const increment = (node: Interval): Float32Array => {
    const { parent } = node;
    if (!parent) return whole;
    const known = values.get(node);
    if (known) return known;
    const value = childIncrement(node, parent, increment(parent), normal(seedOf(parent, seed)));
    values.set(node, value);
    if (values.size > cached) values.delete(values.keys().next().value!);
    return value;
  };

  return (sigmaFrom, sigmaTo) => {
    const [low, high] = sigmaFrom < sigmaTo ? [sigmaFrom, sigmaTo] : [sigmaTo, sigmaFrom];
    const clamp = (x: number) => Math.min(Math.max(round(x), root.start), root.end);
    const sum = whole.map(() => 0);
    for (const node of tiling(root, clamp(low), clamp(high))) {
      const part = increment(node);
      for (let i = 0; i < sum.length; i++) sum[i]! += part[i]!;
    }
    const scale = f32(Math.sqrt(f32(f32(high) - f32(low)))) * (sigmaFrom < sigmaTo ? 1 : -1);
    return scale === 0 ? sum : sum.map((w) => w / scale);
  };
}

/** The nodes that make up an interval, from left to right; splits the tree where it must. */
function tiling(node: Interval, from: number, to: number): Interval[] {
  if (from >= to) return [];
  if (from === node.start && to === node.end) return [node];
  if (node.middle === undefined) split(node, from === node.start ? to : from);
  const { middle, left, right } = node as Required<Interval>;
  if (to <= middle) return tiling(left, from, to);
  if (from >= middle) return tiling(right, from, to);
  return [...tiling(left, from, middle), ...tiling(right, middle, to)];
}

/** Halves a node, and the half that holds the point, until the point is a border. */
function split(node: Interval, point: number): void {
  const middle = round(0.5 * (node.end + node.start));
  const child = (start: number, end: number, side: 0 | 1): Interval => ({
    start,
    end,
    key: 2 * node.key + side,
    depth: node.depth + 1,
    parent: node,
  });
  node.middle = middle;
  node.left = child(node.start, middle, 0);
  node.right = child(middle, node.end, 1);
  if (point > middle) split(node.right, point);
  else if (point < middle) split(node.left, point);
}

/** A Brownian bridge: the left half given the whole and a normal; the right half is the rest. */
function childIncrement(
  node: Interval,
  parent: Interval,
  whole: Float32Array,
  z: Float32Array,
): Float32Array {
  const [before, after] = [parent.middle! - parent.start, parent.end - parent.middle!];
  const share = 1 / (parent.end - parent.start);
  const spread = f32(Math.sqrt(before * after * share));
  const left = whole.map((w, i) => f32(f32(w * f32(before)) * f32(share)) + f32(z[i]! * spread));
  return node === parent.left ? left : whole.map((w, i) => w - left[i]!);
}

const seedOf = (node: Interval, entropy: number | bigint): number => {
  node.seed ??= seedSequence(entropy, [node.key, node.depth], 1)[0]!;
  return node.seed;
};

/** numpy.random.SeedSequence(entropy, spawn_key, pool_size=24).generate_state(n): M. O'Neill's seed_seq_fe. */
export function seedSequence(entropy: number | bigint, spawnKey: readonly number[], n: number): number[] {
  const size = 24;
  const words = wordsOf(BigInt(entropy));
  const padding = spawnKey.length > 0 ? Array<number>(Math.max(size - words.length, 0)).fill(0) : [];
  const input = [...words, ...padding, ...spawnKey.flatMap((key) => wordsOf(BigInt(key)))];

  let constant = 0x43b0d7e5;
  const hash = (word: number): number => {
    const value = word ^ constant;
    constant = Math.imul(constant, 0x931e8875);
    const product = Math.imul(value, constant);
    return product ^ (product >>> 16);
  };
  const mix = (x: number, y: number): number => {
    const value = Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y);
    return value ^ ((value | 0) >>> 16);
  };
  const pool = Array.from({ length: size }, (_, i) => hash(input[i] ?? 0));
  for (let source = 0; source < size; source++)
    for (let target = 0; target < size; target++)
      if (source !== target) pool[target] = mix(pool[target]!, hash(pool[source]!));
  for (const word of input.slice(size))
    for (let target = 0; target < size; target++) pool[target] = mix(pool[target]!, hash(word));

  let state = 0x8b51f9dd;
  return Array.from({ length: n }, (_, i) => {
    const value = pool[i % size]! ^ state;
    state = Math.imul(state, 0x58f38ded);
    const product = Math.imul(value, state);
    return (product ^ (product >>> 16)) >>> 0;
  });
}

/** A whole number as 32-bit words, the lowest first. */
function wordsOf(value: bigint): number[] {
  const words: number[] = [];
  for (let rest = value; rest > 0n; rest >>= 32n) words.push(Number(rest & 0xffffffffn));
  return words.length > 0 ? words : [0];
}
