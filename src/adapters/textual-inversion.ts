import { basename, extname } from "node:path";
import { DiffusionError, demand } from "../errors.js";
import type { Values } from "../latents/latents.js";
import { looksLike } from "../weights/file-kinds.js";
import { openTensorFile } from "../weights/formats/tensor-file.js";
import type { AdapterFile } from "../weights/formats/tensors.js";

/** Widths of the model's text encoders; only SDXL has the second. */
export interface EncoderWidths {
  readonly text_encoder: number;
  readonly text_encoder_2?: number;
}

/** A word whose embeddings were learned (arXiv:2208.01618). */
export interface TextualInversion {
  /** What to write in a prompt; give it to `Tokenizer.withWords`, with `vectors`. */
  readonly word: string;
  /** How many tokens the word stands for. */
  readonly vectors: number;
  /** The rows for each encoder's table, [vectors, width]. */
  readonly rows: { readonly text_encoder: Values; readonly text_encoder_2?: Values };
}

/** What SDXL's files call their two encoders: the community, and diffusers' training scripts. */
const pairs = [
  ["clip_l", "clip_g"],
  ["text_encoders_0", "text_encoders_1"],
] as const;

/**
 * Layouts that carry no word: the web UI's, as safetensors and as pickle (whose placeholder, mostly "*", is that of the
 * training, not the word), and a bare tensor.
 */
const nameless = /^(emb_params|string_to_param\..*|clip_[lg]|text_encoders_[01]|)$/;
/** What the pickles of training scripts hold besides. */
const ignored = /^(string_to_token\.|optimizer|global_step)/;

/**
 * Reads a textual inversion in any of its layouts: `{"<word>": rows}` (diffusers), `emb_params` and
 * `string_to_param` (web UI, also in a PNG), `clip_l` and `clip_g` (SDXL), or a bare tensor.
 *
 * @param options.word what to call it; default: the name in the file, else the file's own name without its ending
 * @throws DiffusionError WEIGHT_SHAPE for another model family's, FILE_FORMAT for what is none
 */
export function readTextualInversion(
  file: AdapterFile,
  widths: EncoderWidths,
  options: { readonly word?: string } = {},
): TextualInversion {
  const names = [...file.tensors.keys()].filter((name) => !ignored.test(name));
  const read = (name: string) => readRows(file, name);
  const isLone = widths.text_encoder_2 === undefined;
  const isSingle = names.length === 1 && pairs.some(([a, b]) => names[0] === a || (isLone && names[0] === b));
  const pair = isSingle ? undefined : pairs.find((both) => both.some((name) => names.includes(name)));
  if (pair) {
    const [first, second] = pair;
    const missing = pair.find((name) => !names.includes(name));
    if (missing) throw refuse(file, `has ${names.join(", ")}, but no ${missing}`);
    const rows = { text_encoder: read(first), text_encoder_2: read(second) };
    return checked(file, options.word ?? ownName(file), rows, widths);
  }
  const [name] = names;
  if (name === undefined || names.length > 1)
    throw refuse(
      file,
      names.length === 0
        ? "holds no embedding"
        : `holds ${names.length} tensors (${names.slice(0, 5).join(", ")}), expected the one of a word`,
    );
  const word = options.word ?? (nameless.test(name) ? ownName(file) : name);
  return checked(file, word, { text_encoder: read(name) }, widths);
}

/** How large a learned word is, whatever model it was made for. */
export interface LearnedWord {
  /** Tokens that it takes up. */
  readonly vectors: number;
  /** Of the (first) text encoder that it was made for. */
  readonly width: number;
}

/**
 * Looks at a file of a learned word (textual inversion).
 *
 * @throws DiffusionError FILE_FORMAT for what is none
 */
export function describeLearnedWord(path: string): LearnedWord {
  demand("path", path, "text");
  const file = openTensorFile(path);
  try {
    const names = [...file.tensors.keys()].filter((name) => !ignored.test(name));
    const pair = pairs.find(([first]) => names.includes(first));
    const name = pair ? pair[0] : names.length === 1 ? names[0] : undefined;
    if (name === undefined) throw refuse(file, `holds ${names.length} tensors`);
    const [vectors = 0, width = 0] = readRows(file, name).shape;
    return { vectors, width };
  } finally {
    file.close();
  }
}

/** A text encoder's table with new rows from `firstId` on, where the tokenizer starts to count new words. */
export function extendEmbeddings(table: Values, firstId: number, added: readonly Values[]): Values {
  const [count = 0, width = 0] = table.shape;
  const more = added.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const rows = Math.max(count, firstId + more);
  const data = new Float32Array(rows * width);
  data.set(table.data);
  let at = firstId * width;
  for (const { data: values } of added) {
    data.set(values, at);
    at += values.length;
  }
  return { shape: [rows, width], data };
}

/** Pictures say what their word is. */
const ownName = ({ path, metadata }: AdapterFile): string =>
  metadata?.get("word") ?? basename(path, extname(path));

const refuse = ({ path, tensors }: AdapterFile, what: string): DiffusionError => {
  const other = looksLike(tensors.keys(), "word");
  const why = other ? `it looks like ${other}` : `it ${what}`;
  return new DiffusionError("FILE_FORMAT", `${path} is no textual inversion: ${why}`, {
    hint: 'Expected one tensor [vectors, width] under the word\'s name or "emb_params", or clip_l and clip_g.',
  });
};

/** One vector may lie without its first axis. */
function readRows(file: AdapterFile, name: string): Values {
  const { shape, dtype } = file.tensors.get(name)!;
  const rows = shape.length === 1 ? [1, ...shape] : shape;
  if (rows.length !== 2 || !rows[0] || !rows[1] || !/^B?F\d+$/.test(dtype))
    throw refuse(file, `has ${name || "a tensor"} as ${dtype} [${shape}], expected [vectors, width]`);
  return { shape: rows, data: file.readFloat32(name) };
}

function checked(
  file: AdapterFile,
  word: string,
  rows: TextualInversion["rows"],
  widths: EncoderWidths,
): TextualInversion {
  const [vectors = 0, width = 0] = rows.text_encoder.shape;
  const [vectors2, width2] = rows.text_encoder_2?.shape ?? [];
  if (vectors2 !== undefined && vectors2 !== vectors)
    throw refuse(file, `has ${vectors} vectors for one text encoder and ${vectors2} for the other`);
  // Of XL's two, its refiner has the second.
  const second = widths.text_encoder_2 === undefined ? rows.text_encoder_2 : undefined;
  if (second && width2 === widths.text_encoder) return { word, vectors, rows: { text_encoder: second } };
  if (width === widths.text_encoder && width2 === widths.text_encoder_2) return { word, vectors, rows };
  if (looksLike(file.tensors.keys(), "word")) throw refuse(file, "has rows of another width");
  throw new DiffusionError(
    "WEIGHT_SHAPE",
    `${file.path} was made for ${family(width, width2)}; this model is ${family(widths.text_encoder, widths.text_encoder_2)}`,
    { hint: `Use an embedding that was made for this model's family, or a model of the embedding's.` },
  );
}

/** The family by the widths of its text encoders. */
function family(width: number, second: number | undefined): string {
  const widths = second === undefined ? `width ${width}` : `widths ${width} and ${second}`;
  const known = new Map([
    ["width 768", "Stable Diffusion 1"],
    ["width 1024", "Stable Diffusion 2"],
    ["widths 768 and 1280", "Stable Diffusion XL"],
  ]).get(widths);
  if (known) return `${known} (text ${widths})`;
  return second === undefined ? `a model of text ${widths}` : `a model with two text encoders (${widths})`;
}
