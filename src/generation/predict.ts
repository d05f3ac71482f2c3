import type { Size } from "../image/image.js";
import type { Values } from "../latents/latents.js";
import { embedTimesteps } from "../models/timestep-embedding.js";
import type { Conditioning } from "../options/conditioning.js";
import type { ResolvedOptions } from "../options/resolved.js";
import type { UNetInput } from "../runtime/inputs.js";
import { addedConditions, batched, type Conditions } from "./conditioning.js";
import type { Controls } from "./control.js";
import { throughDeepCache } from "./deep-cache.js";
import type { Predict } from "./denoise.js";
import {
  alone,
  classifierFree,
  composed,
  type Guidance,
  type GuidancePlan,
  imageAndText,
  unguided,
  within,
} from "./guidance.js";
import { latentUpscaler } from "./latent-upscale.js";
import type { Loaded } from "./loaded.js";
import { inTiles, tilesFor } from "./upscale.js";

/** What a pass is besides its conditions. */
export interface PassShape {
  readonly size: Size;
  /** Network calls, at least as many as there will be as far as that is known. */
  readonly calls: number;
  readonly guidance: GuidancePlan;
  /** Noise levels of the calls, where the scheduler works on them. */
  readonly sigmas?: readonly number[];
}

/** The UNet with everything that stays the same from step to step filled in; upscalers work in tiles. */
export async function predictor(
  loaded: Loaded,
  conditions: Conditions,
  resolved: ResolvedOptions,
  pass: PassShape,
  controls: Controls,
  signal?: AbortSignal,
): Promise<Predict> {
  const predict = await wholePredictor(loaded, conditions, resolved, pass, controls);
  const { upscaling } = resolved;
  if (!upscaling) return predict;
  const { factor } = loaded.model;
  const cells = { width: pass.size.width / factor, height: pass.size.height / factor };
  const { latentUpscaling } = loaded.traits;
  const plan = tilesFor(loaded.model, cells, upscaling, latentUpscaling && latentUpscaling.scale / factor);
  return plan ? inTiles(predict, plan, signal) : predict;
}

async function wholePredictor(
  loaded: Loaded,
  conditions: Conditions,
  resolved: ResolvedOptions,
  pass: PassShape,
  controls: Controls,
): Promise<Predict> {
  const { unet } = loaded.model;
  const { networks } = loaded;
  const { size, calls, guidance } = pass;
  if (unet.kind === "unconditional_unet")
    return (sample, timestep) => networks.unet.run({ sample, timestep });
  if (unet.kind === "k_unet")
    return latentUpscaler(loaded, unet.config, conditions, { calls, guidance, sigmas: pass.sigmas });
  const { timeCondDim, added, classes } = unet.config;
  const { deepCache, tokenMerging: mergeTokens } = resolved;
  const { rows } = conditions;
  const rowsAt = await conditions.over(calls);
  const inputsOf = (conditions: readonly Conditioning[], asked: readonly number[]) => {
    const current = asked.map((row) => conditions[row]!);
    const own = asked.map((row) => rows[row]!);
    return {
      context: batched(current.map(({ context }) => context)),
      ...(added && { added: addedConditions(own, current, resolved.sizes, size) }),
      ...(timeCondDim && { timeCond: guidanceEmbedding(resolved.guidance, timeCondDim, asked.length) }),
      ...(classes && { classLabels: Array<number>(asked.length).fill(resolved.upscaling?.noiseLevel ?? 0) }),
    };
  };
  const run = deepCache
    ? throughDeepCache(networks.unet, deepCache.interval, controls)
    : async (input: UNetInput, call: number, asked: readonly number[]) =>
        networks.unet.run({ ...input, ...(await controls(input, call, asked)) });
  type Inputs = ReturnType<typeof inputsOf>;
  const known = new Map<readonly Conditioning[], Map<number, Inputs>>();
  return async (sample, timestep, call) => {
    const current = rowsAt(call);
    const { rows: asked } = guidance(call);
    const kept = known.get(current) ?? new Map<number, Inputs>();
    known.set(current, kept);
    const inputs = kept.get(asked.length) ?? inputsOf(current, asked);
    kept.set(asked.length, inputs);
    const input = { sample, timestep, ...inputs, ...(mergeTokens && { mergeTokens }) };
    return run(input, call, asked);
  };
}

/** What the calls of a pass ask: all rows, or outside of `guidanceInterval` the prompt's alone. */
export function guidancePlan(resolved: ResolvedOptions, conditions: Conditions, calls: number): GuidancePlan {
  const { rows } = conditions;
  const { guidanceInterval } = resolved;
  if (rows.length < 2) return alone;
  const all = rows.map((_, i) => i);
  const inside = { rows: all, guide: guidanceOf(resolved, conditions) };
  if (!guidanceInterval) return () => inside;
  // Prompts that are combined need what they are told apart from, even at a scale of 1.
  const isCombined = rows.filter(({ negative }) => !negative).length > 1;
  const outside = isCombined
    ? { rows: all, guide: guidanceOf({ ...resolved, guidance: 1 }, conditions) }
    : { rows: all.slice(-1), guide: unguided };
  return within(guidanceInterval, calls, { inside, outside });
}

/** The guidance that belongs to some conditions. */
function guidanceOf(
  { guidance, guidanceRescale, imageGuidance, mode }: ResolvedOptions,
  { rows }: Conditions,
): Guidance {
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
