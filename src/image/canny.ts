import { DiffusionError } from "../errors.js";
import { channelsOf, type Image, type Mask } from "./image.js";

export interface CannyOptions {
  /** Edges of this strength are kept where they touch a stronger one. Default 100. */
  readonly low?: number;
  /** Edges of this strength are kept. Default 200. */
  readonly high?: number;
  /** Strength of a gradient: the sum of its two parts (default), or their Euclidean length. */
  readonly norm?: "l1" | "l2";
}

/**
 * Edges by Canny's method ("A computational approach to edge detection", 1986), to the bit as OpenCV's `Canny`
 * with its 3x3 Sobel kernels: 255 on an edge, 0 elsewhere. Of several channels the one with the strongest gradient
 * counts at each pixel; alpha is ignored. Thresholds in the wrong order are exchanged.
 */
export function canny(image: Image | Mask, options: CannyOptions = {}): Mask {
  const { low = 100, high = 200, norm = "l1" } = options;
  for (const [name, value] of Object.entries({ low, high }))
    if (!(value >= 0 && Number.isFinite(value)))
      throw new DiffusionError("BAD_OPTION", `canny's ${name} must be a number of at least 0, got ${value}`);
  const thresholds = [Math.min(low, high), Math.max(low, high)].map((value) =>
    norm === "l2" ? Math.floor(Math.min(32767, value) ** 2) : Math.floor(value),
  ) as [number, number];
  const { width, height } = image;
  return { width, height, data: traced(ridges(gradients(image, norm), thresholds), { width, height }) };
}

/** Derivatives and strengths, with a frame of one pixel of strength 0. */
interface Gradients {
  readonly width: number; // with the frame
  readonly height: number;
  readonly dx: Int32Array;
  readonly dy: Int32Array;
  readonly strength: Int32Array;
}

/** Sobel's derivatives; the picture's edge is repeated outside. */
function gradients(image: Image | Mask, norm: "l1" | "l2"): Gradients {
  const channels = channelsOf(image);
  const colours = Math.min(3, channels);
  const { width: w, height: h, data } = image;
  const [width, height] = [w + 2, h + 2];
  const [dx, dy, strength] = [0, 0, 0].map(() => new Int32Array(width * height)) as [
    Int32Array,
    Int32Array,
    Int32Array,
  ];
  for (let y = 0; y < h; y++) {
    const above = Math.max(0, y - 1) * w * channels;
    const here = y * w * channels;
    const below = Math.min(h - 1, y + 1) * w * channels;
    for (let x = 0; x < w; x++) {
      const left = Math.max(0, x - 1) * channels;
      const middle = x * channels;
      const right = Math.min(w - 1, x + 1) * channels;
      const at = (y + 1) * width + x + 1;
      let strongest = -1;
      for (let c = 0; c < colours; c++) {
        const downRight = data[below + right + c]! - data[above + left + c]!;
        const downLeft = data[below + left + c]! - data[above + right + c]!;
        const across = downRight - downLeft + 2 * (data[here + right + c]! - data[here + left + c]!);
        const down = downRight + downLeft + 2 * (data[below + middle + c]! - data[above + middle + c]!);
        const found = norm === "l2" ? across * across + down * down : Math.abs(across) + Math.abs(down);
        if (found <= strongest) continue;
        strongest = found;
        dx[at] = across;
        dy[at] = down;
        strength[at] = found;
      }
    }
  }
  return { width, height, dx, dy, strength };
}

const [WEAK, STRONG] = [1, 2] as const;

/** tan(22.5 degrees) with 15 fraction bits. */
const TANGENT = Math.trunc((Math.SQRT2 - 1) * 2 ** 15 + 0.5);

/** Pixels that are stronger than their two neighbours along the gradient, and how strong; framed. */
function ridges({ width, height, dx, dy, strength }: Gradients, [low, high]: [number, number]): Uint8Array {
  const marks = new Uint8Array(width * height);
  for (let y = 1; y < height - 1; y++)
    for (let at = y * width + 1; at < (y + 1) * width - 1; at++) {
      const here = strength[at]!;
      if (here <= low) continue;
      const across = Math.abs(dx[at]!);
      const down = Math.abs(dy[at]!) * 2 ** 15;
      const flat = across * TANGENT;
      const isDiagonal = down >= flat && down <= flat + across * 2 ** 16;
      const slope = (dx[at]! ^ dy[at]!) < 0 ? -1 : 1;
      const step = isDiagonal ? width + slope : down < flat ? 1 : width;
      const before = strength[at - step]!;
      const after = strength[at + step]!;
      // On a plateau the first pixel is the ridge, save on diagonals.
      if (here > before && (isDiagonal ? here > after : here >= after))
        marks[at] = here > high ? STRONG : WEAK;
    }
  return marks;
}

/** 255 on strong ridges and on the weak ones that hang together with them, without the frame. */
function traced(marks: Uint8Array, { width, height }: { width: number; height: number }): Uint8Array {
  const framed = width + 2;
  const around = [-framed - 1, -framed, -framed + 1, -1, 1, framed - 1, framed, framed + 1];
  const open: number[] = [];
  marks.forEach((mark, at) => {
    if (mark === STRONG) open.push(at);
  });
  for (let at = open.pop(); at !== undefined; at = open.pop())
    for (const step of around) {
      if (marks[at + step] !== WEAK) continue;
      marks[at + step] = STRONG;
      open.push(at + step);
    }
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      data[y * width + x] = marks[(y + 1) * framed + x + 1] === STRONG ? 255 : 0;
  return data;
}
