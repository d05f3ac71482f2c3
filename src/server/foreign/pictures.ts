import sharp from "sharp";
import type { Image, Size } from "../../image/image.js";
import { readImageTexts } from "../../image/parameters-text.js";
import { encodePng } from "../../image/png.js";
import { readImage } from "../../image/read.js";
import { type ControlMap, controlMap } from "./control-maps.js";
import { tooManyPixels } from "./messages.js";

/** A picture as it came, and what may be decoded of it. */
export interface Given {
  readonly bytes: Uint8Array;
  /** Pixels of one picture, at most. */
  readonly most: number;
  /** Pixels that the request may still bring. */
  readonly left: number;
}

/** A stranger's picture, decoded and written anew: only our own bytes are kept, worked on and served. */
export interface Plain extends Size {
  readonly png: Uint8Array;
}

export interface MaskReading {
  /** What real transparency means: OpenAI's clients rub out what is to be repainted, those of the web UI paint it. */
  readonly repaint: "transparent" | "opaque";
  /** Nothing is made of a picture without transparency. */
  readonly onlyTransparent?: boolean;
  /** What is to be repainted is what it leaves out. */
  readonly invert?: boolean;
}

/** What is done with strangers' pictures, each with the pixels that it took. */
export const pictureTasks = {
  plain: (given: Given) => made(given, (image) => image),
  /** Nothing is made of a mask that repaints nothing. */
  mask: ({ repaint, onlyTransparent = false, invert = false, ...given }: Given & MaskReading) =>
    made(given, (image) => {
      if (onlyTransparent && !hasTransparency(image)) return undefined;
      const plain = plainMask(image, { repaint, invert });
      return plain.data.some((level) => level > 0) ? plain : undefined;
    }),
  control: ({ map, ...given }: Given & { readonly map: ControlMap }) =>
    made(given, (image) => controlMap(image, map, given.most)),
  /** As its header says it; 0 x 0 for what cannot be read, which is told where it is decoded. */
  async size({ bytes }: Given): Promise<{ result: Size; pixels: number }> {
    return { result: await sizeOf(bytes), pixels: 0 };
  },
  /** Texts of a picture that can be decoded; others are refused, whatever they carry. */
  async texts(given: Given) {
    const { width, height } = await decoded(given);
    return { result: await readImageTexts(given.bytes), pixels: width * height };
  },
};
export type PictureTasks = typeof pictureTasks;

async function made<Result extends Image | undefined>(
  given: Given,
  make: (image: Image) => Result,
): Promise<{ result: Result extends undefined ? undefined : Plain; pixels: number }>;
async function made(given: Given, make: (image: Image) => Image | undefined) {
  const image = await decoded(given);
  const result = make(image);
  const pixels = image.width * image.height;
  if (!result) return { result: undefined, pixels };
  const { width, height } = result;
  return { result: { width, height, png: encodePng(result) }, pixels };
}

async function sizeOf(bytes: Uint8Array): Promise<Size> {
  const { width = 0, height = 0 } = await sharp(bytes, { limitInputPixels: false })
    .metadata()
    .catch(() => ({ width: 0, height: 0 }));
  return { width, height };
}

/** Sizes first, pixels after. */
async function decoded({ bytes, most, left }: Given): Promise<Image> {
  const { width, height } = await sizeOf(bytes);
  if (width * height > left && width * height <= most) throw tooManyPixels();
  return readImage(bytes, { maxPixels: Math.min(most, left) });
}

const hasAlpha = ({ width, height, data }: Image): boolean => data.length === width * height * 4;

function hasTransparency(image: Image): boolean {
  if (!hasAlpha(image)) return false;
  for (let i = 3; i < image.data.length; i += 4) if (image.data[i]! < 255) return true;
  return false;
}

/** What a mask means, made plain for the library: RGB, white = repaint. */
function plainMask(mask: Image, { repaint, invert }: Required<Omit<MaskReading, "onlyTransparent">>): Image {
  const pixels = mask.width * mask.height;
  const channels = hasAlpha(mask) ? 4 : 3;
  const at = (i: number, channel: number) => mask.data[i * channels + channel]!;
  const transparent = hasTransparency(mask);
  const data = new Uint8Array(pixels * 3);
  for (let i = 0; i < pixels; i++) {
    const light = Math.round(0.299 * at(i, 0) + 0.587 * at(i, 1) + 0.114 * at(i, 2));
    const painted = transparent ? (at(i, 3) > 128 === (repaint === "opaque") ? 255 : 0) : light;
    data.fill(invert ? 255 - painted : painted, i * 3, i * 3 + 3);
  }
  return { width: mask.width, height: mask.height, data };
}
