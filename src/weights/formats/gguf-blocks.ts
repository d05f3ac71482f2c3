import { float16ToFloat32 } from "./float16.js";

/**
 * The packed types of GGUF, block by block, as ggml's `ggml-common.h` lays them out. A block holds whole numbers of few
 * bits and the scales (and offsets) that make weights of them; sums are in float32, as ggml computes them.
 */
export interface PackedType {
  readonly name: string;
  /** Values, and bytes, of a block. */
  readonly values: number;
  readonly bytes: number;
  /** @param at where the block begins @param to where its values go */
  unpack(block: Uint8Array, at: number, out: Float32Array, to: number): void;
}

const f32 = Math.fround;
const half = new Uint16Array(1);
function halfAt(bytes: Uint8Array, at: number): number {
  half[0] = bytes[at]! | (bytes[at + 1]! << 8);
  return float16ToFloat32(half)[0]!;
}
const int8 = (byte: number): number => (byte << 24) >> 24;

/** 32 values of four or five bits, the fifth ones apart; with an offset, or around zero. */
function unpack45(bits: 4 | 5, isOffset: boolean): PackedType["unpack"] {
  const head = isOffset ? 4 : 2;
  const low = head + (bits === 5 ? 4 : 0);
  const zero = isOffset ? 0 : 2 ** (bits - 1);
  return (block, at, out, to) => {
    const scale = halfAt(block, at);
    const offset = isOffset ? halfAt(block, at + 2) : 0;
    for (let i = 0; i < 32; i++) {
      const byte = block[at + low + (i & 15)]!;
      const fifth = bits === 5 ? ((block[at + head + (i >> 3)]! >> (i & 7)) & 1) << 4 : 0;
      const value = (i < 16 ? byte & 15 : byte >> 4) | fifth;
      out[to + i] = f32(scale * (value - zero)) + offset;
    }
  };
}

function unpackQ8(block: Uint8Array, at: number, out: Float32Array, to: number): void {
  const scale = halfAt(block, at);
  for (let i = 0; i < 32; i++) out[to + i] = scale * int8(block[at + 2 + i]!);
}

/** Two bits each; 16 groups, each with a scale and an offset of four bits. */
function unpackQ2(block: Uint8Array, at: number, out: Float32Array, to: number): void {
  const [scale, least] = [halfAt(block, at + 80), halfAt(block, at + 82)];
  for (let i = 0; i < 256; i++) {
    const group = block[at + (i >> 4)]!;
    const byte = block[at + 16 + ((i >> 7) << 5) + (i & 31)]!;
    const value = (byte >> (2 * ((i >> 5) & 3))) & 3;
    out[to + i] = f32(f32(scale * (group & 15)) * value) - f32(least * (group >> 4));
  }
}

/** Two bits each and a third one apart; 16 scales of six bits, which lie spread over twelve bytes. */
function unpackQ3(block: Uint8Array, at: number, out: Float32Array, to: number): void {
  const scale = halfAt(block, at + 108);
  const scales = at + 96;
  const scaleOf = (group: number): number => {
    const low = group < 8 ? block[scales + group]! & 15 : block[scales + group - 8]! >> 4;
    const high = (block[scales + 8 + (group & 3)]! >> (2 * (group >> 2))) & 3;
    return f32(scale * ((low | (high << 4)) - 32));
  };
  for (let i = 0; i < 256; i++) {
    const byte = block[at + 32 + ((i >> 7) << 5) + (i & 31)]!;
    const isHigh = (block[at + (i & 31)]! >> (i >> 5)) & 1;
    out[to + i] = scaleOf(i >> 4) * (((byte >> (2 * ((i >> 5) & 3))) & 3) - (isHigh ? 0 : 4));
  }
}

/** Four or five bits each; eight groups, each with a scale and an offset of six bits, in twelve bytes together. */
function unpackK45(bits: 4 | 5): PackedType["unpack"] {
  const low = bits === 5 ? 48 : 16;
  return (block, at, out, to) => {
    const [scale, least] = [halfAt(block, at), halfAt(block, at + 2)];
    const packed = (i: number): number => block[at + 4 + i]!;
    for (let group = 0; group < 8; group++) {
      const isLow = group < 4;
      const steps = isLow ? packed(group) & 63 : (packed(group + 4) & 15) | ((packed(group - 4) >> 6) << 4);
      const offset = isLow ? packed(group + 4) & 63 : (packed(group + 4) >> 4) | ((packed(group) >> 6) << 4);
      const [factor, minus] = [f32(scale * steps), f32(least * offset)];
      for (let i = 0; i < 32; i++) {
        const byte = block[at + low + ((group >> 1) << 5) + i]!;
        const fifth = bits === 5 ? ((block[at + 16 + i]! >> group) & 1) << 4 : 0;
        const value = (group & 1 ? byte >> 4 : byte & 15) | fifth;
        out[to + 32 * group + i] = f32(factor * value) - minus;
      }
    }
  };
}

/** Four bits each and two more apart; 16 scales of eight bits. */
function unpackQ6(block: Uint8Array, at: number, out: Float32Array, to: number): void {
  const scale = halfAt(block, at + 208);
  for (let i = 0; i < 256; i++) {
    const [part, quarter, l] = [i >> 7, (i >> 5) & 3, i & 31];
    const byte = block[at + (part << 6) + ((quarter & 1) << 5) + l]!;
    const two = (block[at + 128 + (part << 5) + l]! >> (2 * quarter)) & 3;
    const value = ((quarter < 2 ? byte & 15 : byte >> 4) | (two << 4)) - 32;
    out[to + i] = f32(scale * int8(block[at + 192 + (i >> 4)]!)) * value;
  }
}

/** By ggml's number of the type. */
export const packedTypes: ReadonlyMap<number, PackedType> = new Map([
  [2, { name: "Q4_0", values: 32, bytes: 18, unpack: unpack45(4, false) }],
  [3, { name: "Q4_1", values: 32, bytes: 20, unpack: unpack45(4, true) }],
  [6, { name: "Q5_0", values: 32, bytes: 22, unpack: unpack45(5, false) }],
  [7, { name: "Q5_1", values: 32, bytes: 24, unpack: unpack45(5, true) }],
  [8, { name: "Q8_0", values: 32, bytes: 34, unpack: unpackQ8 }],
  [10, { name: "Q2_K", values: 256, bytes: 84, unpack: unpackQ2 }],
  [11, { name: "Q3_K", values: 256, bytes: 110, unpack: unpackQ3 }],
  [12, { name: "Q4_K", values: 256, bytes: 144, unpack: unpackK45(4) }],
  [13, { name: "Q5_K", values: 256, bytes: 176, unpack: unpackK45(5) }],
  [14, { name: "Q6_K", values: 256, bytes: 210, unpack: unpackQ6 }],
]);

/** Whole blocks as float32. */
export function unpackBlocks(type: PackedType, blocks: Uint8Array): Float32Array<ArrayBuffer> {
  const count = blocks.length / type.bytes;
  const out = new Float32Array(count * type.values);
  for (let i = 0; i < count; i++) type.unpack(blocks, i * type.bytes, out, i * type.values);
  return out;
}
