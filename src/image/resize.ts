import { DiffusionError, demand, nearest } from "../errors.js";
import { channelsOf, checkSize, type Image, paste, type Region, type Size } from "./image.js";
import { premultiply, unpremultiply } from "./premultiply.js";

/**
 * Resampling as Pillow does it on 8-bit images (`src/libImaging/Resample.c`): coefficients in fixed point with
 * 22 fraction bits, rows first, rounded to 8 bits between the two passes (Pillow 13: columns first
 * where the height shrinks by more than twice as many pixels as the width). When an image shrinks, the filter is
 * stretched by the same factor (antialiasing). Arithmetic follows Pillow 13 to the bit.
 */

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

/** Keys's cubic convolution, "Cubic convolution interpolation for digital image processing" (1981), a = -0.5. */
function bicubic(x: number): number {
  const [t, a] = [Math.abs(x), -0.5];
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
}

const filters = {
  box: { support: 0.5, weight: (x: number) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x: number) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    // Pillow's two constants are single precision and do not add up to 1
    weight: (x: number) => {
      if (x === 0 || Math.abs(x) >= 1) return x === 0 ? 1 : 0;
      return sinc(x) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(x * Math.PI));
    },
  },
  bicubic: { support: 2, weight: bicubic },
  lanczos: { support: 3, weight: (x: number) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
} as const satisfies Record<Exclude<ResampleFilter, "nearest">, unknown>;

export type ResampleFilter = "nearest" | "box" | "bilinear" | "hamming" | "bicubic" | "lanczos";

/** stretch ignores the aspect ratio; crop fills the target and cuts the excess; fill fits inside and extends the edges. */
export type ResizeMode = "stretch" | "crop" | "fill";

/** For each output position the first input position and the fixed-point weights from there on. */
interface Coefficients {
  readonly first: Int32Array;
  readonly count: Int32Array;
  readonly weights: Int32Array;
  readonly stride: number;
}

const FRACTION_BITS = 22; // 32 bits less 8 for the result and 2 for overshoot

/** Weights to map the interval [from, to] of `inSize` pixels to `outSize` pixels. */
function coefficients(
  inSize: number,
  from: number,
  to: number,
  outSize: number,
  { support, weight }: (typeof filters)[keyof typeof filters],
): Coefficients {
  const scale = (to - from) / outSize;
  const stretch = Math.max(scale, 1);
  const reach = support * stretch;
  const stride = Math.ceil(reach) * 2 + 1;
  const [first, count] = [new Int32Array(outSize), new Int32Array(outSize)];
  const weights = new Int32Array(outSize * stride);
  const row = new Float64Array(stride);
  for (let i = 0; i < outSize; i++) {
    const center = from + (i + 0.5) * scale;
    const min = Math.max(Math.trunc(center - reach + 0.5), 0);
    const n = Math.min(Math.trunc(center + reach + 0.5), inSize) - min;
    let sum = 0;
    for (let k = 0; k < n; k++) {
      row[k] = weight((k + min - center + 0.5) * (1 / stretch));
      sum += row[k]!;
    }
    for (let k = 0; k < n; k++) {
      const fixed = (sum === 0 ? row[k]! : row[k]! / sum) * 2 ** FRACTION_BITS;
      weights[i * stride + k] = Math.trunc(fixed + (fixed < 0 ? -0.5 : 0.5));
    }
    first[i] = min;
    count[i] = n;
  }
  return { first, count, weights, stride };
}

interface Pixels extends Image {
  readonly channels: number;
}

function resampleRows({ width, height, channels, data: source }: Pixels, rows: Coefficients): Pixels {
  const outWidth = rows.first.length;
  const data = new Uint8Array(outWidth * height * channels);
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < outWidth; x++) {
      const start = (y * width + rows.first[x]!) * channels;
      for (let c = 0; c < channels; c++) data[to++] = weightedLevel(source, start + c, channels, rows, x);
    }
  return { width: outWidth, height, channels, data };
}

function resampleColumns({ width, channels, data: source }: Pixels, columns: Coefficients): Pixels {
  const [height, row] = [columns.first.length, width * channels];
  const data = new Uint8Array(height * row);
  for (let y = 0, to = 0; y < height; y++) {
    const start = columns.first[y]! * row;
    for (let i = 0; i < row; i++) data[to++] = weightedLevel(source, start + i, row, columns, y);
  }
  return { width, height, channels, data };
}

/** The weighted sum for output position `i` over bytes that lie `step` apart, rounded and cut to 0..255. */
function weightedLevel(
  source: Uint8Array,
  start: number,
  step: number,
  { count, weights, stride }: Coefficients,
  i: number,
): number {
  let sum = 1 << (FRACTION_BITS - 1);
  for (let k = 0, from = start, w = i * stride; k < count[i]!; k++, from += step, w++)
    sum += source[from]! * weights[w]!;
  const level = sum >> FRACTION_BITS;
  return Math.max(0, Math.min(255, level));
}

/** Pillow's nearest neighbour: positions are summed up, not multiplied, which decides ties. */
function nearestPositions(inSize: number, from: number, to: number, outSize: number): Int32Array {
  const step = (to - from) / outSize;
  const positions = new Int32Array(outSize);
  for (let i = 0, at = from + step * 0.5; i < outSize; i++, at += step)
    positions[i] = Math.min(Math.trunc(at), inSize - 1);
  return positions;
}

function resizeNearest(image: Image, size: Size, box: Region): Image {
  const channels = channelsOf(image);
  const columns = nearestPositions(image.width, box.left, box.right, size.width);
  const rows = nearestPositions(image.height, box.top, box.bottom, size.height);
  const data = new Uint8Array(size.width * size.height * channels);
  let to = 0;
  for (const row of rows)
    for (const column of columns) {
      const from = (row * image.width + column) * channels;
      for (let c = 0; c < channels; c++) data[to++] = image.data[from + c]!;
    }
  return { width: size.width, height: size.height, data };
}

/**
 * Resizes an image of 1, 3 or 4 channels exactly as Pillow's `Image.resize`. RGBA is resampled with
 * premultiplied alpha (except by `nearest`). `box` selects the part of the source; a box without extent repeats
 * the edge that it lies on.
 */
export function resize(
  image: Image,
  size: Size,
  filter: ResampleFilter = "lanczos",
  box: Region = wholeOf(image),
): Image {
  demand("size", size, "object");
  demand("filter", filter, "text");
  demand("box", box, "object");
  const channels = channelsOf(image);
  const { width, height } = size;
  checkSize(size, "the resized image");
  if (filter !== "nearest" && !Object.hasOwn(filters, filter)) throw unknownFilter(filter);
  const whole = box.left === 0 && box.top === 0 && box.right === image.width && box.bottom === image.height;
  if (whole && width === image.width && height === image.height)
    return { ...image, data: image.data.slice() };
  if (filter === "nearest") return resizeNearest(image, size, box);

  const alpha = channels === 4;
  let pixels: Pixels = { ...image, data: alpha ? premultiply(image.data) : image.data, channels };
  const passes = [
    () => {
      if (width !== image.width || box.left !== 0 || box.right !== width)
        pixels = resampleRows(pixels, coefficients(image.width, box.left, box.right, width, filters[filter]));
    },
    () => {
      if (height !== image.height || box.top !== 0 || box.bottom !== height)
        pixels = resampleColumns(
          pixels,
          coefficients(image.height, box.top, box.bottom, height, filters[filter]),
        );
    },
  ];
  const [lessHeight, lessWidth] = [image.height - height, image.width - width];
  if (lessHeight > 0 && lessHeight > 2 * lessWidth) passes.reverse();
  for (const pass of passes) pass();
  return { width, height, data: alpha ? unpremultiply(pixels.data) : pixels.data };
}

function wholeOf(image: Image): Region {
  demand("image", image, "picture");
  return { left: 0, top: 0, right: image.width, bottom: image.height };
}

function unknownFilter(filter: string): DiffusionError {
  const names = ["nearest", ...Object.keys(filters)];
  const guess = nearest(filter, names);
  return new DiffusionError("BAD_OPTION", `there is no filter "${filter}", there are ${names.join(", ")}`, {
    ...(guess && { hint: `Did you mean "${guess}"?` }),
  });
}

/**
 * An image brought to `size` by one of the three resize modes, which diffusers' VaeImageProcessor and the web UI
 * define alike: the two that keep the aspect ratio use Lanczos and centre the result; `fill` continues the first
 * and last row or column. Works on masks too.
 */
export function fitImage(image: Image, size: Size, mode: ResizeMode = "stretch"): Image {
  demand("image", image, "picture");
  demand("size", size, "object");
  checkSize(size, "the resized image");
  if (mode === "stretch") return resize(image, size);
  if (mode === "crop" || mode === "fill") return fitKeepingAspect(image, size, mode);
  throw new DiffusionError("BAD_OPTION", `resize mode must be stretch, crop or fill, got "${String(mode)}"`);
}

function fitKeepingAspect(image: Image, { width, height }: Size, mode: "crop" | "fill"): Image {
  const [target, source] = [width / height, image.width / image.height];
  const byWidth = mode === "crop" ? target > source : target < source;
  const exact = target === source;
  // a very long picture would round to a side of 0, where Pillow gives up
  const inner = {
    width: byWidth || exact ? width : Math.max(1, Math.floor((image.width * height) / image.height)),
    height: byWidth && !exact ? Math.max(1, Math.floor((image.height * width) / image.width)) : height,
  };
  const resized = resize(image, inner);
  const half = (n: number): number => Math.floor(n / 2);
  const [left, top] = [half(width) - half(inner.width), half(height) - half(inner.height)];
  const blank = { width, height, data: new Uint8Array(width * height * channelsOf(image)) };
  const placed = paste(blank, resized, left, top);
  if (mode === "crop" || exact) return placed;
  return byWidth ? extendRows(placed, resized, top) : extendColumns(placed, resized, left);
}

/** Pillow resamples a box without height here, so the strips are the edge row sharpened by the bicubic filter. */
function extendRows(canvas: Image, middle: Image, strip: number): Image {
  if (strip < 1) return canvas;
  const [size, { width, height }] = [{ width: canvas.width, height: strip }, middle];
  const above = resize(middle, size, "bicubic", { left: 0, top: 0, right: width, bottom: 0 });
  const below = resize(middle, size, "bicubic", { left: 0, top: height, right: width, bottom: height });
  return paste(paste(canvas, above, 0, 0), below, 0, strip + height);
}

function extendColumns(canvas: Image, middle: Image, strip: number): Image {
  if (strip < 1) return canvas;
  const [size, { width, height }] = [{ width: strip, height: canvas.height }, middle];
  const before = resize(middle, size, "bicubic", { left: 0, top: 0, right: 0, bottom: height });
  const after = resize(middle, size, "bicubic", { left: width, top: 0, right: width, bottom: height });
  return paste(paste(canvas, before, 0, 0), after, strip + width, 0);
}
