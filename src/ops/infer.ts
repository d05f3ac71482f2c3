import { DiffusionError } from "../errors.js";
import { type Conv2dOptions, elements, type Shape } from "./ops.js";

/** Shape rules, written once; the graph and the dry run use them. */

const misfit = (message: string) => new DiffusionError("LAYER_SHAPE", message);

export function broadcast(a: Shape, b: Shape): Shape {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => {
    const x = a[a.length - 1 - i] ?? 1;
    const y = b[b.length - 1 - i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) throw misfit(`cannot broadcast [${a}] with [${b}]`);
    return Math.max(x, y);
  }).reverse();
}

export function linear(x: Shape, weight: Shape): Shape {
  if (weight.length !== 2 || x.at(-1) !== weight[0])
    throw misfit(`linear: the last axis of [${x}] does not meet [${weight}]`);
  return [...x.slice(0, -1), weight[1]!];
}

/** [top, bottom, left, right] of a convolution: as given, or the symmetric padding that keeps the size at stride 1. */
export function padding(kernel: Shape, options: Conv2dOptions): readonly [number, number, number, number] {
  const [h, w] = [(kernel[0]! - 1) >> 1, (kernel[1]! - 1) >> 1];
  return options.padding ?? [h, h, w, w];
}

export function conv2d(x: Shape, kernel: Shape, options: Conv2dOptions): Shape {
  if (x.length !== 4 || kernel.length !== 4 || x[3] !== kernel[2])
    throw misfit(`conv2d: the channels of [${x}] do not meet the kernel [${kernel}]`);
  const [top, bottom, left, right] = padding(kernel, options);
  const stride = options.stride ?? 1;
  const height = Math.floor((x[1]! + top + bottom - kernel[0]!) / stride) + 1;
  const width = Math.floor((x[2]! + left + right - kernel[1]!) / stride) + 1;
  if (height < 1 || width < 1) throw misfit(`conv2d: [${x}] is smaller than the kernel [${kernel}]`);
  return [x[0]!, height, width, kernel[3]!];
}

export function groupNorm(x: Shape, groups: number): Shape {
  if (x.length !== 4 || x[3]! % groups !== 0)
    throw misfit(`groupNorm: the channels of [${x}] do not divide into ${groups} groups`);
  return x;
}

export function attention(q: Shape, k: Shape, v: Shape, heads: number): Shape {
  const fits =
    q.length === 3 && k.length === 3 && q[0] === k[0] && q[2] === k[2] && k[1] === v[1] && k[0] === v[0];
  if (!fits || q[2]! % heads !== 0 || v[2]! % heads !== 0)
    throw misfit(`attention: q [${q}], k [${k}], v [${v}] do not fit with ${heads} heads`);
  return [q[0]!, q[1]!, v[2]!];
}

export function reshape(x: Shape, to: Shape): Shape {
  if (elements(x) !== elements(to))
    throw misfit(`reshape [${x}] to [${to}]: ${elements(x)} elements are not ${elements(to)}`);
  return to;
}

export function concat(shapes: readonly Shape[], axis: number): Shape {
  const [first] = shapes;
  if (!first) throw misfit("concat of nothing");
  const same = shapes.every(
    (s) => s.length === first.length && s.every((d, i) => i === axis || d === first[i]),
  );
  if (!same)
    throw misfit(`concat along axis ${axis}: ${shapes.map((s) => `[${s}]`).join(", ")} differ elsewhere`);
  return first.map((d, i) => (i === axis ? shapes.reduce((sum, s) => sum + s[axis]!, 0) : d));
}

export function split(x: Shape, parts: number, axis: number): Shape {
  if (x[axis]! % parts !== 0) throw misfit(`split: axis ${axis} of [${x}] does not divide into ${parts}`);
  return x.map((d, i) => (i === axis ? d / parts : d));
}

export function slice(x: Shape, axis: number, from: number, size: number): Shape {
  if (from < 0 || size < 1 || from + size > x[axis]!)
    throw misfit(`slice: [${x}] has no ${size} entries from ${from} along axis ${axis}`);
  return x.map((d, i) => (i === axis ? size : d));
}
