import { DiffusionError } from "../errors.js";
import type { Size } from "../image/image.js";
import { checkMargins } from "../image/outpaint.js";
import type { Latents } from "../latents/latents.js";
import type { Seed } from "../latents/rng.js";
import { findsItsSteps } from "../schedulers/catalog.js";
import type { SchedulerConfig } from "../schedulers/config.js";
import type { SamplerPair } from "../schedulers/names.js";
import { schedulerConfig } from "../schedulers/scheduler.js";
import { type WildcardLists, wildcards } from "../text/wildcards.js";
import { maskedContents, usualStrengths } from "./choices.js";
import { refuseContradictions, refuseOtherScaling } from "./contradictions.js";
import type { IpAdapterInput } from "./control-options.js";
import { usualGuidance, usualSteps, withGenerationDefaults } from "./generation-defaults.js";
import { descriptions, type GenerateOptions, type KeptOptions } from "./options.js";
import type { Mode, ModelTraits, ResolvedOptions, Upscaling, WholeOptions } from "./resolved.js";
import { checkOptions } from "./schema.js";
import { seedsOfPicture } from "./seeds.js";
import { resolvedHires, sizeOf } from "./sizes.js";
import { unprintable } from "./unprintable.js";

const ONLY_MASKED_PADDING = 32; // the web UI's

/**
 * Fills in the defaults and derives the mode. Pure: what must be drawn or read comes as an argument.
 *
 * @param drawn seeds for those who give none; the size of the image to start from, where there is one; the lists of
 *   `wildcards`, read
 * @throws DiffusionError BAD_OPTION for options that contradict each other or the model
 */
export function resolveOptions(
  asked: GenerateOptions,
  model: ModelTraits,
  drawn: { seed: number; variationSeed: number; imageSize?: Size; wildcards?: WildcardLists },
): WholeOptions {
  checkOptions(asked);
  refuseContradictions(asked, model);
  const options = withGenerationDefaults(asked, model, drawn.imageSize !== undefined);
  const mode = modeOf(options, model);
  const { width, height } = sizeOf(options, mode, model, drawn.imageSize);
  const written = promptsOf(options, model);
  const seeding = seedsOf(options, written.prompts.length, drawn);
  const texts = drawn.wildcards ? drawnTexts(written, seeding.seeds, drawn.wildcards) : written;
  const { scheduler = model.scheduler, hires } = options;
  const printable: ResolvedOptions = {
    mode,
    ...texts,
    ...seeding,
    width,
    height,
    steps: options.steps ?? usualSteps(model),
    guidance: options.guidance ?? usualGuidance(model),
    scheduler: typeof scheduler === "function" ? "custom" : schedulerConfig(scheduler, model.scheduler),
    ...nameOf(scheduler),
    ...kept(options),
    ...(options.pag && { pag: { layers: ["mid"], ...options.pag } }),
    ...(model.isRefiner && {
      aestheticScore: options.aestheticScore ?? 6,
      negativeAestheticScore: options.negativeAestheticScore ?? 2.5,
    }),
    ...(mode === "instruct" && { imageGuidance: options.imageGuidance ?? 1.5 }),
    ...(mode === "upscale" ? { upscaling: upscalingOf(options, model) } : imageOptions(options, mode, model)),
    ...(options.controlnet && {
      controlnet: options.controlnet.map(({ image: _, mask: _mask, ...rest }) => rest),
    }),
    ...(options.ipAdapter && {
      ipAdapter: ([options.ipAdapter].flat() as IpAdapterInput[]).map(({ image: _, ...rest }) => rest),
    }),
    ...(hires && { hires: resolvedHires(hires, { width, height }, model.factor) }),
  };
  if (options.guidanceInterval && printable.scheduler !== "custom") refuseUnknownLength(printable.scheduler);
  if (model.latentUpscaling) checkLatentUpscaler(printable, model);
  if (options.latents) checkLatents(options.latents, printable, model);
  // Without denoisingStart they are noise, which is the same for all.
  if (options.latents && options.denoisingStart !== undefined)
    refuseOtherScaling("latents", options.latents, model);
  return { ...printable, printable, ...unprintable(options, printable, model) };
}

/** A rule that was named, by ours or by the web UI's pair of names. */
function nameOf(
  scheduler: NonNullable<GenerateOptions["scheduler"]>,
): Pick<ResolvedOptions, "schedulerName"> {
  if (typeof scheduler === "string") return { schedulerName: scheduler };
  return isPair(scheduler) ? { schedulerName: scheduler } : {};
}

const isPair = (scheduler: object): scheduler is SamplerPair => "sampler" in scheduler;

/** Shares of a run need its length. */
function refuseUnknownLength(config: SchedulerConfig): void {
  if (findsItsSteps(config))
    throw new DiffusionError(
      "BAD_OPTION",
      `${config._class_name} finds its steps on the way, so guidanceInterval means nothing to it`,
    );
}

function modeOf(options: GenerateOptions, { hasText, sees }: ModelTraits): Mode {
  if (sees === "image") return "instruct";
  if (sees === "lowres") return "upscale";
  if (options.expand) return "outpaint";
  if (options.mask !== undefined) return "inpaint";
  if (options.image !== undefined) return "img2img";
  return hasText ? "txt2img" : "unconditional";
}

function imageOptions(options: GenerateOptions, mode: Mode, model: ModelTraits): Partial<ResolvedOptions> {
  if (options.image === undefined) return {};
  const painting = mode === "inpaint" || mode === "outpaint";
  const { onlyMasked, expand } = options;
  const padding = typeof onlyMasked === "object" ? onlyMasked.padding : ONLY_MASKED_PADDING;
  return {
    resizeMode: options.resizeMode ?? "stretch",
    ...(mode !== "instruct" &&
      options.denoisingStart === undefined && { strength: options.strength ?? defaultStrength(mode, model) }),
    ...(painting && {
      inpainting: {
        invert: options.maskInvert ?? false,
        blur: options.maskBlur ?? 4,
        ...(options.maskBlurSide === "both" && {
          bothSides: { columns: options.maskBlurY ?? options.maskBlur ?? 4 },
        }),
        content: options.maskedContent ?? maskedContents[0],
        ...(onlyMasked && { padding }),
        scaled: !onlyMasked && (options.width !== undefined || options.height !== undefined),
      },
    }),
    ...(expand && {
      outpainting: {
        margins: checkMargins(expand),
        step: options.expandStep ?? Math.max(8, model.size / 2),
        seamStrength: options.seamStrength ?? 0,
      },
    }),
  };
}

const upscalingOf = ({ noiseLevel, tiles }: GenerateOptions, model: ModelTraits): Upscaling => ({
  // What diffusers' three pipelines do.
  filter: model.mostNoise === undefined && !model.latentUpscaling ? "lanczos" : "bicubic",
  ...(model.mostNoise !== undefined && { noiseLevel: noiseLevel ?? Math.min(20, model.mostNoise) }),
  ...(tiles && { tiles }),
});

/**
 * What goes on beyond an edge is painted better from the edge's own colours than from pure noise, out of which objects
 * come that the edge would cut off; a model that sees the mask needs less freedom for it.
 */
function defaultStrength(mode: Mode, { sees, isRefiner }: ModelTraits): number {
  const usual = usualStrengths;
  if (isRefiner && mode === "img2img") return usual.refiner; // diffusers'
  if (mode === "outpaint") return sees === "mask" ? usual.outpaint : usual.outpaintWithoutMask;
  return mode === "inpaint" ? usual.inpaint : usual.image;
}

function promptsOf(options: GenerateOptions, { hasText }: ModelTraits) {
  const { count = 1 } = options;
  const list = (value: string | string[] | undefined) => (Array.isArray(value) ? value : [value]);
  const prompts = hasText ? list(options.prompt).map((prompt) => prompt ?? "") : [""];
  const each = (name: "negativePrompt" | "prompt2" | "negativePrompt2"): (string | undefined)[] => {
    const values = list(options[name]);
    if (values.length !== 1 && values.length !== prompts.length)
      throw new DiffusionError(
        "BAD_OPTION",
        `${name} has ${values.length} entries for ${prompts.length} prompts`,
        { hint: "give one for all, or one for each" },
      );
    return prompts.flatMap((_, i) => Array(count).fill(values.length === 1 ? values[0] : values[i]));
  };
  return {
    prompts: prompts.flatMap((prompt) => Array<string>(count).fill(prompt)),
    negativePrompts: each("negativePrompt"),
    ...(options.prompt2 !== undefined && { prompts2: each("prompt2") as string[] }),
    ...(options.negativePrompt2 !== undefined && { negativePrompts2: each("negativePrompt2") }),
  };
}

type Texts = ReturnType<typeof promptsOf>;

/** What the texts of each picture leave open is drawn by its seed; both text encoders get the same of one text. */
function drawnTexts(
  { prompts, negativePrompts, prompts2, negativePrompts2 }: Texts,
  seeds: readonly (number | bigint)[],
  lists: WildcardLists,
): Texts {
  const each = <Text extends string | undefined>(texts: readonly Text[], draw: typeof drawnPrompt) =>
    texts.map((text, i) => (text === undefined ? text : draw(text, seeds[i]!, lists)) as Text);
  return {
    prompts: each(prompts, drawnPrompt),
    negativePrompts: each(negativePrompts, drawnNegativePrompt),
    ...(prompts2 && { prompts2: each(prompts2, drawnPrompt) }),
    ...(negativePrompts2 && { negativePrompts2: each(negativePrompts2, drawnNegativePrompt) }),
  };
}

/** A prompt of which nothing is left open. @param seed of the picture */
export const drawnPrompt = (text: string, seed: number | bigint, lists: WildcardLists): string =>
  wildcards(seed, lists, "prompt")(text);
/** Independent of the prompt's draws. */
const drawnNegativePrompt: typeof drawnPrompt = (text, seed, lists) =>
  wildcards(seed, lists, "negative prompt")(text);

/** One for each picture, and how they are varied. @param pictures of all prompts */
function seedsOf(
  { seed, variation, count = 1 }: GenerateOptions,
  pictures: number,
  drawn: { seed: number; variationSeed: number },
): Pick<ResolvedOptions, "seeds" | "variation"> {
  const prompts = pictures / count;
  if (Array.isArray(seed) && seed.length !== prompts)
    throw new DiffusionError("BAD_OPTION", `seed has ${seed.length} entries for ${prompts} prompts`, {
      hint: "give one for all, or one for each",
    });
  const varied = variation && { variation: { ...variation, seed: variation.seed ?? drawn.variationSeed } };
  const each = Array.from({ length: pictures }, (_, picture) =>
    Array.isArray(seed)
      ? seedsOfPicture({ seed: seed[Math.floor(picture / count)], ...varied }, picture % count)
      : seedsOfPicture({ seed: (seed as Seed | undefined) ?? drawn.seed, ...varied }, picture),
  );
  const others = each.flatMap(({ variation }) => variation?.seed ?? []);
  return {
    seeds: each.map(({ seed }) => seed),
    ...(others.length > 0 && { variation: { seeds: others, strength: variation!.strength } }),
  };
}

/** Its preconditioning is that of Euler's rule on noise levels. */
function checkLatentUpscaler({ scheduler }: ResolvedOptions, { name }: ModelTraits): void {
  if (scheduler === "custom" || /^Euler(Ancestral)?Discrete/.test(String(scheduler._class_name))) return;
  throw new DiffusionError("BAD_OPTION", `${name} works only with euler and euler_a`, {
    hint: "leave the scheduler out",
  });
}

function checkLatents(
  { shape, data }: Latents,
  { prompts, width, height }: ResolvedOptions,
  { factor, channels }: ModelTraits,
) {
  const expected = [prompts.length, height / factor, width / factor, channels];
  const product = shape.reduce((a, b) => a * b, 1);
  if (shape.join() !== expected.join() || product !== data.length)
    throw new DiffusionError(
      "BAD_OPTION",
      `latents: expected [${expected.join(", ")}], got [${shape.join(", ")}] with ${data.length} numbers`,
    );
}

/** What decides about the picture as it is given, or as it is without a word. */
function kept(options: GenerateOptions): KeptOptions {
  const values = descriptions.flatMap(([name, described]) => {
    const value = options[name] ?? described.fallback;
    return described.kept && value !== undefined ? [[name, value]] : [];
  });
  return Object.fromEntries(values) as KeptOptions;
}
