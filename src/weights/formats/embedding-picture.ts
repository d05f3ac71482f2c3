import { readFileSync, statSync } from "node:fs";
import { inflateSync } from "node:zlib";
import { isJsonObject, type Json, parseJson } from "../../disk/json.js";
import { DiffusionError } from "../../errors.js";
import { decodePng } from "../../image/png.js";
import type { TensorFile } from "./tensors.js";

/** Text of a PNG that holds an embedding: JSON in base64. */
const KEYWORD = "sd-ti-embedding";
/** 75 vectors of SDXL's two encoders take 3 MB as text. */
const MAX_TEXT = 64 * 2 ** 20;

/**
 * An embedding that the web UI (AUTOMATIC1111) wrote into a picture, `modules/textual_inversion/image_embedding.py`:
 * as the text "sd-ti-embedding", or, for pictures that lost their texts on the way, in the low bits of the pixels
 * left and right of the picture. Tensors are named as in its pickles, `string_to_param.*`.
 *
 * @throws DiffusionError FILE_FORMAT for pictures without one, BAD_IMAGE for what is no PNG
 */
export function openEmbeddingPicture(path: string): TensorFile {
  const bytes = readFileSync(path);
  const { image, text } = decodePng(bytes);
  const stored = text[KEYWORD];
  const json = stored === undefined ? hiddenText(image, path) : Buffer.from(stored, "base64").toString();
  const { word, tensors } = readEmbedding(json, path);
  const header = Buffer.from(JSON.stringify([...tensors].map(([name, { shape }]) => [name, shape])));
  const { mtimeMs: modified } = statSync(path);
  const data = (name: string): Float32Array<ArrayBuffer> => {
    const tensor = tensors.get(name);
    if (!tensor) throw new DiffusionError("WEIGHT_MISSING", `${path} has no tensor ${name}`);
    return tensor.data;
  };
  return {
    path,
    metadata: new Map(word === undefined ? [] : [["word", word]]),
    tensors: new Map(
      [...tensors].map(([name, { shape, data }]) => [
        name,
        { dtype: "F32", shape, offset: 0, bytes: data.byteLength },
      ]),
    ),
    header,
    size: bytes.length,
    modified,
    read: (name, [start, end] = [0, data(name).byteLength]) =>
      new Uint8Array(data(name).slice().buffer, start, end - start).slice(),
    readFloat32: (name) => data(name).slice(),
    close: () => {},
  };
}

interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** The text in the low four bits: a block of low and one of high halves of bytes, each beside a black column. */
function hiddenText(image: Pixels, path: string): string {
  const { left, right, top, bottom } = withoutBlackEdge(image);
  const columns = Array.from({ length: right - left }, (_, i) => left + i);
  const halves = (xs: readonly number[]) => unmasked(lowBits(image, xs, [top, bottom]));
  const black = columns.filter((x) => lowBits(image, [x], [top, bottom]).every((value) => value === 0));
  const [first, last] = [black[0], black.at(-1)];
  if (first === undefined || last === undefined || first === last) throw without(path);
  const low = halves(columns.filter((x) => x < first));
  const high = halves(columns.filter((x) => x > last));
  if (low.length === 0 || low.length !== high.length) throw without(path);
  try {
    const packed = low.map((value, i) => value | (high[i]! << 4));
    return inflateSync(packed, { maxOutputLength: MAX_TEXT }).toString();
  } catch (cause) {
    throw without(path, cause);
  }
}

const without = (path: string, cause?: unknown): DiffusionError =>
  new DiffusionError("FILE_FORMAT", `${path} is a picture without an embedding in it`, {
    cause,
    hint: "Pictures of embeddings must come as the web UI wrote them: PNG, not resized, not compressed again.",
  });

/** The part between the first and last rows and columns with a pixel that is above 0 in all channels. */
function withoutBlackEdge({ width, height, data }: Pixels) {
  const channels = data.length / (width * height);
  let [left, right, top, bottom] = [width, 0, height, 0];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * channels;
      if (data[at] === 0 || data[at + 1] === 0 || data[at + 2] === 0) continue;
      [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
    }
  return { left, right, top, bottom };
}

/** Of some columns, row by row, RGB. */
function lowBits(
  { width, height, data }: Pixels,
  xs: readonly number[],
  [top, bottom]: [number, number],
): Uint8Array<ArrayBuffer> {
  const channels = data.length / (width * height);
  const values = new Uint8Array(Math.max(0, bottom - top) * xs.length * 3);
  let to = 0;
  for (let y = top; y < bottom; y++)
    for (const x of xs) for (let c = 0; c < 3; c++) values[to++] = data[(y * width + x) * channels + c]! & 15;
  return values;
}

/** XOR with the low bits of a linear congruential generator (Numerical Recipes' constants), modulo 255. */
function unmasked(values: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  let state = 0;
  return values.map((value) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return value ^ ((state % 255) & 15);
  });
}

interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

/** `{ name, string_to_param: { "*": { TORCHTENSOR: [[…], …] } } }` */
function readEmbedding(json: string, path: string): { word?: string; tensors: Map<string, Tensor> } {
  const refuse = (what: string, cause?: unknown) =>
    new DiffusionError("FILE_FORMAT", `${path}: the embedding in this picture ${what}`, { cause });
  let value: Json;
  try {
    value = parseJson(json, "python");
  } catch (cause) {
    throw refuse(`cannot be read (${(cause as Error).message})`, cause);
  }
  const parameters = isJsonObject(value) ? value.string_to_param : undefined;
  if (!isJsonObject(value) || !isJsonObject(parameters)) throw refuse("has no string_to_param");
  const tensors = new Map(
    Object.entries(parameters).map(([name, entry]): [string, Tensor] => {
      const rows = isJsonObject(entry) ? entry.TORCHTENSOR : undefined;
      const tensor = rows === undefined ? undefined : numbers(rows);
      if (!tensor) throw refuse(`has no numbers of [vectors, width] under ${JSON.stringify(name)}`);
      return [`string_to_param.${name}`, tensor];
    }),
  );
  return { ...(typeof value.name === "string" && value.name !== "" && { word: value.name }), tensors };
}

/** Rows of one length, or a single row. */
function numbers(value: Json): Tensor | undefined {
  if (!Array.isArray(value)) return undefined;
  const rows = value.every(Array.isArray) ? (value as Json[][]) : [value];
  const width = rows[0]?.length ?? 0;
  const flat = rows.flat();
  if (rows.some((row) => row.length !== width) || !flat.every((x) => typeof x === "number")) return undefined;
  return { shape: [rows.length, width], data: Float32Array.from(flat as number[]) };
}
