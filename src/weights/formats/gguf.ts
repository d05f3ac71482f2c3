import { closeSync, fstatSync, openSync } from "node:fs";
import { DiffusionError, nearest } from "../../errors.js";
import { bitsOf, toFloat32 } from "./dtypes.js";
import { type PackedType, packedTypes, unpackBlocks } from "./gguf-blocks.js";
import { type GgufHeader, type GgufTensor, readGgufHeader } from "./gguf-header.js";
import { readAt } from "./read-at.js";
import type { TensorFile, TensorInfo } from "./tensors.js";

/** A header with the vocabulary of a language model takes some 10 MB; those of pictures 0.3 MB. */
const MAX_HEADER_BYTES = 64 * 2 ** 20;

/** Types that are stored as they are, by ggml's number; weights are none of the whole numbers. */
const plainTypes = new Map([
  [0, "F32"],
  [1, "F16"],
  [24, "I8"],
  [25, "I16"],
  [26, "I32"],
  [27, "I64"],
  [28, "F64"],
  [30, "BF16"],
]);

/** Types that are told by their names in errors. */
const otherTypes = new Map([
  [9, "Q8_1"],
  [15, "Q8_K"],
  [16, "IQ2_XXS"],
  [17, "IQ2_XS"],
  [18, "IQ3_XXS"],
  [19, "IQ1_S"],
  [20, "IQ4_NL"],
  [21, "IQ3_S"],
  [22, "IQ2_S"],
  [23, "IQ4_XS"],
  [29, "IQ1_M"],
  [34, "TQ1_0"],
  [35, "TQ2_0"],
  [39, "MXFP4"],
]);

interface Stored {
  readonly info: TensorInfo;
  /** Undefined where the values are stored as they are. */
  readonly packed: PackedType | undefined;
}

/**
 * Opens a GGUF file. Packed tensors look like float32 ones, and are unpacked when they are read.
 *
 * @throws DiffusionError FILE_MISSING, FILE_FORMAT (naming the tensor), UNSUPPORTED for types that cannot be read
 */
export function openGguf(path: string): TensorFile {
  const file = openSync(path, "r");
  try {
    const { size, mtimeMs: modified } = fstatSync(file);
    const header = readAt(file, path, 0, Math.min(size, MAX_HEADER_BYTES));
    const parsed = readGgufHeader(header, path);
    const stored = new Map(storedOf(parsed, path, size));
    const find = (name: string): Stored => {
      const found = stored.get(name);
      if (found) return found;
      const near = nearest(name, stored.keys());
      throw new DiffusionError("WEIGHT_MISSING", `${path}: there is no tensor ${JSON.stringify(name)}`, {
        ...(near === undefined ? {} : { hint: `The nearest is ${JSON.stringify(near)}.` }),
      });
    };
    const read: TensorFile["read"] = (name, range) => {
      const { info, packed } = find(name);
      const [start, end] = range ?? [0, info.bytes];
      if (!packed) return readAt(file, path, info.offset + start, end - start);
      const perBlock = 4 * packed.values;
      const [first, last] = [Math.floor(start / perBlock), Math.ceil(end / perBlock)];
      const blocks = readAt(file, path, info.offset + first * packed.bytes, (last - first) * packed.bytes);
      const bytes = new Uint8Array(unpackBlocks(packed, blocks).buffer);
      return bytes.slice(start - first * perBlock, end - first * perBlock);
    };
    return {
      path,
      metadata: new Map(
        [...parsed.values].flatMap(([key, value]) => (typeof value === "object" ? [] : [[key, `${value}`]])),
      ),
      tensors: new Map([...stored].map(([name, { info }]) => [name, info])),
      header: header.subarray(0, Math.min(parsed.dataStart, header.length)),
      size,
      modified,
      read,
      readFloat32: (name) => toFloat32(read(name), find(name).info.dtype, `${path}: ${name}`),
      close: () => closeSync(file),
    };
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function* storedOf(header: GgufHeader, path: string, size: number): Generator<[string, Stored]> {
  const names = new Set<string>();
  for (const tensor of header.tensors) {
    const { name } = tensor;
    if (names.has(name))
      throw new DiffusionError("FILE_FORMAT", `${path}: the tensor ${JSON.stringify(name)} occurs twice`);
    names.add(name);
    yield [name, storedAs(tensor, header, path, size)];
  }
}

function storedAs(tensor: GgufTensor, { values, dataStart }: GgufHeader, path: string, size: number): Stored {
  const { name, lengths, type, offset } = tensor;
  const where = `${path}: tensor ${JSON.stringify(name)}`;
  const fail = (what: string): never => {
    throw new DiffusionError("FILE_FORMAT", `${where} ${what}`);
  };
  const packed = packedTypes.get(type);
  const plain = plainTypes.get(type);
  if (!packed && plain === undefined)
    throw new DiffusionError(
      "UNSUPPORTED",
      `${where} is packed as ${otherTypes.get(type) ?? `ggml's type ${type}`}, which cannot be read`,
      {
        hint: `Readable are F32, F16, BF16, ${[...packedTypes.values()].map((known) => known.name).join(", ")}.`,
      },
    );
  const count = lengths.reduce((product, n) => product * n, 1);
  if (!Number.isSafeInteger(count)) fail(`has a shape [${lengths}] that overflows`);
  if (packed && (lengths[0] ?? 1) % packed.values !== 0)
    fail(`has rows of ${lengths[0]}, which blocks of ${packed.values} values do not fill`);
  const bytes = packed ? (count / packed.values) * packed.bytes : (count * bitsOf(plain!)) / 8;
  if (dataStart + offset + bytes > size)
    fail(`reaches to byte ${dataStart + offset + bytes} of ${size}: the file is cut`);
  const dtype = plain ?? "F32";
  const shape = shapeOf(values.get(`comfy.gguf.orig_shape.${name}`)) ?? [...lengths].reverse();
  if (shape.reduce((product, n) => product * n, 1) !== count)
    fail(`has ${count} values, its original shape [${shape}] has others`);
  return { info: { dtype, shape, offset: dataStart + offset, bytes: (count * bitsOf(dtype)) / 8 }, packed };
}

/** Kernels whose rows are too short for a block are stored in another shape, and ComfyUI's converter notes their own. */
function shapeOf(value: unknown): number[] | undefined {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0) ? value : undefined;
}
