import { demand } from "../errors.js";
import type { ProgressEvent } from "../events.js";
import { notRefined } from "../options/contradictions.js";
import type { GenerateOptions, OptionName } from "../options/options.js";
import { refusal } from "../options/refusal.js";
import type { GenerateResult } from "./run.js";
import type { StableDiffusion } from "./stable-diffusion.js";

/** Options of pictures that a second model finishes. */
export interface RefinedOptions extends GenerateOptions {
  /** Above 0 and below 1: the share of the noise schedule at which the second model goes on. */
  readonly switchAt: number;
}

/** What the first model is not told: the noise is there by the time that the second one begins, and it alone knows scores. */
const ofRefiner = ["aestheticScore", "negativeAestheticScore"] as const;
const ofBase = ["latents", "variation", "seedSize", "width", "height"] as const;

/**
 * Pictures that one model begins and another finishes, of the same kind of latents: SDXL and its refiner, as in diffusers'
 * ensemble of experts and the web UI's refiner. The first stops at `switchAt` of the noise schedule, the second goes on
 * from its latents, with the same prompt; a scheduler that looks back begins to do so anew.
 *
 * @returns the pictures of the second, with what both have taken; `options` are the first one's
 * @throws DiffusionError BAD_OPTION for options that one of them cannot have
 */
export async function generateRefined(
  base: Pick<StableDiffusion, "generate">,
  refiner: Pick<StableDiffusion, "generate">,
  asked: RefinedOptions,
): Promise<GenerateResult> {
  for (const [name, model] of Object.entries({ base, refiner })) {
    demand(name, model, "object");
    demand(`${name}.generate`, model.generate, "function");
  }
  demand("options", asked, "object");
  const { switchAt, ...options } = asked;
  if (!(switchAt > 0 && switchAt < 1))
    throw refusal(`switchAt: expected a share above 0 and below 1, got ${switchAt}`);
  for (const name of notRefined)
    if (options[name] !== undefined) throw refusal(`pictures that are handed over take no ${name}`);
  const { onProgress } = options;
  let done = 0;
  const begun = await base.generate({
    ...without(options, ofRefiner),
    denoisingEnd: switchAt,
    output: "latents",
    ...(onProgress && {
      onProgress: (event: ProgressEvent) => {
        if (event.type !== "step") return onProgress(event);
        done = event.step;
        return onProgress(
          asPart(event, { before: 0, after: Math.round((event.steps * (1 - switchAt)) / switchAt) }),
        );
      },
    }),
  });
  const { width, height } = begun.options;
  const finished = await refiner.generate({
    ...without(options, ofBase),
    ...{ width, height, latents: begun.latents, denoisingStart: switchAt },
    // What was drawn goes on to count.
    seed: options.seed ?? begun.seeds[0]!,
    ...(onProgress && {
      onProgress: (event: ProgressEvent) =>
        onProgress(event.type === "step" ? asPart(event, { before: done, after: 0 }) : event),
    }),
  });
  const { denoisingEnd: _, output: __, ...printable } = begun.options;
  const { aestheticScore, negativeAestheticScore, output } = finished.options;
  return {
    ...finished,
    options: {
      ...printable,
      output,
      ...(aestheticScore !== undefined && { aestheticScore }),
      ...(negativeAestheticScore !== undefined && { negativeAestheticScore }),
    },
    notes: [...new Set([...begun.notes, ...finished.notes])],
    ms: {
      encode: begun.ms.encode + finished.ms.encode,
      denoise: begun.ms.denoise + finished.ms.denoise,
      decode: begun.ms.decode + finished.ms.decode,
    },
  };
}

/** A step of one of the two, as a step of both. @param beside steps of the other */
function asPart(
  event: Extract<ProgressEvent, { type: "step" }>,
  { before, after }: { readonly before: number; readonly after: number },
): ProgressEvent {
  return { ...event, step: before + event.step, steps: before + event.steps + after };
}

function without<Name extends OptionName>(
  options: GenerateOptions,
  names: readonly Name[],
): Omit<GenerateOptions, Name> {
  const rest: Partial<GenerateOptions> = { ...options };
  for (const name of names) delete rest[name];
  return rest as Omit<GenerateOptions, Name>;
}
