import { randomInt } from "node:crypto";
import { takeMentions } from "../adapters/set.js";
import { DiffusionError } from "../errors.js";
import type { OnProgress } from "../events.js";
import { batched, encodePrompts } from "../generation/conditioning.js";
import { readControl } from "../generation/control.js";
import { type Call, timed } from "../generation/generation.js";
import { paintAll } from "../generation/images.js";
import { type Inputs, readInputs } from "../generation/inputs.js";
import { type Loaded, withAdapters } from "../generation/loaded.js";
import type { Image, Size } from "../image/image.js";
import type { Latents } from "../latents/latents.js";
import type { ControlInput } from "../options/control-options.js";
import type { GenerateOptions } from "../options/options.js";
import { resolveOptions } from "../options/resolve.js";
import type { ResolvedOptions } from "../options/resolved.js";
import type { Opened } from "./load.js";

export interface GenerateResult {
  /** Empty when `output` is "latents". */
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
export async function run(
  opened: Opened,
  options: GenerateOptions,
  emit: OnProgress,
): Promise<GenerateResult> {
  const { loaded, ipAdapters, preview, listeners, turns } = opened;
  const { signal } = options;
  signal?.throwIfAborted();
  listeners.add(emit);
  try {
    const inputs = await readInputs(options);
    const resolved = resolveOptions(options, loaded.traits, {
      seed: randomInt(2 ** 32),
      variationSeed: randomInt(2 ** 32),
      ...imageSizeOf(inputs, loaded.traits.factor),
    });
    const meter = { ms: { encode: 0, denoise: 0, decode: 0 }, calls: 0, done: 0 };
    const total = resolved.prompts.length;
    const control = async (input: ControlInput) => readControl(input, await opened.control(input.model));
    const controls = await Promise.all((options.controlnet ?? []).map(control));
    const pictures = await timed({ meter, options }, "encode", () => ipAdapters.read(options.ipAdapter));
    const files = pictures.map(({ path }) => path);
    const { adapted, texts } = withMentions(opened, resolved, files);
    const conditions = await timed({ meter, options }, "encode", () =>
      encodePrompts(adapted, options, texts, (done) => {
        emit({ type: "encode", what: "prompt", done, total });
        signal?.throwIfAborted();
      }),
    );
    const notes = [...new Set(conditions.flatMap((condition) => condition.notes))];
    const call: Call = {
      ...{ loaded, adapted, options, resolved, conditions, controls, pictures },
      ...{ preview, emit, meter, notes },
    };
    const { images, latents } = await paintAll(call, inputs);
    const { seeds } = resolved;
    return { images, latents: batched(latents), seeds, options: resolved, notes, ms: meter.ms };
  } finally {
    listeners.delete(emit);
    // A process that is lost holds nothing any more.
    await turns?.leave().catch(() => {});
  }
}

/** For each image the model with the adapters that its prompt mentions, and the prompts without them. */
function withMentions(
  { loaded, adapters }: Opened,
  resolved: ResolvedOptions,
  pictures: readonly string[],
): { adapted: Loaded[]; texts: ResolvedOptions } {
  const plain = withAdapters(loaded, adapters.inUse([], pictures));
  const known = new Map<string, Loaded>();
  const adapted = resolved.prompts.map((prompt) => {
    const { mentions } = takeMentions(prompt);
    if (mentions.length === 0) return plain;
    const key = JSON.stringify(mentions);
    const model = known.get(key) ?? withAdapters(loaded, adapters.inUse(mentions, pictures));
    known.set(key, model);
    return model;
  });
  return { adapted, texts: withoutMentions(resolved) };
}

/** Of the picture that is started from, or that the latents stand for. */
function imageSizeOf({ image, latents }: Inputs, factor: number): { imageSize?: Size } {
  if (image) return { imageSize: image };
  if (!latents) return {};
  const [, rows, columns] = latents.shape as [number, number, number, number];
  return { imageSize: { width: columns * factor, height: rows * factor } };
}

/** Each text without the LoRAs that it mentions; only prompts may mention some. */
function withoutMentions(resolved: ResolvedOptions): ResolvedOptions {
  for (const text of [...resolved.negativePrompts, ...(resolved.negativePrompts2 ?? [])])
    if (text !== undefined && takeMentions(text).mentions.length > 0)
      throw new DiffusionError(
        "BAD_OPTION",
        "a LoRA acts on the whole picture, so negativePrompt cannot name one",
      );
  const taken = (texts: readonly string[]) => texts.map((text) => takeMentions(text).text);
  const { prompts, prompts2 } = resolved;
  return { ...resolved, prompts: taken(prompts), ...(prompts2 && { prompts2: taken(prompts2) }) };
}
