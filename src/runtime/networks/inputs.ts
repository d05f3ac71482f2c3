import { DiffusionError } from "../../errors.js";
import type { Values } from "../../latents/latents.js";
import type { Filled } from "../../models/fields.js";
import type { FreeU } from "../../models/freeu.js";
import { type KUNetConfig, type KUNetInputs, type KUNetSize, kTimeEmbedding } from "../../models/k-unet.js";
import { selectedSelfAttentions } from "../../models/self-attentions.js";
import { embedTimesteps } from "../../models/timestep-embedding.js";
import type { UNet2DConfig, UNet2DInputs, UNet2DSize } from "../../models/unconditional.js";
import { type UNetInputs, type UNetSize, unet } from "../../models/unet.js";
import type { UNetConfig } from "../../models/unet-config.js";
import type { Shape } from "../../ops/ops.js";
import type { Input } from "../runner.js";

/** What callers give as plain numbers becomes what networks take; checked, because these calls are public. */

export interface UNetInput {
  /** [B, H, W, C], scaled by the scheduler. */
  readonly sample: Values;
  /** One for all, or one for each of the batch. */
  readonly timestep: number | readonly number[];
  /** [B, T, D]; absent for unconditional models. */
  readonly context?: Values;
  /** The x4 upscaler's noise levels [B]. */
  readonly classLabels?: readonly number[];
  /** SDXL: pooled text [B, P] and sizes [B, 6]; its refiner: four sizes and a score [B, 5]. */
  readonly added?: { readonly textEmbeds: Values; readonly timeIds: Values };
  /** Token merging: the share of the tokens that is merged in self-attention, above 0 and at most 0.75. */
  readonly mergeTokens?: number;
  /** FreeU: factors of the first two up blocks. */
  readonly freeu?: FreeU;
  /** Layers whose self-attention is the identity: down, mid, up, or a path such as up_blocks.1.attentions.0. */
  readonly perturbed?: readonly string[];
  /** ControlNet: what is added to each skip connection, and last to the middle. */
  readonly residuals?: readonly Values[];
  /** T2I-Adapters: what is added on the way down, one for each level, and one for the middle where there are more. */
  readonly features?: readonly Values[];
  /** Of each IP-Adapter in use: its tokens [B, T, D], and how much they count, default 1. */
  readonly pictures?: readonly { readonly tokens: Values; readonly scale?: number }[];
  /** LCM's guidance embedding, or a latent upscaler's noise level and pooled prompt [B, timeCondDim]. */
  readonly timeCond?: Values;
}

/** What a network takes, as numbers. */
type Numbers<Inputs> = Filled<Inputs, Input>;

interface SizedInputs {
  readonly inputs: Numbers<UNetInputs>;
  readonly size: UNetSize;
}

/** The inputs of a conditional UNet (or of the ControlNet beside it), checked, and the size that they ask for. */
export function unetInputs(config: UNetConfig, x: UNetInput): SizedInputs {
  const [batch, height, width] = imageShape("sample", x.sample, config.inChannels);
  const { context } = x;
  if (
    context?.shape.length !== 3 ||
    context.shape[0] !== batch ||
    context.shape[2] !== config.crossAttentionDim
  )
    throw badInput("context", `[${batch}, tokens, ${config.crossAttentionDim}]`, `[${context?.shape}]`);
  const { mergeTokens, freeu, perturbed, residuals, features, pictures } = x;
  if (mergeTokens !== undefined && !(mergeTokens > 0 && mergeTokens <= 0.75))
    throw badInput("mergeTokens", "a share above 0, at most 0.75", `${mergeTokens}`);
  const size: UNetSize = {
    ...{ batch, height, width, tokens: context.shape[1]! },
    ...(mergeTokens !== undefined && { mergeTokens }),
    ...(freeu && { freeu }),
    ...(perturbed && { perturbed: selectedSelfAttentions(config, perturbed) }),
    ...(residuals && { residuals: true }),
    ...(features?.length && { features: features.length }),
    ...(pictures?.length && { pictures: pictures.map(({ tokens }) => tokens.shape[1] ?? 0) }),
  };
  const wanted = unet(config, size).inputs;
  if (residuals) checkResiduals(residuals, wanted.residuals ?? []);
  if (features?.length) checkFeatures(features, wanted.features ?? []);
  const embedding = { flipSinToCos: config.flipSinToCos, freqShift: config.freqShift };
  return {
    size,
    inputs: {
      sample: x.sample,
      time: embedTime(x.timestep, batch, { width: config.levels[0]!.channels, ...embedding }),
      context,
      ...(config.classes && { classLabels: classLabels(x.classLabels, batch) }),
      ...(config.timeCondDim && {
        timeCond: requireShape("timeCond", x.timeCond, [batch, config.timeCondDim]),
      }),
      ...(config.added && { added: addedConditions(config.added, x.added, batch, embedding) }),
      ...(pictures?.length && {
        pictures: pictures.map((picture, i) => pictureTokens(picture, i, [batch, config.crossAttentionDim])),
      }),
      ...(residuals && { residuals }),
      ...(features?.length && { features }),
    },
  };
}

/**
 * Guidance asks for the same sample with and without the prompt. Where both halves of the batch are the same but for the
 * prompt (and what is added later: ControlNet's residuals, IP-Adapter's pictures), the sample is given once.
 */
export function sharingSample({ inputs, size }: SizedInputs): SizedInputs {
  const { sample, time, classLabels, timeCond, added } = inputs;
  const conditions = [sample, time, classLabels, timeCond, added].filter((x) => x !== undefined);
  if (size.batch % 2 !== 0 || !conditions.every(hasSameHalves)) return { inputs, size };
  const half = { shape: [size.batch / 2, ...sample.shape.slice(1)], data: firstHalf(sample.data) };
  return { inputs: { ...inputs, sample: half }, size: { ...size, sharedSample: true } };
}

const firstHalf = <T extends Input["data"]>(data: T): T => data.subarray(0, data.length / 2) as T;

function hasSameHalves({ data }: Input): boolean {
  const half = data.length / 2;
  for (let i = 0; i < half; i++) if (data[i] !== data[half + i]) return false;
  return true;
}

function classLabels(labels: readonly number[] | undefined, batch: number): Input {
  if (labels?.length !== batch) throw badInput("classLabels", `${batch} numbers`, `${labels}`);
  return { shape: [batch], data: Int32Array.from(labels) };
}

function pictureTokens(
  { tokens, scale = 1 }: NonNullable<UNetInput["pictures"]>[number],
  i: number,
  [batch, width]: readonly [number, number],
): { tokens: Input; scale: Input } {
  if (!Number.isFinite(scale)) throw badInput(`pictures.${i}.scale`, "a number", `${scale}`);
  return {
    tokens: requireShape(`pictures.${i}.tokens`, tokens, [batch, tokens.shape[1] ?? 0, width]),
    scale: { shape: [batch, 1, 1], data: new Float32Array(batch).fill(scale) },
  };
}

function checkResiduals(residuals: readonly Values[], wanted: readonly { shape: Shape }[]): void {
  if (residuals.length !== wanted.length)
    throw badInput(
      "residuals",
      `${wanted.length}, one for each skip connection and the middle's`,
      `${residuals.length}`,
    );
  for (const [i, { shape }] of wanted.entries()) requireShape(`residuals.${i}`, residuals[i], shape);
}

/** T2I-Adapters are made for one kind of UNet, which shows in the shapes. */
function checkFeatures(features: readonly Values[], wanted: readonly { shape: Shape }[]): void {
  if (features.length > wanted.length)
    throw badInput("features", `at most ${wanted.length}`, `${features.length}`);
  for (const [i, { shape }] of wanted.entries())
    if (features[i]?.shape.join() !== shape.join())
      throw new DiffusionError(
        "BAD_OPTION",
        `features.${i}: expected [${shape}], got [${features[i]?.shape}]`,
        {
          hint: "the T2I-Adapter was made for another kind of model",
        },
      );
}

/** The same for a UNet of K blocks; `frequencies` are those of its time embedding. */
export function kUnetInputs(
  config: KUNetConfig,
  x: UNetInput,
  frequencies: Float32Array,
): { inputs: Numbers<KUNetInputs>; size: KUNetSize } {
  const [batch, height, width] = imageShape("sample", x.sample, config.inChannels);
  const multiple = 2 ** (config.levels.length - 1);
  const fits = (side: number) => side % multiple === 0 && side >= 2 * multiple;
  if (!fits(height) || !fits(width))
    throw badInput(
      "sample",
      `height and width in multiples of ${multiple}, at least ${2 * multiple}`,
      `${height}x${width}`,
    );
  const tokens = x.context?.shape[1] ?? 0;
  const inputs: Numbers<KUNetInputs> = {
    sample: x.sample,
    time: {
      shape: [batch, config.timeWidth],
      data: kTimeEmbedding(eachTimestep(x.timestep, batch), frequencies, config),
    },
    timeCond: requireShape("timeCond", x.timeCond, [batch, config.timeCondDim]),
    context: requireShape("context", x.context, [batch, tokens, config.crossAttentionDim]),
  };
  return { inputs, size: { batch, height, width, tokens } };
}

/** The same for an unconditional UNet. */
export function unconditionalInputs(
  config: UNet2DConfig,
  x: UNetInput,
): { inputs: Numbers<UNet2DInputs>; size: UNet2DSize } {
  const [batch, height, width] = imageShape("sample", x.sample, config.inChannels);
  const multiple = 2 ** (config.levels.length - 1);
  if (height % multiple !== 0 || width % multiple !== 0)
    throw badInput("sample", `height and width in multiples of ${multiple}`, `${height}x${width}`);
  const { flipSinToCos, freqShift } = config;
  const time = embedTime(x.timestep, batch, { width: config.levels[0]!.channels, flipSinToCos, freqShift });
  return { inputs: { sample: x.sample, time }, size: { batch, height, width } };
}

function embedTime(
  timestep: number | readonly number[],
  batch: number,
  options: { width: number; flipSinToCos: boolean; freqShift: number },
): Input {
  return { shape: [batch, options.width], data: embedTimesteps(eachTimestep(timestep, batch), options) };
}

function eachTimestep(timestep: number | readonly number[], batch: number): readonly number[] {
  const timesteps = typeof timestep === "number" ? Array<number>(batch).fill(timestep) : timestep;
  if (timesteps.length !== batch || !timesteps.every(Number.isFinite))
    throw badInput("timestep", `one number, or ${batch}`, `[${timesteps}]`);
  return timesteps;
}

/** SDXL's vector [B, width]: the pooled text, then each number about the picture embedded like a timestep. */
function addedConditions(
  { timeWidth, width }: NonNullable<UNetConfig["added"]>,
  added: UNetInput["added"],
  batch: number,
  embedding: { flipSinToCos: boolean; freqShift: number },
): Input {
  const [textEmbeds, timeIds] = [added?.textEmbeds, added?.timeIds];
  // Six sizes; of a refiner four, and a score.
  const count = timeIds?.shape[1] === 5 ? 5 : 6;
  const textWidth = width - count * timeWidth;
  const text = requireShape("added.textEmbeds", textEmbeds, [batch, textWidth]);
  const ids = requireShape("added.timeIds", timeIds, [batch, count]);
  const embedded = embedTimesteps([...ids.data], { width: timeWidth, ...embedding });
  const data = new Float32Array(batch * width);
  for (let b = 0; b < batch; b++) {
    data.set(text.data.subarray(b * textWidth, (b + 1) * textWidth), b * width);
    data.set(embedded.subarray(b * count * timeWidth, (b + 1) * count * timeWidth), b * width + textWidth);
  }
  return { shape: [batch, width], data };
}

/** @throws DiffusionError BAD_OPTION for anything but [batch, height, width, channels] */
export function imageShape(
  name: string,
  x: Values,
  channels: number,
): [batch: number, height: number, width: number] {
  requireFields(name, x, ["shape", "data"]);
  const [batch, height, width, last] = x.shape;
  const whole = x.shape.length === 4 && batch! * height! * width! * channels === x.data.length;
  if (!whole || last !== channels)
    throw badInput(name, `[batch, height, width, ${channels}]`, `[${x.shape}] with ${x.data.length} numbers`);
  return [batch!, height!, width!];
}

export function requireShape(name: string, x: Values | undefined, shape: readonly number[]): Values {
  if (x?.shape.join() !== shape.join()) throw badInput(name, `[${shape}]`, x ? `[${x.shape}]` : "nothing");
  return x;
}

/** @throws DiffusionError BAD_OPTION for what lacks a field, or is no object at all, such as a promise */
export function requireFields(name: string, x: unknown, fields: readonly string[]): void {
  const got = x instanceof Promise ? "a promise (await it first)" : x === undefined ? "nothing" : typeof x;
  if (typeof x !== "object" || x === null || x instanceof Promise)
    throw badInput(name, `an object with ${fields.join(" and ")}`, got);
  const missing = fields.find((field) => Reflect.get(x, field) === undefined);
  if (missing !== undefined) throw badInput(`${name}.${missing}`, "a value", "nothing");
}

export const badInput = (name: string, expected: string, got: string) =>
  new DiffusionError("BAD_OPTION", `${name}: expected ${expected}, got ${got}`);
