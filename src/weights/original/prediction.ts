import type { JsonObject } from "../../disk/json.js";
import { DiffusionError } from "../../errors.js";
import type { Tensors } from "../checkpoint.js";
import { architecturePrediction } from "./architecture.js";
import type { Family } from "./config.js";
import { type OwnSchedule, ownSchedule } from "./own-schedule.js";
import { consistencyScheduler, type Prediction, schedulerConfig } from "./schedulers.js";
import { scaleEmbedding } from "./unet-config.js";

/** A file's own table of its schedule. */
export const scheduleTable = "alphas_cumprod";

/** What a file says of itself beside its weights. */
export interface Marks {
  readonly stored: Tensors;
  readonly metadata: ReadonlyMap<string, string>;
  /** The values of small tensors that stand beside the networks. */
  readonly value: (name: string) => readonly number[] | undefined;
}

export interface Sampling {
  readonly scheduler: JsonObject;
  /** What was assumed, or where the file contradicts itself or what it was given. */
  readonly notes: readonly string[];
}

/** What is known about a model beside its file. */
export interface Given {
  /** The option. */
  readonly prediction?: Prediction | undefined;
  /** The scheduler of the folder that lends its configurations. */
  readonly scheduler?: JsonObject | undefined;
}

/**
 * The scheduler of a single file. What its UNet predicts is decided by the first of these that says something:
 *
 * 1. the option `prediction`;
 * 2. tensors that mark the model: `edm_vpred.sigma_max` (EDM with v-prediction, as CosXL), `edm_mean` and `edm_std`
 *    (EDM, as Playground v2.5), `v_pred`;
 * 3. the file's metadata, `modelspec.prediction_type`, or `modelspec.architecture` of Stable Diffusion 2;
 * 4. the scheduler of the folder in `config`;
 * 5. `global_step` of Stable Diffusion 2, by which diffusers knows its base version;
 * 6. what models of its family usually do. For Stable Diffusion 2 that is a guess, and a note says so.
 *
 * Whether its schedule ends in noise is decided by the tensor `ztsnr`, or by the file's table where that is the family's,
 * rescaled so; another table is in the notes.
 *
 * @throws DiffusionError UNSUPPORTED for a prediction_type that is none of these
 */
export function samplingOf(marks: Marks, family: Family, pipeline: string, given: Given): Sampling {
  const edm = edmScheduler(marks);
  const claims = [
    { by: "the option prediction", says: given.prediction },
    { by: "the file's marker tensors", says: markedPrediction(marks) },
    { by: "the file's modelspec.prediction_type", says: specifiedPrediction(marks) },
    {
      by: "the file's modelspec.architecture",
      says: family === "sd2" ? architecturePrediction(marks.metadata) : undefined,
    },
    { by: "the scheduler of config", says: predictionIn(given.scheduler) },
    { by: "the file's global_step", says: family === "sd2" ? steppedPrediction(marks) : undefined },
  ].filter((claim) => claim.says !== undefined);
  const [winner, ...others] = claims;
  const says = winner?.says ?? usual(family, pipeline);
  const against = others.filter((other) => other.says !== says);
  const notes = [
    ...against.map(
      (other) => `the UNet is taken to predict ${says}, by ${winner?.by}; ${other.by} says ${other.says}`,
    ),
    ...(winner ? [] : guessed(family, pipeline, says)),
  ];
  if (edm) return { scheduler: { ...edm, prediction_type: says }, notes };
  const base = given.scheduler;
  const plain = base
    ? { ...base, ...(claims.length > 0 && { prediction_type: says }) }
    : isConsistency(marks)
      ? consistencyScheduler(says)
      : schedulerConfig(family, pipeline, says);
  const own = tableSays(marks, plain);
  const zeroSnr = marks.stored.has("ztsnr") || own === "ends in noise";
  const scheduler = zeroSnr ? endingInNoise(plain, base !== undefined) : plain;
  return { scheduler, notes: [...notes, ...scheduleNotes(own, zeroSnr, scheduler)] };
}

const isConsistency = ({ stored }: Marks): boolean =>
  [...stored.keys()].some((name) => name.endsWith(scaleEmbedding));

function tableSays({ stored, value }: Marks, scheduler: JsonObject): OwnSchedule | undefined {
  const isRounded = /^F8_/.test(stored.get(scheduleTable)?.dtype ?? "");
  const table = isRounded ? undefined : value(scheduleTable);
  return table && ownSchedule(table, scheduler);
}

function scheduleNotes(own: OwnSchedule | undefined, zeroSnr: boolean, scheduler: JsonObject): string[] {
  const className = String(scheduler._class_name);
  if (zeroSnr && !endInNoise.test(className))
    return [
      `the file's schedule ends in noise (zero terminal SNR), which the scheduler of config, ${className}, does not do: name another, such as ddim`,
    ];
  if (own === "disagrees")
    return [
      `the file's alphas_cumprod are not those of its scheduler (${String(scheduler.beta_schedule)}, ${String(scheduler.beta_start)} to ${String(scheduler.beta_end)}), which is used as in diffusers; if pictures are wrong, give config a folder with the right one`,
    ];
  return [];
}

/** diffusers' classes that can end a schedule in noise. */
const endInNoise =
  /^((DDIM|DDPM)(Parallel)?|EulerDiscrete|EulerAncestralDiscrete|DPMSolverMultistep|UniPCMultistep|LCM|TCD)Scheduler$/;

function endingInNoise(scheduler: JsonObject, isGiven: boolean): JsonObject {
  const keys = { rescale_betas_zero_snr: true, timestep_spacing: "trailing" };
  const isAble = isGiven || endInNoise.test(String(scheduler._class_name));
  return { ...scheduler, ...keys, ...(!isAble && { _class_name: "DDIMScheduler" }) };
}

/** Of diffusers' config: absent means epsilon, but says nothing. */
function predictionIn(scheduler: JsonObject | undefined): Prediction | undefined {
  const type = scheduler?.prediction_type;
  return type === "epsilon" || type === "v_prediction" ? type : undefined;
}

function markedPrediction({ stored }: Marks): Prediction | undefined {
  if (stored.has("edm_vpred.sigma_max") || stored.has("v_pred")) return "v_prediction";
  return stored.has("edm_mean") || stored.has("edm_std") ? "epsilon" : undefined;
}

const words = new Map<string, Prediction>([
  ["epsilon", "epsilon"],
  ["eps", "epsilon"],
  ["v", "v_prediction"],
  ["v_prediction", "v_prediction"],
  ["v-prediction", "v_prediction"],
]);

function specifiedPrediction({ metadata }: Marks): Prediction | undefined {
  const said = metadata.get("modelspec.prediction_type");
  if (said === undefined || said === "") return undefined;
  const known = words.get(said.toLowerCase());
  if (known) return known;
  throw new DiffusionError(
    "UNSUPPORTED",
    `its metadata says modelspec.prediction_type ${JSON.stringify(said)}`,
    {
      hint: 'Models that predict "epsilon" or "v" can be used; if this one does, give prediction.',
    },
  );
}

/** Steps of training after which a version of Stable Diffusion 2 was published: 512-base; 768-v and 2.1's. */
const published = new Map<number, Prediction>([
  [875_000, "epsilon"],
  [110_000, "v_prediction"],
  [140_000, "v_prediction"],
]);

function steppedPrediction({ value, metadata }: Marks): Prediction | undefined {
  const step = value("global_step")?.[0] ?? Number(metadata.get("global_step"));
  return published.get(step);
}

function usual(family: Family, pipeline: string): Prediction {
  if (family === "upscaler") return "v_prediction";
  return family === "sd2" && pipeline === "StableDiffusionPipeline" ? "v_prediction" : "epsilon";
}

function guessed(family: Family, pipeline: string, says: Prediction): string[] {
  const isOpen = family === "turbo" || (family === "sd2" && pipeline === "StableDiffusionPipeline");
  const other = says === "epsilon" ? "v_prediction" : "epsilon";
  const as = family === "turbo" ? "SD-Turbo" : "the 768 versions of Stable Diffusion 2";
  return isOpen
    ? [
        `the file does not say what its UNet predicts: ${says} is assumed, as of ${as}; if pictures are noise, give prediction "${other}"`,
      ]
    : [];
}

/**
 * Models that are trained on continuous noise levels (Karras et al. 2022, arXiv:2206.00364) are marked by tensors that
 * hold their range, or the latents' mean and deviation.
 */
function edmScheduler({ stored, value }: Marks): JsonObject | undefined {
  const most = value("edm_vpred.sigma_max")?.[0];
  if (most !== undefined)
    return {
      _class_name: "EDMEulerScheduler",
      num_train_timesteps: 1000,
      sigma_min: value("edm_vpred.sigma_min")?.[0] ?? 0.002,
      sigma_max: most,
      sigma_data: 1,
      sigma_schedule: "exponential",
    };
  if (!stored.has("edm_mean") && !stored.has("edm_std")) return undefined;
  return {
    _class_name: "EDMDPMSolverMultistepScheduler",
    num_train_timesteps: 1000,
    sigma_min: 0.002,
    sigma_max: 80,
    sigma_data: 0.5,
    sigma_schedule: "karras",
    rho: 7,
    solver_order: 2,
    algorithm_type: "dpmsolver++",
    solver_type: "midpoint",
    lower_order_final: true,
    euler_at_final: false,
    final_sigmas_type: "zero",
  };
}

/**
 * Of EDM models such as Playground v2.5: the latents' mean and deviation by channel, which take the place of one factor.
 *
 * @throws DiffusionError FILE_FORMAT where one of the two is absent, or they do not fit the latents
 */
export function edmLatents({ stored, value }: Marks, channels: number): JsonObject | undefined {
  if (!stored.has("edm_mean") && !stored.has("edm_std")) return undefined;
  const [mean, deviation] = [value("edm_mean"), value("edm_std")];
  if (mean?.length !== channels || deviation?.length !== channels)
    throw new DiffusionError(
      "FILE_FORMAT",
      `edm_mean and edm_std should have a value for each of ${channels} channels of the latents, and have ${mean?.length ?? 0} and ${deviation?.length ?? 0}`,
    );
  return { latents_mean: [...mean], latents_std: [...deviation], scaling_factor: 0.5 };
}
