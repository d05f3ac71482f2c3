/** Half-precision conversions on bit patterns, exact for subnormals, infinities and NaN payloads. */

let widened: Uint32Array | undefined;

/** Every float16 pattern widened, as float32 bits: 256 KB, so that widening is one look-up per value. */
export function widenedFloat16(): Uint32Array {
  widened ??= widenedTable();
  return widened;
}

/** The same of bfloat16. */
export const widenedBfloat16 = (): Uint32Array =>
  Uint32Array.from({ length: 65536 }, (_, bits) => bits << 16);

function widenedTable(): Uint32Array {
  const table = new Uint32Array(65536);
  for (let half = 0; half < 65536; half++) {
    const sign = (half & 0x8000) << 16;
    const exponent = (half >>> 10) & 0x1f;
    const mantissa = half & 0x3ff;
    if (exponent === 31)
      table[half] = sign | 0x7f800000 | (mantissa << 13); // infinity, NaN
    else if (exponent > 0) table[half] = sign | ((exponent + 112) << 23) | (mantissa << 13);
    else if (mantissa === 0) table[half] = sign;
    else {
      // Subnormal: mantissa * 2^-24, normalised by its leading bit.
      const shift = Math.clz32(mantissa) - 21;
      table[half] = sign | ((113 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13);
    }
  }
  return table;
}

const bitsOf = (values: Float32Array): Uint32Array =>
  new Uint32Array(values.buffer, values.byteOffset, values.length);

/** IEEE binary16 patterns to float32, exactly. */
export function float16ToFloat32(half: Uint16Array): Float32Array {
  const table = widenedFloat16();
  const out = new Float32Array(half.length);
  const bits = bitsOf(out);
  for (let i = 0; i < half.length; i++) bits[i] = table[half[i]!]!;
  return out;
}

/** float32 to IEEE binary16 patterns, rounded to nearest, ties to even; beyond 65504 (from 65520 on) infinity. */
export function float32ToFloat16(values: Float32Array): Uint16Array {
  const out = new Uint16Array(values.length);
  const bits = bitsOf(values);
  for (let i = 0; i < bits.length; i++) {
    const sign = (bits[i]! >>> 16) & 0x8000;
    const magnitude = bits[i]! & 0x7fffffff;
    out[i] = sign | halfMagnitude(magnitude);
  }
  return out;
}

function halfMagnitude(magnitude: number): number {
  if (magnitude >= 0x38800000 && magnitude < 0x47800000) {
    // 2^-14 up to 2^16: normal. Rounding may carry into the exponent, up to infinity.
    const rebased = magnitude - 0x38000000;
    return (rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13;
  }
  if (magnitude > 0x7f800000) return 0x7e00 | ((magnitude >>> 13) & 0x1ff); // NaN, made quiet
  if (magnitude >= 0x47800000) return 0x7c00;
  if (magnitude <= 0x33000000) return 0; // up to 2^-25, half of the smallest subnormal
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const shift = 126 - (magnitude >>> 23);
  return (mantissa + (1 << (shift - 1)) - 1 + ((mantissa >>> shift) & 1)) >>> shift;
}

/** bfloat16 patterns to float32, exactly. */
export function bfloat16ToFloat32(half: Uint16Array): Float32Array {
  const out = new Float32Array(half.length);
  const bits = bitsOf(out);
  for (let i = 0; i < half.length; i++) bits[i] = half[i]! << 16;
  return out;
}

/** float32 to bfloat16 patterns, rounded to nearest, ties to even. */
export function float32ToBfloat16(values: Float32Array): Uint16Array {
  const out = new Uint16Array(values.length);
  const bits = bitsOf(values);
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i]!;
    const quiet = (x & 0x7fffffff) > 0x7f800000;
    out[i] = quiet ? (x >>> 16) | 0x40 : (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
  }
  return out;
}
