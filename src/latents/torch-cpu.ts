import { boxMuller } from "./box-muller.js";
import { log, sincos } from "./float32-math.js";
import { size } from "./latents.js";
import { mersenneTwister } from "./mersenne.js";
import { inOne, PIECE, type Pieces, type Rng } from "./random-stream.js";

const TWO_PI = Math.fround(2 * Math.PI);
const BLOCK = 16;

/**
 * torch's CPU generator, `torch.Generator("cpu").manual_seed(seed)`, to the bit as torch draws on x86 with AVX2
 * (`aten/src/ATen/native/cpu/DistributionTemplates.h`): from 16 numbers on, a tensor is filled with float32
 * uniforms that Box-Muller turns into normals in blocks of 16; below that, float64 normals are drawn in pairs
 * and the second of a pair is kept for the next small draw.
 */
export function torchCpu(seed: bigint): Rng {
  const bits = mersenneTwister(seed);
  const uniform32 = () => (bits() & 0xffffff) / 0x1000000;
  const uniform64 = () => ((bits() & 0x1fffff) * 0x100000000 + bits()) / 0x20000000000000;

  const next = boxMuller(() => ({
    angle: 2 * Math.PI * uniform64(), // drawn before the radius
    radius: Math.sqrt(-2 * Math.log1p(-uniform64())),
  }));

  const normalInPieces = function* (shape: readonly number[]): Pieces {
    const values = new Float32Array(size(shape));
    if (values.length < BLOCK) return values.map(next);
    for (let start = 0; start < values.length; start += PIECE) {
      const piece = fill(values.subarray(start, start + PIECE), uniform32);
      for (let block = 0; block + BLOCK <= piece.length; block += BLOCK)
        normalBlock(piece.subarray(block, block + BLOCK));
      yield;
    }
    if (values.length % BLOCK !== 0) {
      const tail = values.subarray(-BLOCK); // overlaps the last whole block, and is drawn anew
      fill(tail, uniform32);
      normalBlock(tail);
    }
    return values;
  };

  return {
    normal: (shape) => inOne(normalInPieces(shape)),
    normalInPieces,
    uniform: (shape) => fill(new Float32Array(size(shape)), uniform32),
  };
}

/** 16 uniforms to 16 normals in place: entry j and j + 8 make a pair. */
function normalBlock(block: Float32Array): void {
  const half = BLOCK / 2;
  for (let j = 0; j < half; j++) {
    const radius = Math.fround(Math.sqrt(Math.fround(-2 * log(1 - block[j]!))));
    const [sin, cos] = sincos(Math.fround(TWO_PI * block[j + half]!));
    block[j] = radius * cos + 0; // torch adds the mean: -0 becomes 0
    block[j + half] = radius * sin + 0;
  }
}

function fill(values: Float32Array, draw: () => number): Float32Array {
  for (let i = 0; i < values.length; i++) values[i] = draw();
  return values;
}
