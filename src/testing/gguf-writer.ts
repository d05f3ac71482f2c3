import { float32ToFloat16 } from "../weights/formats/float16.js";

/** A tensor in PyTorch's layout. */
type Plain = { readonly shape: readonly number[]; readonly data: Float32Array };

const ALIGNMENT = 32;
const QUANTISED = 32;
const types = { F32: 0, Q8_0: 8 } as const;

const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (value: number) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const padded = (bytes: Buffer) =>
  Buffer.concat([bytes, Buffer.alloc((ALIGNMENT - (bytes.length % ALIGNMENT)) % ALIGNMENT)]);

/** A weight whose values are a power of two times a whole number of eight bits, which Q8_0 keeps as it is. */
export function quantisable({ shape, data }: Plain): Plain {
  const step = 2 ** -9;
  return {
    shape,
    data: data.map((value) => Math.max(-127, Math.min(127, Math.round(value / step))) * step + 0),
  };
}

function packed({ data }: Plain): Buffer {
  const step = 2 ** -9;
  const scale = Buffer.from(float32ToFloat16(Float32Array.of(step)).buffer);
  const blocks: Buffer[] = [];
  for (let at = 0; at < data.length; at += QUANTISED)
    blocks.push(
      scale,
      Buffer.from(Int8Array.from(data.subarray(at, at + QUANTISED), (v) => v / step).buffer),
    );
  return Buffer.concat(blocks);
}

/** A GGUF file (version 3): matrices whose rows fill blocks as Q8_0, the rest as F32. */
export function ggufOf(tensors: ReadonlyMap<string, Plain>, architecture: string): Buffer {
  const head: Buffer[] = [Buffer.from("GGUF"), u32(3), u64(tensors.size), u64(1)];
  head.push(text("general.architecture"), u32(8), text(architecture));
  const parts: Buffer[] = [];
  let offset = 0;
  for (const [name, tensor] of tensors) {
    const { shape, data } = tensor;
    const type = shape.length === 2 && shape[1]! % QUANTISED === 0 ? "Q8_0" : "F32";
    const bytes = padded(type === "Q8_0" ? packed(tensor) : Buffer.from(data.slice().buffer));
    head.push(text(name), u32(shape.length), ...[...shape].reverse().map(u64), u32(types[type]), u64(offset));
    parts.push(bytes);
    offset += bytes.length;
  }
  return Buffer.concat([padded(Buffer.concat(head)), ...parts]);
}
