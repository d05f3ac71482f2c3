import { DiffusionError } from "../errors.js";
import type { Size } from "../image/image.js";
import type { Values } from "../latents/latents.js";
import type { Conditioning } from "../options/conditioning.js";
import type { GenerateOptions } from "../options/options.js";
import type { ResolvedOptions } from "../options/resolved.js";
import type { SizeConditioning } from "../options/text-options.js";
import type { Loaded } from "./loaded.js";
import {
  createEmbedder,
  type Embedder,
  mostChunks,
  type PromptPart,
  type Prompts,
} from "./prompt-embedding.js";

/** The conditions of one image. */
export interface Conditions {
  /** One row of the network's batch each: the negative prompt first, then the prompts that AND combines. */
  readonly rows: readonly { readonly negative: boolean; readonly weight: number }[];
  /** What of the prompts did not fit, in words. */
  readonly notes: readonly string[];
  /** What the rows are at each of so many network calls. */
  over(calls: number): Promise<(call: number) => readonly Conditioning[]>;
}

/**
 * For each image the conditions of its rows: negative prompt and prompt, or the prompt alone. Prompts are encoded
 * one by one, so that a prompt gives the same numbers alone and beside others; the same text only once.
 *
 * @param loaded the model of each image, with the adapters that its prompt mentions
 * @param onEncoded called after each image's prompts
 */
export async function encodePrompts(
  loaded: readonly Loaded[],
  { promptEmbeds, negativePromptEmbeds }: GenerateOptions,
  resolved: ResolvedOptions,
  onEncoded: (done: number) => void,
): Promise<Conditions[]> {
  const embedders = new Map<Loaded, Embedder>();
  const all: Conditions[] = [];
  for (const [i, model] of loaded.entries()) {
    if (model.networks.textEncoders.length === 0) {
      all.push({ rows: [], notes: [], over: async () => () => [] });
      continue;
    }
    const embedder = embedders.get(model) ?? createEmbedder(model, resolved.promptSyntax);
    embedders.set(model, embedder);
    const conditions = conditionsOf(model, embedder, resolved, i, {
      ...(promptEmbeds && { positive: promptEmbeds }),
      ...(negativePromptEmbeds && { negative: negativePromptEmbeds }),
    });
    await conditions.over(resolved.steps);
    all.push(conditions);
    onEncoded(i + 1);
  }
  return all;
}

/** Prompts that were encoded before. */
interface Given {
  readonly positive?: Conditioning;
  readonly negative?: Conditioning;
}

function conditionsOf(
  model: Loaded,
  embedder: Embedder,
  resolved: ResolvedOptions,
  image: number,
  given: Given,
): Conditions {
  const { prompts, prompts2, negativePrompts, negativePrompts2, clipSkip, promptSyntax } = resolved;
  const texts: Prompts = [prompts[image]!, prompts2?.[image] ?? prompts[image]!];
  const negativeText = negativePrompts[image];
  const negativeTexts: Prompts = [negativeText ?? "", negativePrompts2?.[image] ?? negativeText ?? ""];
  const calls = resolved.steps;
  const parsed = given.positive ? [] : embedder.parse(texts, { calls });
  const weights = given.positive ? [1] : parsed.map(({ weight }) => weight);
  const guided = isGuided(model, resolved, weights);
  const zeroes =
    negativeText === undefined && model.model.source.settings.force_zeros_for_empty_prompt === true;
  // diffusers skips layers for the prompt alone, the web UI for both.
  const negativeSkip = promptSyntax === "a1111" ? clipSkip : 0;
  const negative = { negative: true, weight: 1 };
  // InstructPix2Pix guides by the image, too: nothing, the image alone, the image and the prompt.
  const before = !guided ? [] : resolved.mode === "instruct" ? [negative, negative] : [negative];
  const refused = given.negative || !guided ? [] : embedder.parse(negativeTexts, { calls, whole: true });
  const room = model.tokenizers[0]!.maxLength - 2;
  return {
    notes: [...cutNotes("prompt", parsed, room), ...cutNotes("negative prompt", refused, room)],
    rows: [...before, ...weights.map((weight) => ({ negative: false, weight }))],
    async over(calls) {
      const parts = given.positive ? [] : embedder.parse(texts, { calls });
      const against = given.negative || !guided ? [] : embedder.parse(negativeTexts, { calls, whole: true });
      // Both sides of the guidance are equally long, at every call.
      const chunks = given.positive ? chunksOf(model, given.positive) : mostChunks([...parts, ...against]);
      const rowsAt = async (call: number): Promise<readonly Conditioning[]> => {
        const positive = given.positive
          ? [given.positive]
          : await inTurn(parts, (part) => embedder.embed(part, call, { chunks, skip: clipSkip }));
        if (!guided) return positive;
        const shape = { chunks, skip: negativeSkip };
        const other =
          given.negative ?? (zeroes ? zeroed(positive[0]!) : await embedder.embed(against[0]!, call, shape));
        return checked([...before.map(() => other), ...positive]);
      };
      const starts = [...parts, ...against].flatMap(({ ranges }) => ranges.flat().map(({ from }) => from));
      const stages = [...new Set([0, ...starts])].sort((a, b) => a - b);
      const rows = await inTurn(stages, rowsAt);
      return (call) => rows[stages.findLastIndex((start) => start <= call)]!;
    },
  };
}

/** Says which text is not seen, since nothing in the picture does. */
function cutNotes(what: string, parts: readonly PromptPart[], room: number): string[] {
  const ranges = parts.flatMap((part) => part.ranges.flat()).filter(({ lost }) => lost !== "");
  const shown = (text: string) => (text.length > 200 ? `${text.slice(0, 200)}…` : text);
  const notes = ranges.map(
    ({ lost, tokens }) =>
      `the ${what} has ${tokens} tokens, of which ${room} are used; "${shown(lost)}" is not seen (promptSyntax "a1111" or "compel" takes prompts of any length)`,
  );
  return [...new Set(notes)];
}

async function inTurn<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await work(item));
  return results;
}

/** Chunks that an empty prompt must have to be as long as an embedding. */
function chunksOf({ tokenizers }: Loaded, { context }: Conditioning): number {
  return Math.max(1, Math.floor(context.shape[1]! / tokenizers[0]!.maxLength));
}

function checked(rows: readonly Conditioning[]): readonly Conditioning[] {
  const shapes = new Set(rows.map(({ context }) => context.shape.join()));
  if (shapes.size === 1) return rows;
  throw new DiffusionError(
    "BAD_OPTION",
    `promptEmbeds and negativePromptEmbeds must have the same shape, got [${[...shapes].join("] and [")}]`,
  );
}

/** Networks with a guidance embedding are told the scale, and need no second row. */
function isGuided(
  { model: { unet } }: Loaded,
  resolved: ResolvedOptions,
  weights: readonly number[],
): boolean {
  const { guidance, imageGuidance = 1, mode } = resolved;
  const told = unet.kind === "unet" && unet.config.timeCondDim !== undefined;
  const isCombined = weights.length > 1;
  if (isCombined && (told || mode === "instruct"))
    throw new DiffusionError("BAD_OPTION", "this model cannot combine prompts by AND");
  return (guidance > 1 && imageGuidance >= 1 && !told) || isCombined;
}

/**
 * SDXL's `added` conditions: the pooled prompts [B, P], and [B, 6] what each row is told about sizes: original
 * height and width, crop top and left, target height and width.
 */
export function addedConditions(
  rows: Conditions["rows"],
  conditions: readonly Conditioning[],
  sizes: ResolvedOptions["sizes"],
  size: Size,
) {
  const negative = sizes?.negative && {
    ...(sizes.original && { original: sizes.original }),
    ...(sizes.target && { target: sizes.target }),
    ...sizes.negative,
  };
  const ids = rows.map((row) => timeIds((row.negative ? negative : undefined) ?? sizes ?? {}, size));
  return {
    textEmbeds: batched(conditions.map((condition) => condition.pooled!)),
    timeIds: { shape: [rows.length, 6], data: Float32Array.from(ids.flat()) },
  };
}

function timeIds({ original, crop, target }: SizeConditioning, size: Size): number[] {
  const [from, to] = [original ?? size, target ?? size];
  return [from.height, from.width, crop?.top ?? 0, crop?.left ?? 0, to.height, to.width];
}

/** SDXL's answer to an absent negative prompt. */
const zeroed = ({ context, pooled }: Conditioning): Conditioning => ({
  context: { shape: context.shape, data: new Float32Array(context.data.length) },
  ...(pooled && { pooled: { shape: pooled.shape, data: new Float32Array(pooled.data.length) } }),
});

/** Several conditions as one batch. */
export function batched(values: readonly Values[]): Values {
  const [first] = values;
  const data = new Float32Array(values.reduce((sum, v) => sum + v.data.length, 0));
  let offset = 0;
  for (const value of values) {
    data.set(value.data, offset);
    offset += value.data.length;
  }
  return { shape: [values.reduce((sum, v) => sum + v.shape[0]!, 0), ...first!.shape.slice(1)], data };
}
