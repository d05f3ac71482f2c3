import { internal } from "../errors.js";
import type { Size } from "../image/image.js";
import { batched, rowsOf } from "../latents/batch.js";
import type { Values } from "../latents/latents.js";
import { embedTimesteps } from "../models/timestep-embedding.js";
import type { UNetConfig } from "../models/unet-config.js";
import type { Conditioning } from "../options/conditioning.js";
import type { WholeOptions } from "../options/resolved.js";
import type { UNetInput } from "../runtime/networks/inputs.js";
import type { UNet } from "../runtime/networks/unet.js";
import { addedConditions } from "./added-conditions.js";
import type { Conditions } from "./conditioning.js";
import type { Controls } from "./control.js";
import { throughDeepCache } from "./deep-cache.js";
import type { Predict } from "./denoise.js";
import {
  classifierFree,
  composed,
  type Guidance,
  type GuidancePlan,
  imageAndText,
  oneCondition,
  perturbedAttention,
  unguided,
  within,
} from "./guidance.js";
import { latentUpscaler } from "./latent-upscale.js";
import type { Loaded } from "./loaded.js";
import { inTiles, tilesFor } from "./upscale.js";

/** What a pass is besides its conditions. */
export interface PassShape {
  readonly size: Size;
  /** What prompt editing counts: the steps of this pass and of the one before it. */
  readonly edited: { readonly steps: number; readonly before: number };
  readonly guidance: GuidancePlan;
  readonly controls: Controls;
  /** Noise levels of the evaluations, where the scheduler works on them. */
  readonly sigmas?: readonly number[];
}

/** The UNet with everything that stays the same from step to step filled in; upscalers work in tiles. */
export async function predictor(
  loaded: Loaded,
  conditions: Conditions,
  options: WholeOptions,
  pass: PassShape,
): Promise<Predict> {
  const predict = await wholePredictor(loaded, conditions, options, pass);
  const { upscaling, signal } = options;
  if (!upscaling) return predict;
  const { factor } = loaded.model;
  const cells = { width: pass.size.width / factor, height: pass.size.height / factor };
  const { latentUpscaling } = loaded.traits;
  const plan = tilesFor(loaded.model, cells, upscaling, latentUpscaling && latentUpscaling.scale / factor);
  return plan ? inTiles(predict, plan, signal) : predict;
}

/** By the kind of the network, for all that it is asked about at once. */
async function wholePredictor(
  loaded: Loaded,
  conditions: Conditions,
  options: WholeOptions,
  pass: PassShape,
): Promise<Predict> {
  const { networks, model } = loaded;
  switch (model.unet.kind) {
    case "unconditional_unet":
      return (sample, timestep) => networks.unet.run({ sample, timestep });
    case "k_unet": {
      const { edited, guidance, sigmas } = pass;
      const run = { steps: edited.steps, guidance, sigmas };
      return latentUpscaler(loaded, model.unet.config, conditions, run);
    }
    case "unet":
      return conditionalPredictor(networks.unet, conditions, options, {
        ...pass,
        config: model.unet.config,
      });
    default:
      throw internal(`nothing asks a network of the kind ${model.unet satisfies never}`);
  }
}

/** The conditional UNet: with its conditions, adapters, and what makes it cheaper or guides it further. */
async function conditionalPredictor(
  unet: UNet,
  conditions: Conditions,
  options: WholeOptions,
  pass: PassShape & { readonly config: UNetConfig },
): Promise<Predict> {
  const { guidance, controls, edited } = pass;
  const { deepCache, tokenMerging: mergeTokens, freeu, pag } = options;
  const run = deepCache
    ? throughDeepCache(unet, deepCache.interval, controls)
    : async (input: UNetInput, evaluation: number, asked: readonly number[]) =>
        unet.run({ ...input, ...(await controls.add(input, evaluation, asked)) });
  const conditionsAt = await conditions.over(edited.steps, edited.before);
  const inputsFor = conditionInputs(conditions.rows, options, pass);
  return async (sample, timestep, evaluation) => {
    const { rows: asked, isPerturbed } = guidance(evaluation);
    const inputFor = (asked: readonly number[], sample: Values): UNetInput => ({
      ...{ sample, timestep, ...inputsFor(conditionsAt(evaluation), asked) },
      ...(mergeTokens && { mergeTokens }),
      ...(freeu && { freeu }),
    });
    const answers = await run(inputFor(asked, sample), evaluation, asked);
    if (!isPerturbed) return answers;
    const last = asked.slice(-1);
    const input = inputFor(last, rowsOf(sample, [asked.length - 1]));
    return batched([answers, await run({ ...input, perturbed: pag!.layers }, evaluation, last)]);
  };
}

/**
 * What the UNet is told of the rows that are asked about, beside sample and timestep. It is the same at every evaluation
 * for which the conditions are, and made once for these; of fewer rows there are only ever the last ones.
 */
function conditionInputs(
  rows: Conditions["rows"],
  options: WholeOptions,
  { config, size }: { readonly config: UNetConfig; readonly size: Size },
) {
  const { timeCondDim, added, classes } = config;
  const made = (conditions: readonly Conditioning[], asked: readonly number[]) => {
    const current = asked.map((row) => conditions[row]!);
    const own = asked.map((row) => rows[row]!);
    return {
      context: batched(current.map(({ context }) => context)),
      ...(added && { added: addedConditions(own, current, options, size) }),
      ...(timeCondDim && { timeCond: guidanceEmbedding(options.guidance, timeCondDim, asked.length) }),
      ...(classes && { classLabels: Array<number>(asked.length).fill(options.upscaling?.noiseLevel ?? 0) }),
    };
  };
  const known = new Map<readonly Conditioning[], Map<number, ReturnType<typeof made>>>();
  return (conditions: readonly Conditioning[], asked: readonly number[]) => {
    const kept = known.get(conditions) ?? new Map<number, ReturnType<typeof made>>();
    known.set(conditions, kept);
    const inputs = kept.get(asked.length) ?? made(conditions, asked);
    kept.set(asked.length, inputs);
    return inputs;
  };
}

/** What the evaluations of a pass are for: all rows, or outside of `guidanceInterval` only the prompt's. */
export function guidancePlan(
  options: WholeOptions,
  conditions: Conditions,
  evaluations: number,
): GuidancePlan {
  const { rows } = conditions;
  const { guidanceInterval, pag } = options;
  if (rows.length < 2 && !pag) return oneCondition;
  const all = rows.map((_, i) => i);
  const inside = { rows: all, guide: guidanceOf(options, conditions), isPerturbed: pag !== undefined };
  if (!guidanceInterval) return () => inside;
  // Prompts that are combined need what they are told apart from, even at a scale of 1.
  const isCombined = rows.filter(({ negative }) => !negative).length > 1;
  const outside = isCombined
    ? { rows: all, guide: guidanceOf({ ...options, guidance: 1 }, conditions) }
    : { rows: all.slice(-1), guide: unguided };
  return within(guidanceInterval, evaluations, { inside, outside });
}

/** The guidance that belongs to some conditions. */
function guidanceOf(
  { guidance, guidanceRescale, imageGuidance, mode, pag }: WholeOptions,
  { rows }: Conditions,
): Guidance {
  if (pag) {
    const free = { scale: guidance, rescale: guidanceRescale };
    return perturbedAttention(pag.scale, rows.length > 1 ? free : undefined);
  }
  if (mode === "instruct") return imageAndText(guidance, imageGuidance!, guidanceRescale);
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
