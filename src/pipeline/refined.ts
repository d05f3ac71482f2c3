import { demand } from "../errors.js";
import type { ProgressEvent } from "../events.js";
import { batched, rowsOf } from "../latents/batch.js";
import { outputs } from "../options/choices.js";
import { notRefined } from "../options/contradictions.js";
import type { GenerateOptions, OptionName } from "../options/options.js";
import { refusal } from "../options/refusal.js";
import type { GenerateResult } from "./run.js";
import type { StableDiffusion } from "./stable-diffusion.js";
import { isStoppedNote, stoppedNote } from "./stopped.js";

/** Options of pictures that a second model finishes. */
export interface RefinedOptions extends GenerateOptions {
  /** Above 0 and below 1: the share of the noise schedule at which the second model goes on. */
  readonly switchAt: number;
}

/** What the first model is not told: the second one alone knows scores. */
const ofRefiner = ["aestheticScore", "negativeAestheticScore"] as const;
/** What the second is not told: by then the noise is there, texts and seeds are drawn, and each picture has its own. */
const ofBase = [
  ...(["latents", "variation", "seedSize", "width", "height"] as const),
  ...(["prompt", "negativePrompt", "wildcards", "seed", "count", "stop"] as const),
];

/**
 * Pictures that one model begins and another finishes, of the same kind of latents: SDXL and its refiner, as in diffusers'
 * ensemble of experts and the web UI's refiner. The first stops at `switchAt` of the noise schedule, the second goes on
 * from its latents, with the same prompts and seeds; a scheduler that looks back begins to do so anew. Once `stop` is
 * aborted, each picture that the first has begun is ended with what is expected of it by then.
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
  const { onProgress, stop } = options;
  const at = { step: 0, steps: 0 };
  const step = (event: StepEvent, beside: { readonly before: number; readonly after: number }) => {
    const told = asPart(event, beside);
    at.step = told.step;
    // Once it is stopped, fewer are to come than were.
    if (!stop?.aborted || at.steps === 0) at.steps = told.steps;
    return onProgress?.(told);
  };
  const begun = await base.generate({
    ...without(options, ofRefiner),
    denoisingEnd: switchAt,
    output: "latents",
    onProgress: (event) => {
      if (event.type !== "step") return onProgress?.(event);
      return step(event, { before: 0, after: Math.round((event.steps * (1 - switchAt)) / switchAt) });
    },
  });
  const pictures = begun.seeds.length;
  const { stopped: ended = [] } = begun.options;
  const parts: GenerateResult[] = [];
  const stopped = [...ended];
  for (let from = 0; from < pictures; ) {
    // A picture that was stopped has no noise any more, and is only decoded.
    const isEnded = ended.includes(from);
    const to = isEnded || options.prompt === undefined ? from + 1 : (ended.find((i) => i > from) ?? pictures);
    const before = at.step;
    const later = (pictures - ended.length - to) / (to - from);
    // Each has the noise of the first one's last step, so that it takes one step at least before it can be stopped.
    const stopping = new AbortController();
    const part = await refiner.generate({
      ...without(options, ofBase),
      ...handedOver(begun, { from, to, hasText: options.prompt !== undefined }),
      denoisingStart: isEnded ? 1 : switchAt,
      ...(stop && !isEnded && { stop: stopping.signal }),
      onProgress: (event) => {
        if (event.type === "decode")
          return onProgress?.({ ...event, done: event.done + from, total: pictures });
        if (event.type !== "step") return onProgress?.(event);
        const image = event.image + from;
        const answer = step({ ...event, image }, { before, after: Math.round(event.steps * later) });
        if (stop?.aborted) stopping.abort();
        return answer;
      },
    });
    parts.push(part);
    stopped.push(...(part.options.stopped ?? []).map((image) => image + from));
    from += part.seeds.length;
  }
  const { denoisingEnd: _, output: __, ...printable } = begun.options;
  const {
    aestheticScore,
    negativeAestheticScore,
    output = options.output ?? outputs[0],
  } = parts[0]?.options ?? {};
  const wanted = [options.prompt].flat().length * (options.count ?? 1);
  const isStopped = stopped.length > 0 || pictures < wanted;
  const notes = [begun, ...parts].flatMap((part) => part.notes).filter((note) => !isStoppedNote(note));
  const ms = (what: keyof GenerateResult["ms"]) =>
    [begun, ...parts].reduce((sum, part) => sum + part.ms[what], 0);
  return {
    images: parts.flatMap(({ images }) => images),
    latents:
      parts.length > 0
        ? { ...parts[0]!.latents, ...batched(parts.map(({ latents }) => latents)) }
        : begun.latents,
    seeds: begun.seeds,
    options: {
      ...printable,
      output,
      ...(aestheticScore !== undefined && { aestheticScore }),
      ...(negativeAestheticScore !== undefined && { negativeAestheticScore }),
      ...(stopped.length > 0 && { stopped: stopped.toSorted((a, b) => a - b) }),
    },
    notes: [
      ...new Set([
        ...notes,
        ...(isStopped ? [stoppedNote({ ...at, begun: pictures, pictures: wanted })] : []),
      ]),
    ],
    ms: { encode: ms("encode"), denoise: ms("denoise"), decode: ms("decode") },
  };
}

/** What the second model is told of some of the pictures: the texts that were drawn, and one seed for each. */
function handedOver(
  { seeds, latents, options }: GenerateResult,
  { from, to, hasText }: { readonly from: number; readonly to: number; readonly hasText: boolean },
): GenerateOptions {
  const { width, height, prompts } = options;
  const rows = Array.from({ length: to - from }, (_, i) => from + i);
  const negativePrompts = options.negativePrompts.filter((text) => text !== undefined);
  return {
    ...{ width, height, latents: { ...latents, ...rowsOf(latents, rows) }, seed: seeds.slice(from, to) },
    ...(hasText && { prompt: prompts.slice(from, to) }),
    // Given to all, or to none.
    ...(hasText && negativePrompts.length > 0 && { negativePrompt: negativePrompts.slice(from, to) }),
  };
}

type StepEvent = Extract<ProgressEvent, { type: "step" }>;

/** A step of one of the two, as a step of both. @param beside steps of the other */
function asPart(
  event: StepEvent,
  { before, after }: { readonly before: number; readonly after: number },
): StepEvent {
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
