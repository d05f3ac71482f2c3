import type { Predict } from "../denoise.js";
import type { Size } from "../image/image.js";
import type { Values } from "../latents/latents.js";
import { embedTimesteps } from "../models/timestep-embedding.js";
import type { ResolvedOptions } from "../resolved-options.js";
import { addedConditions, batched, type Conditions } from "./conditioning.js";
import type { Controls } from "./control.js";
import { classifierFree, composed, type Guidance, imageAndText, unguided } from "./guidance.js";
import type { Loaded } from "./loaded.js";
import type { Conditioning } from "./prompt-embedding.js";
import { inTiles, tilesFor } from "./upscale.js";

/** The UNet with everything that stays the same from step to step filled in; upscalers work in tiles. */
export async function predictor(
  loaded: Loaded,
  conditions: Conditions,
  resolved: ResolvedOptions,
  { size, calls }: { size: Size; calls: number },
  controls: Controls,
  signal?: AbortSignal,
): Promise<Predict> {
  const predict = await wholePredictor(loaded, conditions, resolved, { size, calls }, controls);
  const { upscaling } = resolved;
  if (!upscaling) return predict;
  const { factor } = loaded.model;
  const cells = { width: size.width / factor, height: size.height / factor };
  const plan = tilesFor(loaded.model, cells, upscaling);
  return plan ? inTiles(predict, plan, signal) : predict;
}

async function wholePredictor(
  { model: { unet }, networks }: Loaded,
  conditions: Conditions,
  resolved: ResolvedOptions,
  { size, calls }: { size: Size; calls: number },
  controls: Controls,
): Promise<Predict> {
  if (unet.kind === "unconditional_unet")
    return (sample, timestep) => networks.unet.run({ sample, timestep });
  const { timeCondDim, added, classes } = unet.config;
  const { rows } = conditions;
  const rowsAt = await conditions.over(calls);
  const fixed = {
    ...(timeCondDim && { timeCond: guidanceEmbedding(resolved.guidance, timeCondDim, rows.length) }),
    ...(classes && { classLabels: Array<number>(rows.length).fill(resolved.upscaling?.noiseLevel ?? 0) }),
  };
  const inputsOf = (current: readonly Conditioning[]) => ({
    context: batched(current.map(({ context }) => context)),
    ...(added && { added: addedConditions(rows, current, resolved.sizes, size) }),
    ...fixed,
  });
  const known = new Map<readonly Conditioning[], ReturnType<typeof inputsOf>>();
  return async (sample, timestep, call) => {
    const current = rowsAt(call);
    const inputs = known.get(current) ?? inputsOf(current);
    known.set(current, inputs);
    const input = { sample, timestep, ...inputs };
    return networks.unet.run({ ...input, ...(await controls(input, call)) });
  };
}

/** The guidance that belongs to some conditions. */
export function guidanceOf(
  { guidance, guidanceRescale, imageGuidance, mode }: ResolvedOptions,
  { rows }: Conditions,
): Guidance {
  if (rows.length < 2) return unguided;
  if (mode === "instruct") return imageAndText(guidance, imageGuidance!);
  const weights = rows.filter(({ negative }) => !negative).map(({ weight }) => weight);
  const guide = classifierFree(guidance, guidanceRescale);
  return weights.length === 1 ? guide : (outputs) => guide(composed(outputs, weights));
}

/** LCM (Luo et al. 2023): guidance - 1 embedded like a timestep, a thousandfold. */
function guidanceEmbedding(guidance: number, width: number, batch: number): Values {
  const scales = Array<number>(batch).fill((guidance - 1) * 1000);
  return {
    shape: [batch, width],
    data: embedTimesteps(scales, { width, flipSinToCos: false, freqShift: 1 }),
  };
}
