import { DiffusionError } from "../../errors.js";
import { float8E4m3ToFloat32, float8E5m2ToFloat32 } from "./float8.js";
import { bfloat16ToFloat32, float16ToFloat32 } from "./float16.js";

/** Bits per value of every type that the safetensors format names. */
const bits = new Map([
  ["F4", 4],
  ["F6_E2M3", 6],
  ["F6_E3M2", 6],
  ...["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"].map(
    (dtype) => [dtype, 8] as const,
  ),
  ...["I16", "U16", "F16", "BF16"].map((dtype) => [dtype, 16] as const),
  ...["I32", "U32", "F32"].map((dtype) => [dtype, 32] as const),
  ...["I64", "U64", "F64", "C64"].map((dtype) => [dtype, 64] as const),
]);

export const isDtype = (dtype: string): boolean => bits.has(dtype);
export const dtypeNames = (): string[] => [...bits.keys()];
/** Whether weights may be stored so: whole numbers would be the steps of a quantisation, whose scales lie elsewhere. */
export const isFloat = (dtype: string): boolean => /^(F64|F32|F16|BF16|F8_E4M3|F8_E5M2)$/.test(dtype);
export const bitsOf = (dtype: string): number => bits.get(dtype) ?? 0;

/** The types whose values can be read as numbers here. */
const readers = new Map<string, (bytes: ArrayBuffer) => Float32Array>([
  ["F32", (bytes) => new Float32Array(bytes)],
  ["F16", (bytes) => float16ToFloat32(new Uint16Array(bytes))],
  ["BF16", (bytes) => bfloat16ToFloat32(new Uint16Array(bytes))],
  ["F8_E4M3", (bytes) => float8E4m3ToFloat32(new Uint8Array(bytes))],
  ["F8_E5M2", (bytes) => float8E5m2ToFloat32(new Uint8Array(bytes))],
  ["F64", (bytes) => Float32Array.from(new Float64Array(bytes))],
  ["I64", (bytes) => Float32Array.from(new BigInt64Array(bytes), Number)],
  ["U64", (bytes) => Float32Array.from(new BigUint64Array(bytes), Number)],
  ["I32", (bytes) => Float32Array.from(new Int32Array(bytes))],
  ["U32", (bytes) => Float32Array.from(new Uint32Array(bytes))],
  ["I16", (bytes) => Float32Array.from(new Int16Array(bytes))],
  ["U16", (bytes) => Float32Array.from(new Uint16Array(bytes))],
  ["I8", (bytes) => Float32Array.from(new Int8Array(bytes))],
  ["U8", (bytes) => Float32Array.from(new Uint8Array(bytes))],
  ["BOOL", (bytes) => Float32Array.from(new Uint8Array(bytes), (value) => (value ? 1 : 0))],
]);

/**
 * Little-endian values of any readable type as float32, rounded to nearest (so F64 and 64-bit integers lose digits).
 *
 * @param where names file and tensor in the error
 * @throws DiffusionError UNSUPPORTED for the rarer 8-bit floats, those of 6 and 4 bits, and complex numbers
 */
export function toFloat32(bytes: Uint8Array, dtype: string, where: string): Float32Array {
  const reader = readers.get(dtype);
  if (!reader)
    throw new DiffusionError("UNSUPPORTED", `${where} is stored as ${dtype}, which cannot be read`, {
      hint: `Use a checkpoint that stores ${[...readers.keys()].slice(0, 5).join(", ")}.`,
    });
  const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
  return reader((whole ? bytes.buffer : bytes.slice().buffer) as ArrayBuffer);
}
