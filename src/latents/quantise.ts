import type { Values } from "./latents.js";

/** The nearest row of `codebook` [N, C] for each cell of latents [B, h, w, C] (van den Oord et al. 2017, eq. 1). */
export function quantise({ shape, data }: Values, codebook: Float32Array): Values {
  const width = shape.at(-1)!;
  const out = new Float32Array(data.length);
  for (let cell = 0; cell < data.length; cell += width) {
    let [nearest, smallest] = [0, Number.POSITIVE_INFINITY];
    for (let row = 0; row < codebook.length; row += width) {
      let distance = 0;
      for (let c = 0; c < width && distance < smallest; c++)
        distance += (data[cell + c]! - codebook[row + c]!) ** 2;
      if (distance < smallest) [nearest, smallest] = [row, distance];
    }
    out.set(codebook.subarray(nearest, nearest + width), cell);
  }
  return { shape, data: out };
}
