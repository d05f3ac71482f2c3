import { DiffusionError, nearest } from "../errors.js";
import { checkSize, type Size } from "./extent.js";
import type { Values } from "./latents.js";

/**
 * Resizing of float images and latents, as `torch.nn.functional.interpolate(x, size, mode, align_corners=False)`.
 * The "-antialiased" modes are torch's `antialias=True`: the filter is stretched when the image shrinks, and
 * bicubic uses -0.5 there instead of -0.75.
 */
export type InterpolationMode =
  | "nearest"
  | "nearest-exact"
  | "bilinear"
  | "bicubic"
  | "bilinear-antialiased"
  | "bicubic-antialiased";

/** A part of an image or of latents, in cells. */
export function cropValues({ shape, data }: Values, at: { left: number; top: number }, size: Size): Values {
  const [batch = 0, height = 0, width = 0, channels = 0] = shape;
  const out = new Float32Array(batch * size.height * size.width * channels);
  const row = size.width * channels;
  for (let b = 0, to = 0; b < batch; b++)
    for (let y = 0; y < size.height; y++, to += row) {
      const from = ((b * height + at.top + y) * width + at.left) * channels;
      out.set(data.subarray(from, from + row), to);
    }
  return { shape: [batch, size.height, size.width, channels], data: out };
}

/** For each output position the input positions and weights that make it up. */
type Taps = readonly { readonly at: readonly number[]; readonly weights: readonly number[] }[];

const f = Math.fround;
const clamp = (i: number, length: number): number => Math.min(Math.max(i, 0), length - 1);

/** Keys's cubic convolution kernel with parameter `a`. */
function cubic(x: number, a: number): number {
  const t = Math.abs(x);
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

/** Where the centre of output cell `i` lies, counted from the centre of input cell 0. */
const center = (i: number, scale: number): number => f(scale * (i + 0.5)) - 0.5;

const tapsOf: Record<InterpolationMode, (i: number, inSize: number, scale: number) => Taps[number]> = {
  nearest: (i, inSize, scale) => ({ at: [clamp(Math.floor(f(i * scale)), inSize)], weights: [1] }),
  "nearest-exact": (i, inSize, scale) => ({
    at: [clamp(Math.floor(f((i + 0.5) * scale)), inSize)],
    weights: [1],
  }),
  bilinear: (i, inSize, scale) => {
    const x = Math.max(0, center(i, scale));
    const low = clamp(Math.floor(x), inSize);
    const part = x - low;
    return { at: [low, clamp(low + 1, inSize)], weights: [1 - part, part] };
  },
  bicubic: (i, inSize, scale) => {
    const x = center(i, scale);
    const low = Math.floor(x);
    const around = [low - 1, low, low + 1, low + 2];
    return { at: around.map((k) => clamp(k, inSize)), weights: around.map((k) => cubic(x - k, -0.75)) };
  },
  "bilinear-antialiased": antialiased(1, (x) => Math.max(0, 1 - Math.abs(x))),
  "bicubic-antialiased": antialiased(2, (x) => cubic(x, -0.5)),
};

function antialiased(support: number, weight: (x: number) => number) {
  return (i: number, inSize: number, scale: number): Taps[number] => {
    const stretch = Math.max(scale, 1);
    const middle = scale * (i + 0.5);
    const from = Math.max(0, Math.trunc(middle - support * stretch + 0.5));
    const to = Math.min(inSize, Math.trunc(middle + support * stretch + 0.5));
    const at = Array.from({ length: to - from }, (_, k) => from + k);
    const raw = at.map((k) => weight((k - middle + 0.5) / stretch));
    const sum = raw.reduce((a, b) => a + b, 0);
    return { at, weights: raw.map((w) => w / sum) };
  };
}

const taps = (mode: InterpolationMode, inSize: number, outSize: number): Taps =>
  Array.from({ length: outSize }, (_, i) => tapsOf[mode](i, inSize, f(inSize / outSize)));

/**
 * [B, H, W, C] to [B, size.height, size.width, C]. The web UI's hires-fix modes are Latent = bilinear, and the
 * others by name.
 */
export function resizeValues(
  values: Values,
  { width, height }: Size,
  mode: InterpolationMode = "bilinear",
): Values {
  const [batch, inHeight, inWidth, channels] = values.shape as [number, number, number, number];
  checkSize({ width, height }, "the resized latents");
  if (!Object.hasOwn(tapsOf, mode)) {
    const guess = nearest(mode, Object.keys(tapsOf));
    throw new DiffusionError(
      "BAD_OPTION",
      `there is no mode "${mode}", there are ${Object.keys(tapsOf).join(", ")}`,
      {
        ...(guess && { hint: `Did you mean "${guess}"?` }),
      },
    );
  }
  const row = width * channels;
  const narrow = new Float32Array(batch * inHeight * row);
  const columns = taps(mode, inWidth, width);
  for (let line = 0, to = 0; line < batch * inHeight; line++)
    for (const { at, weights } of columns)
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0; k < at.length; k++)
          sum += values.data[(line * inWidth + at[k]!) * channels + c]! * weights[k]!;
        narrow[to++] = sum;
      }
  const data = new Float32Array(batch * height * row);
  const rows = taps(mode, inHeight, height);
  for (let b = 0, to = 0; b < batch; b++)
    for (const { at, weights } of rows)
      for (let i = 0; i < row; i++) {
        let sum = 0;
        for (let k = 0; k < at.length; k++) sum += narrow[(b * inHeight + at[k]!) * row + i]! * weights[k]!;
        data[to++] = sum;
      }
  return { shape: [batch, height, width, channels], data };
}
