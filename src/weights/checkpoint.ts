import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { isJsonObject, quoted, readJsonObject } from "../disk/json.js";
import { DiffusionError, internal, nearest } from "../errors.js";
import { bitsOf, isFloat, toFloat32 } from "./formats/dtypes.js";
import { openTensorFile } from "./formats/tensor-file.js";
import type { TensorFile } from "./formats/tensors.js";
import type { LowRank } from "./low-rank.js";
import { notFloat } from "./quantised.js";
import { isShardName } from "./weight-names.js";

/** The named tensors of one network, open for reading, in PyTorch's layout and under diffusers' current names. */
export interface Checkpoint {
  /** The file, or the index of its shards. */
  readonly path: string;
  /** The same for the same weights in the same place, another after any of them changed; a key for this process. */
  readonly id: string;
  /** What it is made of, for a key that holds in other places too (content-key.ts). */
  readonly stored?: { readonly files: readonly FoundFile[]; readonly use: unknown };
  readonly tensors: ReadonlyMap<string, { readonly dtype: string; readonly shape: readonly number[] }>;
  /** Tensors that adapters have changed, and a key for caches of those; `id` goes for the others. */
  readonly changed?: {
    readonly id: string;
    readonly names: ReadonlySet<string>;
    /** What is added to the tensor under `id`, where that is all, and two thin matrices. */
    readonly lowRank?: (name: string) => LowRank | undefined;
  };
  /** Little-endian values as they are stored, in a buffer of their own. */
  read(name: string): Uint8Array<ArrayBuffer>;
  readFloat32(name: string): Float32Array;
  close(): void;
}

/** A file of tensors as it was found, by which it is recognised without being read whole. */
export interface FoundFile {
  /** Without links. */
  readonly path: string;
  readonly size: number;
  /** Milliseconds. */
  readonly modified: number;
  /** A hash of its header and of a few values. */
  readonly samples: string;
}

/** Where a tensor comes from, when it is not simply stored under its name. */
export interface Origin {
  /** The name in the file. */
  readonly from: string;
  /** A range of the first axis (fused projections). */
  readonly rows?: readonly [start: number, end: number];
  /** The two axes change places. */
  readonly transposed?: boolean;
  /** The shape after that, when axes of length 1 are dropped. */
  readonly shape?: readonly number[];
}

export type Tensors = ReadonlyMap<string, { readonly dtype: string; readonly shape: readonly number[] }>;

/** From the tensors of a file to those of a network: new name to origin. What is not named is not seen. */
export type Mapping = (stored: Tensors) => ReadonlyMap<string, Origin>;

/**
 * Opens one file as a network's weights.
 *
 * @throws DiffusionError as `openTensorFile`
 */
export function openCheckpoint(path: string, mapping: Mapping = currentNames): Checkpoint {
  const file = openTensorFile(path);
  try {
    const stored = new Map([...file.tensors.keys()].map((name) => [name, file]));
    return assemble(path, [file], stored, mapping);
  } catch (error) {
    file.close();
    throw error;
  }
}

/**
 * Opens a network's weights that are split over several files, from their `….index.json`.
 *
 * @throws DiffusionError FILE_FORMAT for an index that names other folders, FILE_MISSING for an absent shard,
 * WEIGHT_MISSING for a tensor that its shard lacks
 */
export function openShards(indexPath: string): Checkpoint {
  const files = new Map<string, TensorFile>();
  try {
    const stored = new Map<string, TensorFile>();
    for (const [name, shard] of readShardIndex(indexPath)) {
      const file = files.get(shard) ?? openTensorFile(join(dirname(indexPath), shard));
      files.set(shard, file);
      if (!file.tensors.has(name))
        throw new DiffusionError(
          "WEIGHT_MISSING",
          `${file.path} lacks ${name}, which ${indexPath} promises`,
          {
            hint: "Index and shards are of different versions; download the folder again.",
          },
        );
      stored.set(name, file);
    }
    return assemble(indexPath, [...files.values()], stored, currentNames);
  } catch (error) {
    for (const file of files.values()) file.close();
    throw error;
  }
}

/** Tensor name to file name of a shard index, every file name checked to be one beside the index. */
export function readShardIndex(indexPath: string): Map<string, string> {
  const { weight_map } = readJsonObject(indexPath);
  if (!isJsonObject(weight_map))
    throw new DiffusionError("FILE_FORMAT", `${indexPath}: expected a weight_map from tensors to files`);
  const shards = new Map<string, string>();
  for (const [name, shard] of Object.entries(weight_map)) {
    if (!isShardName(shard))
      throw new DiffusionError(
        "FILE_FORMAT",
        `${indexPath}: ${quoted(name)} must be in a .safetensors or .bin file in the same folder, got ${quoted(String(shard))}`,
      );
    shards.set(name, shard);
  }
  return shards;
}

function assemble(
  path: string,
  files: readonly TensorFile[],
  stored: ReadonlyMap<string, TensorFile>,
  mapping: Mapping,
): Checkpoint {
  const infoOf = (name: string) => stored.get(name)?.tensors.get(name);
  const origins = mapping(new Map([...stored.keys()].map((name) => [name, infoOf(name)!])));
  const tensors = new Map<string, { dtype: string; shape: readonly number[] }>();
  for (const [name, origin] of origins) {
    const info = infoOf(origin.from);
    if (!info) throw internal(`${name} is mapped to ${origin.from}, which ${path} lacks`);
    if (!isFloat(info.dtype)) throw notFloat(path, { name: origin.from, dtype: info.dtype }, stored.keys());
    tensors.set(name, { dtype: info.dtype, shape: origin.shape ?? shapeAfter(info.shape, origin) });
  }

  const read = (name: string): Uint8Array<ArrayBuffer> => {
    const origin = origins.get(name);
    if (!origin) throw missing(path, name, tensors);
    const file = stored.get(origin.from)!;
    const { shape, dtype, bytes } = file.tensors.get(origin.from)!;
    const perRow = bytes / (shape[0] ?? 1);
    const range = origin.rows && ([origin.rows[0] * perRow, origin.rows[1] * perRow] as const);
    const values = file.read(origin.from, range);
    return origin.transposed ? transposeBytes(values, shape as [number, number], bitsOf(dtype) / 8) : values;
  };
  return {
    path,
    ...identity(files, [...origins]),
    tensors,
    read,
    readFloat32(name) {
      const bytes = read(name);
      return toFloat32(bytes, tensors.get(name)!.dtype, `${path}: ${name}`);
    },
    close() {
      for (const file of files) file.close();
    },
  };
}

/** The error for a tensor that is asked for and not there. */
function missing(path: string, name: string, tensors: Tensors): DiffusionError {
  const near = nearest(name, tensors.keys());
  return new DiffusionError("WEIGHT_MISSING", `${path} lacks the tensor ${name}`, {
    ...(near === undefined ? {} : { hint: `The nearest that it has is ${near}.` }),
  });
}

function shapeAfter(shape: readonly number[], { rows, transposed }: Origin): readonly number[] {
  const [first, ...rest] = shape;
  if (transposed) return [...shape].reverse();
  return rows && first !== undefined ? [rows[1] - rows[0], ...rest] : shape;
}

function transposeBytes(bytes: Uint8Array, [rows, columns]: [number, number], width: number) {
  const out = new Uint8Array(bytes.length);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++)
      for (let b = 0; b < width; b++) out[(c * rows + r) * width + b] = bytes[(r * columns + c) * width + b]!;
  return out;
}

/** Tensors that are looked into for the identity: few enough for a slow disk. */
const samples = 48;

/**
 * A key for what is made of some files where they lie, from path, size, time of change, header, and a few values:
 * package managers set one time for all files, and a retrained model has the header of the one before.
 *
 * @param use what is made of them, as plain data
 */
export const contentId = (files: readonly TensorFile[], use: unknown): string => identity(files, use).id;

function identity(files: readonly TensorFile[], use: unknown): Required<Pick<Checkpoint, "id" | "stored">> {
  const found = files.map(foundFile);
  const hash = createHash("sha256").update(JSON.stringify([found, use]));
  return { id: hash.digest("hex").slice(0, 32), stored: { files: found, use } };
}

/** A file that is open, as it is now. */
export const foundFile = (file: TensorFile): FoundFile => ({
  path: realpathSync(file.path),
  size: file.size,
  modified: file.modified,
  samples: samplesOf(file),
});

function samplesOf(file: TensorFile): string {
  const hash = createHash("sha256").update(file.header);
  const names = [...file.tensors.keys()];
  const step = Math.max(1, Math.floor(names.length / samples));
  for (let i = 0; i < names.length; i += step) {
    const { bytes } = file.tensors.get(names[i]!)!;
    const middle = Math.floor(bytes / 2);
    hash.update(file.read(names[i]!, [middle, Math.min(bytes, middle + 64)]));
  }
  return hash.digest("hex").slice(0, 32);
}

/** Names of attention layers in the VAEs and unconditional UNets of diffusers before 0.12. */
const deprecatedAttention = new Map([
  ["query", "to_q"],
  ["key", "to_k"],
  ["value", "to_v"],
  ["proj_attn", "to_out.0"],
]);

/**
 * From any age of diffusers and transformers to the names of today:
 * - buffers that are no weights (`position_ids`) are dropped;
 * - the CLIP text model has the prefix `text_model.`, which transformers 5 leaves out;
 * - `query/key/value/proj_attn` become `to_q/to_k/to_v/to_out.0`, and 1x1 convolutions there become matrices.
 */
export const currentNames: Mapping = (stored) => {
  const isBareClip = stored.has("embeddings.token_embedding.weight");
  const origins = new Map<string, Origin>();
  for (const [from, { shape }] of stored) {
    if (/(^|\.)position_ids$/.test(from)) continue;
    const prefix = isBareClip && /^(embeddings|encoder|final_layer_norm)\./.test(from) ? "text_model." : "";
    const name =
      prefix +
      from.replace(
        /(?<=(?:^|\.)attentions\.\d+\.)(query|key|value|proj_attn)(?=\.(?:weight|bias)$)/,
        (old) => deprecatedAttention.get(old)!,
      );
    const isConvolved = shape.length === 4 && /\.attentions\.\d+\.to_(q|k|v|out\.0)\.weight$/.test(name);
    if (origins.has(name)) continue; // both names in one file: the first is as good
    origins.set(name, { from, ...(isConvolved ? { shape: shape.slice(0, 2) } : {}) });
  }
  return origins;
};
