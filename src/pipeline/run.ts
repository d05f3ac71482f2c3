import { randomInt } from "node:crypto";
import { refuseOtherMentions, takeMentions } from "../adapters/mentions.js";
import { DiffusionError } from "../errors.js";
import type { OnProgress } from "../events.js";
import { type Conditions, encodePrompts, readConditions } from "../generation/conditioning.js";
import { readControl } from "../generation/control.js";
import { type Generation, timed } from "../generation/generation.js";
import { makeImages } from "../generation/images.js";
import { type Inputs, readInputs } from "../generation/inputs.js";
import { type Loaded, latentShape, withAdapters } from "../generation/loaded.js";
import type { Image, Size } from "../image/image.js";
import { batched } from "../latents/batch.js";
import type { Latents } from "../latents/latents.js";
import { namesNetwork } from "../options/choices.js";
import type { GenerateOptions } from "../options/options.js";
import { resolveOptions } from "../options/resolve.js";
import type { ResolvedOptions, WholeOptions } from "../options/resolved.js";
import { findsItsSteps } from "../schedulers/catalog.js";
import type { NetworkMention } from "../text/prompt.js";
import type { Opened } from "./load.js";
import { refuseWhatCannotFit } from "./memory.js";
import { ofBegun, stoppedNote } from "./stopped.js";
import { unusedNotes } from "./unused-notes.js";

export interface GenerateResult {
  /** Empty when `output` is "latents", and when `stop` came before the first step; without those that it left out. */
  readonly images: readonly Image[];
  /** [images, height / f, width / f, channels], scaled as the UNet sees them. */
  readonly latents: Latents;
  readonly seeds: readonly (number | bigint)[];
  readonly options: ResolvedOptions;
  /** What was done to the input that its owner should know of, such as a mask that was resized, or words that did not fit. */
  readonly notes: readonly string[];
  /** Milliseconds spent on the prompt, on the steps, and on the picture. */
  readonly ms: { readonly encode: number; readonly denoise: number; readonly decode: number };
}

/** Makes the pictures that are asked for. */
export async function run(opened: Opened, asked: GenerateOptions): Promise<GenerateResult> {
  const { loaded, listeners, turns } = opened;
  asked.signal?.throwIfAborted();
  const onConvert: OnProgress = (event) => asked.onProgress?.(event);
  listeners.add(onConvert);
  try {
    const inputs = await readInputs(asked);
    const options = resolveOptions(asked, loaded.traits, {
      seed: randomInt(2 ** 32),
      variationSeed: randomInt(2 ** 32),
      ...imageSizeOf(inputs, loaded.traits.factor),
      ...(inputs.wildcards && { wildcards: inputs.wildcards }),
    });
    const generation = await prepared(opened, options, inputs, asked);
    const { images, latents } = await makeImages(generation, inputs);
    const { notes, meter } = generation;
    const { printable, seeds } = options;
    const { scaling } = loaded.traits;
    const begun = latents.length;
    const none = { shape: [0, ...latentShape(loaded, options).slice(1)], data: new Float32Array() };
    return {
      images,
      latents: { ...(begun > 0 ? batched(latents) : none), ...(scaling !== undefined && { scaling }) },
      seeds: seeds.slice(0, begun),
      options: {
        ...ofBegun(printable, begun),
        ...(meter.stopped.size > 0 && begun > 0 && { stopped: [...meter.stopped] }),
      },
      notes: [...notes, ...stoppedNotes(generation, begun)],
      ms: meter.ms,
    };
  } finally {
    listeners.delete(onConvert);
    // A process that is lost holds nothing any more.
    await turns?.leave().catch(() => {});
  }
}

/** Opens what the options name, and encodes the prompts. */
async function prepared(
  opened: Opened,
  options: WholeOptions,
  inputs: Inputs,
  asked: GenerateOptions,
): Promise<Generation> {
  const { loaded, ipAdapters, preview, sideBySide } = opened;
  const { signal, onProgress } = options;
  const meter = {
    ms: { encode: 0, denoise: 0, decode: 0 },
    evaluations: 0,
    done: 0,
    stopped: new Set<number>(),
  };
  const controls = await Promise.all(
    options.controls.map(async (control) => readControl(control, await opened.control(control.model))),
  );
  const upscaler =
    options.hires && namesNetwork(options.hires.upscaler)
      ? await opened.upscaler(options.hires.upscaler)
      : undefined;
  const shown = await ipAdapters.open(options.picturePrompts);
  const files = shown.map(({ path }) => path);
  const { adapted, texts, notes: ofAdapters } = withMentions(opened, options, files);
  const conditions = readConditions(adapted, texts);
  refuseWhatCannotFit(
    {
      ...{ loaded, options, controls },
      ...imageSizeOf(inputs, loaded.traits.factor),
      rows: widest(conditions),
      pictures: shown.map(({ networks, input }) => networks.tokens * input.images.length),
      ...(sideBySide !== undefined && { sideBySide }),
      ...(upscaler && { upscaler: upscaler.config }),
    },
    opened.memory,
  );
  const pictures = await timed({ meter, options }, "encode", () => ipAdapters.read(shown));
  const total = options.prompts.length;
  await timed({ meter, options }, "encode", () =>
    encodePrompts(conditions, options, (done) => {
      onProgress({ type: "encode", what: "prompt", done, total });
      signal?.throwIfAborted();
    }),
  );
  const { notes: ofModel = [] } = loaded.model.source;
  const ofControls = [...controls, ...pictures].flatMap((shown) => shown.notes);
  const notes = [
    ...new Set([
      ...ofModel,
      ...ofAdapters,
      ...ofControls,
      ...unusedNotes(asked, options, loaded.traits, conditions),
      ...conditions.flatMap((condition) => condition.notes),
    ]),
  ];
  const made = { loaded, adapted, options, conditions, controls, pictures, preview, meter, notes };
  return upscaler ? { ...made, upscaler } : made;
}

/** Of the image with the most rows: AND combines prompts. */
const widest = (conditions: readonly Conditions[]): Conditions["rows"] =>
  conditions.map(({ rows }) => rows).sort((a, b) => b.length - a.length)[0] ?? [];

/** What is to be known of a generation that was stopped. */
function stoppedNotes({ options, meter }: Generation, begun: number): string[] {
  const { seeds, scheduler } = options;
  if (meter.stopped.size === 0 && begun === seeds.length) return [];
  const isKnown = scheduler === "custom" || !findsItsSteps(scheduler);
  const { done: step, evaluations: steps } = meter;
  return [stoppedNote({ step, ...(isKnown && { steps }), begun, pictures: seeds.length })];
}

/** For each image the model with the adapters that its prompt mentions, and the prompts without them. */
function withMentions(
  { loaded, adapters }: Opened,
  options: WholeOptions,
  pictures: readonly string[],
): { adapted: Loaded[]; texts: WholeOptions; notes: string[] } {
  const { prompts, prompts2, negativePrompts, negativePrompts2 } = options;
  const taken = onceFor(takeMentions);
  const refused = [...negativePrompts, ...(negativePrompts2 ?? [])];
  if (refused.some((text) => text !== undefined && taken(text).mentions.length > 0))
    throw new DiffusionError(
      "BAD_OPTION",
      "a LoRA acts on the whole picture, so negativePrompt cannot name one",
    );
  const notes: string[] = [];
  const said = [...prompts, ...(prompts2 ?? []), ...refused].map((text) => (text ? taken(text).text : ""));
  const adaptedTo = onceFor((mentions: string) => {
    const used = adapters.inUse(JSON.parse(mentions) as NetworkMention[], pictures, said);
    notes.push(...used.notes);
    return withAdapters(loaded, used);
  });
  for (const [i, text] of (prompts2 ?? []).entries()) refuseOtherMentions(taken(text), taken(prompts[i]!));
  const textOf = (text: string) => taken(text).text;
  return {
    adapted: prompts.map((prompt) => adaptedTo(JSON.stringify(taken(prompt).mentions))),
    texts: { ...options, prompts: prompts.map(textOf), ...(prompts2 && { prompts2: prompts2.map(textOf) }) },
    notes,
  };
}

/** The same function, which does its work only once for each text. */
function onceFor<Result>(work: (text: string) => Result): (text: string) => Result {
  const known = new Map<string, Result>();
  return (text) => {
    const result = known.has(text) ? known.get(text)! : work(text);
    known.set(text, result);
    return result;
  };
}

/** Of the picture that is started from, or that the latents stand for. */
function imageSizeOf({ image, latents }: Inputs, factor: number): { imageSize?: Size } {
  if (image) return { imageSize: image };
  if (!latents) return {};
  const [, rows, columns] = latents.shape as [number, number, number, number];
  return { imageSize: { width: columns * factor, height: rows * factor } };
}
