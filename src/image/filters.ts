import { DiffusionError } from "../errors.js";
import { mirror } from "../latents/extent.js";
import { channelsOf, type Image, type Mask } from "./image.js";

/** Where a line lies in the bytes: its first byte and the distance between neighbours. */
interface Line {
  readonly start: number;
  readonly step: number;
}

/** Every row (or column) of every channel of an image. */
function linesOf({ width, height }: Image, channels: number, direction: "rows" | "columns"): Line[] {
  const [count, apart, step] =
    direction === "rows" ? [height, width * channels, channels] : [width, channels, width * channels];
  return Array.from({ length: count * channels }, (_, i) => ({
    start: Math.floor(i / channels) * apart + (i % channels),
    step,
  }));
}

function checkRadius(radius: number, what: string): void {
  if (!(radius >= 0 && Number.isFinite(radius)))
    throw new DiffusionError("BAD_OPTION", `${what} must be a number of at least 0, got ${radius}`);
}

/**
 * Gaussian blur as Pillow's `ImageFilter.GaussianBlur`: three passes of a box blur with a fractional radius in
 * each direction, rounded to 8 bits after each, the edge pixel repeated outside. Gwosdek et al., "Theoretical
 * foundations of Gaussian convolution by extended box filtering" (2011). A channel does not see the others, so
 * RGBA has to be premultiplied by the caller.
 */
export function gaussianBlur(image: Image, radiusX: number, radiusY: number = radiusX): Image {
  const channels = channelsOf(image);
  checkRadius(radiusX, "the blur radius");
  checkRadius(radiusY, "the blur radius");
  const data = image.data.slice();
  const passes = 3;
  const directions = [
    ["rows", image.width, radiusX],
    ["columns", image.height, radiusY],
  ] as const;
  for (const [direction, length, radius] of directions) {
    const box = boxRadius(radius, passes);
    if (box === 0) continue;
    const before = new Uint8Array(length);
    for (const line of linesOf(image, channels, direction))
      for (let pass = 0; pass < passes; pass++) boxBlurLine(data, line, before, box);
  }
  return { ...image, data };
}

/** The radius of the box whose `passes`-fold application has the standard deviation `sigma`, in single precision. */
function boxRadius(sigma: number, passes: number): number {
  const f = Math.fround;
  const variance = f(f(f(sigma) * f(sigma)) / passes);
  const length = f(Math.sqrt(12 * variance + 1));
  const whole = f(Math.floor((length - 1) / 2));
  const next = f(whole + 1);
  const numerator = f(f(f(2 * whole) + 1) * f(f(whole * next) - f(3 * variance)));
  const denominator = f(6 * f(variance - f(next * next)));
  return f(whole + f(numerator / denominator));
}

/** Blurs one line in place; `before` is room for its old values. Weights have 24 fraction bits. */
function boxBlurLine(data: Uint8Array, { start, step }: Line, before: Uint8Array, radius: number): void {
  const last = before.length - 1;
  for (let i = 0, at = start; i <= last; i++, at += step) before[i] = data[at]!;
  const whole = Math.trunc(radius);
  const weight = Math.trunc(Math.fround(2 ** 24 / Math.fround(Math.fround(radius * 2) + 1)));
  const outerWeight = Math.floor((2 ** 24 - (whole * 2 + 1) * weight) / 2);
  const clamped = (i: number): number => before[Math.max(0, Math.min(last, i))]!;

  let sum = clamped(0) * (whole + 1); // the window around position -1
  for (let i = 0; i < whole; i++) sum += clamped(i);
  for (let i = 0, at = start; i <= last; i++, at += step) {
    const left = clamped(i - whole - 1);
    sum += clamped(i + whole) - left;
    const total = sum * weight + (left + clamped(i + whole + 1)) * outerWeight;
    data[at] = (total + 2 ** 23) >>> 24;
  }
}

/**
 * A mask blurred as the web UI does it: OpenCV's Gaussian on bytes, 2 * int(2.5 sigma + 0.5) + 1 taps, rows and
 * columns with their own standard deviation in pixels, edges mirrored without repeating the edge pixel.
 */
export function blurMask(mask: Mask, sigmaX: number, sigmaY: number = sigmaX): Mask {
  const channels = channelsOf(mask);
  checkRadius(sigmaX, "the mask blur");
  checkRadius(sigmaY, "the mask blur");
  const data = mask.data.slice();
  for (const [direction, length, sigma] of [
    ["rows", mask.width, sigmaX],
    ["columns", mask.height, sigmaY],
  ] as const) {
    if (sigma === 0) continue;
    const kernel = gaussianKernel(sigma);
    const before = new Uint8Array(length);
    for (const line of linesOf(mask, channels, direction)) convolveLine(data, line, before, kernel);
  }
  return { ...mask, data };
}

/** Weights with 8 fraction bits that sum to 256; the rounding error is carried from tap to tap, as OpenCV does. */
function gaussianKernel(sigma: number): Int32Array {
  const half = Math.trunc(2.5 * sigma + 0.5);
  const exact = Array.from({ length: half }, (_, i) => Math.exp((-0.5 * (half - i) ** 2) / sigma ** 2));
  const sum = 2 * exact.reduce((a, b) => a + b, 0) + 1;
  const kernel = new Int32Array(2 * half + 1);
  let [error, placed] = [0, 0];
  for (let i = 0; i < half; i++) {
    const wanted = (exact[i]! / sum) * 256 + error;
    const tap = roundHalfToEven(wanted);
    error = wanted - tap;
    placed += 2 * tap;
    kernel[i] = tap;
    kernel[2 * half - i] = tap;
  }
  kernel[half] = 256 - placed;
  return kernel;
}

function convolveLine(data: Uint8Array, { start, step }: Line, before: Uint8Array, kernel: Int32Array): void {
  for (let i = 0, at = start; i < before.length; i++, at += step) before[i] = data[at]!;
  const half = (kernel.length - 1) / 2;
  for (let i = 0, at = start; i < before.length; i++, at += step) {
    let sum = 128;
    for (let k = 0; k < kernel.length; k++) sum += kernel[k]! * before[mirror(i + k - half, before.length)]!;
    data[at] = sum >> 8;
  }
}

/** Rounding as numpy and OpenCV do it: a half goes to the even neighbour. */
export function roundHalfToEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
}

/** Luminance as Pillow's mode L: ITU-R 601 weights with 16 fraction bits. Alpha is ignored, grey is copied. */
export function grayscale(image: Image | Mask): Mask {
  const channels = channelsOf(image);
  const { width, height, data: from } = image;
  if (channels === 1) return { width, height, data: from.slice() };
  const data = new Uint8Array(width * height);
  for (let i = 0, at = 0; i < data.length; i++, at += channels)
    data[i] = (19595 * from[at]! + 38470 * from[at + 1]! + 7471 * from[at + 2]! + 0x8000) >> 16;
  return { width, height, data };
}

/** 255 - mask. */
export const invert = (mask: Mask): Mask => ({ ...mask, data: mask.data.map((v) => 255 - v) });

/** 255 where the mask is at least `threshold` (default: one half), 0 elsewhere. */
export const binarise = (mask: Mask, threshold = 128): Mask => ({
  ...mask,
  data: mask.data.map((v) => (v >= threshold ? 255 : 0)),
});
