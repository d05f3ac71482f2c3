import { DiffusionError } from "../../errors.js";
import { MOST_TENSORS } from "./tensors.js";

/** A value of the header's; arrays and whole numbers beyond 2^53 are kept as they come. */
export type GgufValue = number | bigint | boolean | string | readonly GgufValue[];

export interface GgufTensor {
  readonly name: string;
  /** Lengths of the axes, the fastest first: the other way round than PyTorch's. */
  readonly lengths: readonly number[];
  /** ggml's number of the type. */
  readonly type: number;
  /** From where the values begin. */
  readonly offset: number;
}

export interface GgufHeader {
  readonly values: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensor[];
  /** Where the values of the first tensor begin. */
  readonly dataStart: number;
}

/** No checkpoint comes near these; a file made to exhaust memory does. */
const MAX_ITEMS = 2_000_000;
const MAX_AXES = 8;
const MAX_NESTING = 4;

/**
 * The header of a GGUF file, versions 2 and 3, little-endian (ggml's `docs/gguf.md`).
 *
 * @param bytes from the beginning of the file, as many as the header may be long
 * @throws DiffusionError FILE_FORMAT, UNSUPPORTED
 */
export function readGgufHeader(bytes: Uint8Array, path: string): GgufHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  /** Of all lists. */
  let items = 0;
  const fail = (what: string): never => {
    throw new DiffusionError("FILE_FORMAT", `${path}: ${what} (byte ${at})`);
  };
  const take = (length: number): number => {
    if (length > bytes.length - at) fail("the GGUF header is cut off");
    at += length;
    return at - length;
  };
  const uint32 = () => view.getUint32(take(4), true);
  const size = (what: string, most: number): number => {
    const value = view.getBigUint64(take(8), true);
    return value > BigInt(most) ? fail(`${what} is ${value}, at most ${most} were expected`) : Number(value);
  };
  const text = (): string => {
    const length = size("the length of a text", bytes.length);
    const from = take(length);
    return utf8.decode(bytes.subarray(from, from + length));
  };
  const readers: readonly ((depth: number) => GgufValue)[] = [
    () => view.getUint8(take(1)),
    () => view.getInt8(take(1)),
    () => view.getUint16(take(2), true),
    () => view.getInt16(take(2), true),
    uint32,
    () => view.getInt32(take(4), true),
    () => view.getFloat32(take(4), true),
    () => view.getUint8(take(1)) !== 0,
    text,
    (depth) => array(depth),
    () => view.getBigUint64(take(8), true),
    () => view.getBigInt64(take(8), true),
    () => view.getFloat64(take(8), true),
  ];
  const reader = (): ((depth: number) => GgufValue) => {
    const type = uint32();
    return readers[type] ?? fail(`a value has the type ${type}, which GGUF does not have`);
  };
  const array = (depth: number): GgufValue => {
    if (depth >= MAX_NESTING) fail("a list is nested too deep");
    const read = reader();
    const length = size("the length of a list", Math.min(bytes.length - at, MAX_ITEMS - items));
    items += length;
    return Array.from({ length }, () => read(depth + 1));
  };

  if (utf8.decode(bytes.subarray(0, 4)) !== "GGUF") fail("it is no GGUF file");
  at = 4;
  const version = uint32();
  if (version !== 2 && version !== 3)
    throw new DiffusionError(
      "UNSUPPORTED",
      `${path} is GGUF of version ${version}; versions 2 and 3 can be read`,
      {
        hint: "Convert the model anew with a current program, or get it as .safetensors.",
      },
    );
  const [tensorCount, valueCount] = [
    size("the number of tensors", MOST_TENSORS),
    size("the number of values", MOST_TENSORS),
  ];
  const values = new Map<string, GgufValue>();
  for (let i = 0; i < valueCount; i++) {
    const name = text();
    if (values.has(name)) fail(`the value ${JSON.stringify(name)} occurs twice`);
    values.set(name, reader()(0));
  }
  const tensors = Array.from({ length: tensorCount }, (): GgufTensor => {
    const name = text();
    const axes = uint32();
    if (axes > MAX_AXES) fail(`${JSON.stringify(name)} has ${axes} axes`);
    const lengths = Array.from({ length: axes }, () =>
      size("the length of an axis", Number.MAX_SAFE_INTEGER),
    );
    return { name, lengths, type: uint32(), offset: size("an offset", Number.MAX_SAFE_INTEGER) };
  });
  const alignment = values.get("general.alignment") ?? 32;
  if (typeof alignment !== "number" || !Number.isInteger(alignment) || alignment < 1)
    return fail(`general.alignment is ${String(alignment)}`);
  return { values, tensors, dataStart: Math.ceil(at / alignment) * alignment };
}

const utf8 = new TextDecoder("utf-8");
