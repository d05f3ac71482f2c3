import { DiffusionError } from "../errors.js";
import { mirror } from "../latents/extent.js";
import type { Values } from "../latents/latents.js";
import { resizeValues } from "../latents/upscale.js";
import { flatten } from "./convert.js";
import { gaussianBlur } from "./filters.js";
import { channelsOf, crop, type Image, type Mask, type Region } from "./image.js";

/** How far a picture is to grow on each side, in pixels. */
export interface Margins {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export interface OutpaintCanvas {
  /** The grown picture, RGB; both sides are multiples of the factor. */
  readonly image: Image;
  /** 255 = repaint: everything new and `overlap` pixels of the source beside it. */
  readonly mask: Mask;
  /** The same with a ramp from 255 to 0 across the overlap, for `applyOverlay`. */
  readonly feather: Mask;
  /** 255 outside the source, falling to 0 over `BAND` pixels inside: when a pixel is released (differential diffusion). */
  readonly released: Mask;
  /** Where the source lies on the canvas. */
  readonly source: Region;
  /** The part of the canvas that was asked for; the rest only fills up to the factor. */
  readonly crop: Region;
  readonly margins: Margins;
}

/** Pixels of the source beside a new area over which it is released later and later. */
const BAND = 32;

const MOST_PIXELS = 2 ** 26; // 8192 x 8192: beyond it the copies in floats take gigabytes
const sides = ["left", "top", "right", "bottom"] as const;

/** All four margins; throws unless they are whole numbers of at least 0 and one of them is not 0. */
export function checkMargins(margins: Partial<Margins>): Margins {
  const all = { left: 0, top: 0, right: 0, bottom: 0, ...margins };
  for (const side of sides)
    if (!Number.isSafeInteger(all[side]) || all[side] < 0)
      throw new DiffusionError(
        "BAD_OPTION",
        `the ${side} margin must be a whole number of pixels of at least 0, got ${all[side]}`,
      );
  const unknown = Object.keys(margins).find((key) => !sides.some((side) => side === key));
  if (unknown)
    throw new DiffusionError("BAD_OPTION", `there is no side "${unknown}", there are ${sides.join(", ")}`);
  if (sides.every((side) => all[side] === 0))
    throw new DiffusionError("BAD_OPTION", "no side to expand: all margins are 0", {
      hint: "Give at least one, as in { left: 128 }.",
    });
  return all;
}

/**
 * Large margins split into passes that each add at most `most` pixels to a side, so that every pass sees enough
 * of the picture; in multiples of 8 as long as there is enough left.
 */
export function outpaintPasses(margins: Partial<Margins>, most = 128): Margins[] {
  const left = { ...checkMargins(margins) };
  if (!Number.isSafeInteger(most) || most < 8)
    throw new DiffusionError("BAD_OPTION", `a pass must be allowed to add at least 8 pixels, got ${most}`);
  const step = most - (most % 8);
  const count = Math.max(...sides.map((side) => Math.ceil(left[side] / step)));
  return Array.from({ length: count }, (_, i) => {
    const pass = { left: 0, top: 0, right: 0, bottom: 0 };
    for (const side of sides) {
      pass[side] = Math.min(left[side], Math.ceil(left[side] / (count - i) / 8) * 8);
      left[side] -= pass[side];
    }
    return pass;
  });
}

/** Length and offset along one axis, filled up to a multiple outside the margin that is wanted (else at the end). */
function axis(length: number, before: number, after: number, multiple: number) {
  const wanted = before + length + after;
  const total = Math.ceil(wanted / multiple) * multiple;
  const lead = before > 0 && after === 0 ? total - wanted : 0;
  return { total, source: [lead + before, lead + before + length], crop: [lead, lead + wanted] } as const;
}

/**
 * A canvas for outpainting. The new area shows the source mirrored at its edges. With `noise` (standard normal
 * draws) the edge's pixels go on instead and dissolve with the distance: into a blur, and noise with the colour
 * covariance of the detail along the edge, so that the network starts from the right colours and contrast, and from
 * no reflection of what stands farther inside. The source itself is copied bit by bit.
 *
 * `overlap` (default 8, as the web UI's outpainting) is how many pixels of the source beside a new area are
 * repainted and blended; 0 leaves the source untouched. It is cut to a quarter of the source's shorter side.
 */
export function outpaintCanvas(
  picture: Image,
  margins: Partial<Margins>,
  options: { multiple?: number; overlap?: number; noise?: (count: number) => Float32Array } = {},
): OutpaintCanvas {
  const { multiple = 8, noise } = options;
  const grown = checkMargins(margins);
  if (channelsOf(picture) === 4)
    throw new DiffusionError("BAD_IMAGE", "a picture to expand must be RGB, got RGBA", {
      hint: "Call flatten on it first.",
    });
  const rgb = flatten(picture, "drop");
  const x = axis(rgb.width, grown.left, grown.right, multiple);
  const y = axis(rgb.height, grown.top, grown.bottom, multiple);
  if (x.total * y.total > MOST_PIXELS)
    throw new DiffusionError(
      "BAD_OPTION",
      `margins ${JSON.stringify(grown)} would make a picture of ${x.total}x${y.total}, more than ${MOST_PIXELS} pixels`,
      { hint: "Use smaller margins." },
    );
  const overlap = checkOverlap(options.overlap ?? 8, rgb);
  const source = { left: x.source[0], top: y.source[0], right: x.source[1], bottom: y.source[1] };
  const size = { width: x.total, height: y.total };
  const mirrored = mirrorAround(rgb, source, size.width, size.height);
  const feather = maskOf(size.width, size.height, (px, py) => {
    const depth = depthInside(px, py, source, grown);
    return depth < 0 ? 255 : Math.max(0, Math.round((255 * (overlap - depth)) / (overlap + 1)));
  });
  const mask = { ...feather, data: feather.data.map((v) => (v > 0 ? 255 : 0)) };
  const band = checkOverlap(BAND, rgb);
  const released = maskOf(size.width, size.height, (px, py) => {
    const depth = depthInside(px, py, source, grown);
    return depth < 0 ? 255 : Math.max(0, Math.round((255 * (band - depth)) / (band + 1)));
  });
  return {
    image: noise ? dissolve(mirrored, { source, margins: grown }, noise) : mirrored,
    mask,
    feather,
    released: overlap > 0 ? released : mask,
    source,
    crop: { left: x.crop[0], top: y.crop[0], right: x.crop[1], bottom: y.crop[1] },
    margins: grown,
  };
}

function checkOverlap(overlap: number, { width, height }: Image): number {
  if (!Number.isSafeInteger(overlap) || overlap < 0)
    throw new DiffusionError(
      "BAD_OPTION",
      `the overlap must be a whole number of at least 0, got ${overlap}`,
    );
  return Math.min(overlap, Math.floor(Math.min(width, height) / 4));
}

/**
 * A soft band along the edges of the source for a second pass at low strength, which repaints what is left of a
 * seam: 255 within half of `reach` pixels on both sides, falling to 0 at `reach`.
 */
export function seamMask({ image, source, margins }: OutpaintCanvas, reach: number): Mask {
  if (!(reach >= 1))
    throw new DiffusionError("BAD_OPTION", `the seam's reach must be at least 1, got ${reach}`);
  return maskOf(image.width, image.height, (x, y) => {
    const distance = Math.abs(depthInside(x, y, source, margins) + 0.5);
    return Math.max(0, Math.min(255, Math.round((510 * (reach - distance)) / reach)));
  });
}

function maskOf(width: number, height: number, level: (x: number, y: number) => number): Mask {
  const data = new Uint8Array(width * height);
  for (let y = 0, i = 0; y < height; y++) for (let x = 0; x < width; x++) data[i++] = level(x, y);
  return { width, height, data };
}

/** Pixels from here to the nearest new area: 0 for the outermost row of the source, negative outside it. */
function depthInside(x: number, y: number, source: Region, margins: Margins): number {
  return Math.min(
    margins.left > 0 ? x - source.left : Number.POSITIVE_INFINITY,
    margins.right > 0 ? source.right - 1 - x : Number.POSITIVE_INFINITY,
    margins.top > 0 ? y - source.top : Number.POSITIVE_INFINITY,
    margins.bottom > 0 ? source.bottom - 1 - y : Number.POSITIVE_INFINITY,
  );
}

function mirrorAround(image: Image, { left, top }: Region, width: number, height: number): Image {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const from = (mirror(y - top, image.height) * image.width + mirror(x - left, image.width)) * 3;
      for (let c = 0; c < 3; c++) data[to++] = image.data[from + c]!;
    }
  return { width, height, data };
}

/** Size of the noise's blobs in pixels: about a latent cell, so that the VAE does not average them away. */
const GRAIN = 8;

function dissolve(
  canvas: Image,
  { source, margins }: { source: Region; margins: Margins },
  noise: (count: number) => Float32Array,
): Image {
  const reach = Math.max(...sides.map((side) => margins[side]));
  const radius = Math.max(2, reach / 8);
  const extended = extendedAround(canvas, source);
  const [blurred, smooth] = [gaussianBlur(extended, radius), gaussianBlur(canvas, radius)];
  const strips = edgeStrips(source, margins);
  const mix = lowerTriangle(
    meanOf(strips.map((strip) => covariance(crop(canvas, strip), crop(smooth, strip)))),
  );
  const cells = [Math.ceil(canvas.height / GRAIN), Math.ceil(canvas.width / GRAIN)] as const;
  const drawn: Values = { shape: [1, ...cells, 3], data: noise(cells[0] * cells[1] * 3) };
  const grain = resizeValues(drawn, canvas, "bicubic").data;
  const data = canvas.data.slice();
  for (let y = 0, i = 0; y < canvas.height; y++)
    for (let x = 0; x < canvas.width; x++, i += 3) {
      const depth = depthInside(x, y, source, margins);
      if (depth >= 0) continue;
      const share = Math.min(1, -depth / (reach / 2));
      for (let c = 0; c < 3; c++) {
        let shaped = 0;
        for (let k = 0; k <= c; k++) shaped += mix[c]![k]! * grain[i + k]!;
        const level = extended.data[i + c]! + share * (blurred.data[i + c]! + shaped - extended.data[i + c]!);
        data[i + c] = Math.max(0, Math.min(255, Math.round(level)));
      }
    }
  return { ...canvas, data };
}

/** The canvas with the outermost pixels of the source repeated outside it. */
function extendedAround({ width, height, data: from }: Image, source: Region): Image {
  const data = new Uint8Array(from.length);
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < width; x++, to += 3) {
      const nearX = Math.min(source.right - 1, Math.max(source.left, x));
      const nearY = Math.min(source.bottom - 1, Math.max(source.top, y));
      for (let c = 0; c < 3; c++) data[to + c] = from[(nearY * width + nearX) * 3 + c]!;
    }
  return { width, height, data };
}

/** The strips of the source beside the new areas, whose contrast goes on there: a plain edge stays plain. */
function edgeStrips(source: Region, margins: Margins): Region[] {
  const [width, height] = [source.right - source.left, source.bottom - source.top];
  const [across, down] = [Math.min(BAND, width), Math.min(BAND, height)];
  const strips: Record<keyof Margins, Region> = {
    left: { ...source, right: source.left + across },
    right: { ...source, left: source.right - across },
    top: { ...source, bottom: source.top + down },
    bottom: { ...source, top: source.bottom - down },
  };
  return sides.filter((side) => margins[side] > 0).map((side) => strips[side]);
}

const meanOf = (matrices: readonly number[][][]): number[][] =>
  matrices[0]!.map((row, a) =>
    row.map((_, b) => matrices.reduce((sum, m) => sum + m[a]![b]!, 0) / matrices.length),
  );

/** 3x3 covariance over the pixels of the detail: the picture less its blur. */
function covariance(picture: Image, blurred: Image): number[][] {
  const sums = [
    [0, 0, 0],
    [0, 0, 0],
    [0, 0, 0],
  ];
  const detail = Float64Array.from(picture.data, (v, i) => v - blurred.data[i]!);
  for (let i = 0; i < detail.length; i += 3)
    for (let a = 0; a < 3; a++) for (let b = 0; b < 3; b++) sums[a]![b]! += detail[i + a]! * detail[i + b]!;
  return sums.map((row) => row.map((sum) => sum / (detail.length / 3)));
}

/** Cholesky factor L of a 3x3 covariance, L L^T = covariance; rows without variance are 0. */
function lowerTriangle(matrix: number[][]): number[][] {
  const lower = [[0], [0, 0], [0, 0, 0]];
  for (let i = 0; i < 3; i++)
    for (let j = 0; j <= i; j++) {
      let rest = matrix[i]![j]!;
      for (let k = 0; k < j; k++) rest -= lower[i]![k]! * lower[j]![k]!;
      if (i === j) lower[i]![j] = Math.sqrt(Math.max(0, rest));
      else lower[i]![j] = lower[j]![j]! > 1e-6 ? rest / lower[j]![j]! : 0;
    }
  return lower;
}
