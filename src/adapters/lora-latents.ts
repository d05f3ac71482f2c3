import { type DeltaPlan, type PartShapes, planDelta } from "./lora-delta.js";

/** Channels of the latents, which stand first in what a UNet is shown. */
const latentChannels = 4;

/**
 * How factors for the first convolution of a UNet that is shown latents alone change that of one that is shown more (a
 * mask, a picture): what they do to the latents, and nothing to the rest, as the web UI has it for inpainting.
 *
 * @returns undefined where they do not fit
 */
export function planForLatents(parts: PartShapes, target: readonly number[]): DeltaPlan | undefined {
  const [out = 0, channels = 0, ...kernel] = target;
  if (channels <= latentChannels) return undefined;
  const plan = planDelta(parts, [out, latentChannels, ...kernel]);
  // What depends on the weight depends on all of it.
  if (!plan || plan.method === "glora" || plan.method === "ia3") return undefined;
  const cells = kernel.reduce((product, n) => product * n, 1);
  const [narrow, wide] = [latentChannels * cells, channels * cells];
  return {
    method: plan.method,
    rank: plan.rank,
    compute(values, matMul) {
      const change = plan.compute(values, matMul);
      const padded = new Float32Array(out * wide);
      for (let row = 0; row < out; row++)
        padded.set(change.subarray(row * narrow, (row + 1) * narrow), row * wide);
      return padded;
    },
  };
}
