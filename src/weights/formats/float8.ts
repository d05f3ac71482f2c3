/** Eight-bit floats (arXiv:2209.05433) as float32, exactly; a table of 256 values each. */

const tableOf = (value: (byte: number) => number): Float32Array =>
  Float32Array.from({ length: 256 }, (_, i) => value(i));

/** Four bits of exponent (bias 7), three of mantissa, no infinities: torch's float8_e4m3fn. */
const e4m3 = tableOf((byte) => {
  const [sign, exponent, mantissa] = [byte & 0x80 ? -1 : 1, (byte >> 3) & 15, byte & 7];
  if (exponent === 15 && mantissa === 7) return Number.NaN;
  return sign * (exponent === 0 ? mantissa * 2 ** -9 : (1 + mantissa / 8) * 2 ** (exponent - 7));
});

/** Five bits of exponent (bias 15), two of mantissa: the upper half of a float16. */
const e5m2 = tableOf((byte) => {
  const [sign, exponent, mantissa] = [byte & 0x80 ? -1 : 1, (byte >> 2) & 31, byte & 3];
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? mantissa * 2 ** -16 : (1 + mantissa / 4) * 2 ** (exponent - 15));
});

const lookUp = (bytes: Uint8Array, table: Float32Array): Float32Array => {
  const out = new Float32Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) out[i] = table[bytes[i]!]!;
  return out;
};

export const float8E4m3ToFloat32 = (bytes: Uint8Array): Float32Array => lookUp(bytes, e4m3);
export const float8E5m2ToFloat32 = (bytes: Uint8Array): Float32Array => lookUp(bytes, e5m2);
