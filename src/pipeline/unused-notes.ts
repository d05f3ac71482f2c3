import type { Conditions } from "../generation/conditioning.js";
import { emphases, resizeModes } from "../options/choices.js";
import type { GenerateOptions, GenerationDefaults } from "../options/options.js";
import type { ModelTraits, WholeOptions } from "../options/resolved.js";
import { idleKeys, idleSchedule, takesEta } from "../schedulers/catalog.js";
import type { SchedulerConfig } from "../schedulers/config.js";

/** What was asked for and has no effect, one sentence each. @param conditions of each image */
export const unusedNotes = (
  asked: GenerateOptions,
  options: WholeOptions,
  model: ModelTraits,
  conditions: readonly Conditions[],
): string[] => [
  ...etaNotes(options),
  ...scheduleNotes(options),
  ...configurationNotes(asked, options, model),
  ...(model.hasText ? guidanceNotes(asked, options, model, conditions) : []),
  ...embeddingNotes(asked, options, conditions),
  ...resizeNotes(asked),
];

function etaNotes({ eta, scheduler }: WholeOptions): string[] {
  if (eta === undefined || scheduler === "custom" || takesEta(scheduler)) return [];
  return [`eta ${eta} has no effect: ${scheduler._class_name} does not take it`];
}

function scheduleNotes({ scheduler, schedulerName: name, ...options }: WholeOptions): string[] {
  if (scheduler === "custom" || name === undefined) return [];
  const { steps, strength = 1, denoisingStart = 0, denoisingEnd = 1, hires } = options;
  const isWhole = strength === 1 && denoisingStart === 0 && denoisingEnd === 1 && !hires;
  const idle = idleSchedule(name, scheduler, isWhole ? { steps } : undefined);
  if (idle === undefined) return [];
  const sampler = typeof name === "string" ? name : name.sampler;
  return [`the schedule ${idle} has no effect: ${sampler} goes its own way from noise to picture`];
}

/** Keys that the call's own configuration of a scheduler holds in vain; those of the model's are `configNotes`. */
function configurationNotes(
  { scheduler: asked }: GenerateOptions,
  { scheduler }: WholeOptions,
  model: ModelTraits,
): string[] {
  if (typeof asked !== "object" || "sampler" in asked || scheduler === "custom") return [];
  const keys = idleKeys(asked as SchedulerConfig, model.scheduler);
  if (keys.length === 0) return [];
  return [
    `${keys.join(", ")} in scheduler: without effect, as ${scheduler._class_name} does not read such keys`,
  ];
}

const isGuided = (conditions: readonly Conditions[]): boolean =>
  conditions.some(({ rows }) => rows.some(({ negative }) => negative));

/** What acts only on the answer for the negative prompt, or on how that and the prompt's become one. */
function guidanceNotes(
  asked: GenerateOptions,
  { guidance, mode, imageGuidance = 1, pag }: WholeOptions,
  { name, guidanceEmbedding, defaults }: ModelTraits,
  conditions: readonly Conditions[],
): string[] {
  if (isGuided(conditions)) return [];
  // What the model's own defaults say was not asked for, also where a server has filled it in.
  const isAsked = (key: keyof GenerateOptions) =>
    asked[key] !== undefined && asked[key] !== defaults?.[key as keyof GenerationDefaults];
  const says = (key: "negativePrompt" | "negativePrompt2") =>
    isAsked(key) && [asked[key]].flat().some((text) => text !== "");
  const unused = [
    ...(["negativePrompt", "negativePrompt2"] as const).filter(says),
    ...(isAsked("negativePromptEmbeds") ? ["negativePromptEmbeds"] : []),
    ...(isAsked("guidanceRescale") && asked.guidanceRescale !== 0 ? ["guidanceRescale"] : []),
    ...(isAsked("guidanceInterval") && !pag ? ["guidanceInterval"] : []),
    ...(asked.sizes?.negative ? ["sizes.negative"] : []),
    ...(isAsked("negativeAestheticScore") ? ["negativeAestheticScore"] : []),
  ];
  if (guidanceEmbedding)
    return unused.map(
      (option) =>
        `${option} has no effect: ${name} is told its guidance, and is asked about the prompt alone`,
    );
  const isBelow = mode === "instruct" && imageGuidance < 1;
  const why = isBelow
    ? `imageGuidance ${imageGuidance} is below 1, which turns all guidance off`
    : `guidance ${guidance} turns guidance off`;
  return [
    ...(guidance > 0 && guidance < 1 && isAsked("guidance")
      ? [`guidance ${guidance} acts as 1, which turns guidance off: only above 1 there is some`]
      : []),
    ...[
      ...unused,
      ...(isBelow && guidance > 1 ? ["guidance"] : []),
      ...(!isBelow && mode === "instruct" && isAsked("imageGuidance") ? ["imageGuidance"] : []),
    ].map((option) => `${option} has no effect: ${why}`),
  ];
}

/** What says how texts are read, where embeddings stand in their place. */
function embeddingNotes(
  { clipSkip, emphasis, padPrompts }: GenerateOptions,
  { promptEmbeds, negativePromptEmbeds, promptSyntax }: WholeOptions,
  conditions: readonly Conditions[],
): string[] {
  const isWordless = promptEmbeds !== undefined && (negativePromptEmbeds || !isGuided(conditions));
  // Only the web UI skips layers for the negative prompt, too.
  const isUnskipped = promptEmbeds !== undefined && (isWordless || promptSyntax !== "a1111");
  const isEncoded = "has no effect: the prompts are given as embeddings";
  return [
    ...(clipSkip && isUnskipped ? [`clipSkip ${clipSkip} ${isEncoded}`] : []),
    ...(emphasis && emphasis !== emphases[0] && isWordless ? [`emphasis ${emphasis} ${isEncoded}`] : []),
    ...(padPrompts && (promptEmbeds ?? negativePromptEmbeds)
      ? ["padPrompts has no effect: what stands beside an embedding is always as long as that"]
      : []),
  ];
}

/** Of a picture of which only the mask's surroundings are worked on, those are brought to the size, and it keeps its own. */
const resizeNotes = ({ resizeMode, onlyMasked }: GenerateOptions): string[] =>
  onlyMasked && resizeMode !== undefined && resizeMode !== resizeModes[0]
    ? [`resizeMode ${resizeMode} has no effect: with onlyMasked the picture keeps its size`]
    : [];
