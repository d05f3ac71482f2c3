import { DiffusionError } from "../errors.js";
import type { Conditioning } from "../options/conditioning.js";
import type { WholeOptions } from "../options/resolved.js";
import { unreadSyntax } from "../text/unread-syntax.js";
import type { Loaded } from "./loaded.js";
import {
  createEmbedder,
  type Embedder,
  mostChunks,
  type PlacedPrompt,
  type PromptPart,
  type Prompts,
} from "./prompt-embedding.js";

/** The conditions of one image. */
export interface Conditions {
  /** One row of the network's batch each: the negative prompt first, then the prompts that AND combines. */
  readonly rows: readonly { readonly negative: boolean; readonly weight: number }[];
  /** What of the prompts did not fit, in words. */
  readonly notes: readonly string[];
  /** What the rows are at each of so many evaluations, which count on from those of the pass `before` it. */
  over(evaluations: number, before?: number): Promise<(evaluation: number) => readonly Conditioning[]>;
}

/**
 * For each image the conditions of its rows: negative prompt and prompt, or only the prompt. The prompts are read, and
 * nothing is encoded yet.
 *
 * @param models of each image, with the adapters that its prompt mentions
 */
export function readConditions(models: readonly Loaded[], options: WholeOptions): Conditions[] {
  const embedders = new Map<Loaded, Embedder>();
  return models.map((model, i) => {
    if (!model.traits.hasText) return unconditional;
    const embedder = embedders.get(model) ?? createEmbedder(model, options.promptSyntax, options.emphasis);
    embedders.set(model, embedder);
    return conditionsOf(model, embedder, options, i);
  });
}

const unconditional: Conditions = { rows: [], notes: [], over: async () => () => [] };

/**
 * Encodes prompts, one by one, so that a prompt gives the same numbers by itself and beside others; the same text only
 * once.
 *
 * @param onEncoded called after each image's prompts
 */
export async function encodePrompts(
  all: readonly Conditions[],
  { steps }: Pick<WholeOptions, "steps">,
  onEncoded: (done: number) => void,
): Promise<void> {
  for (const [i, conditions] of all.entries()) {
    if (conditions === unconditional) continue;
    await conditions.over(steps);
    onEncoded(i + 1);
  }
}

function conditionsOf(model: Loaded, embedder: Embedder, options: WholeOptions, image: number): Conditions {
  const { promptEmbeds, negativePromptEmbeds, mode, steps } = options;
  const texts = textsOf(options, image);
  const prompts = promptEmbeds ? [] : embedder.read(texts.prompt);
  const weights = promptEmbeds ? [1] : prompts.map(({ weight }) => weight);
  const guided = isGuided(model, options, weights);
  const against = negativePromptEmbeds || !guided ? [] : embedder.read(texts.negative, { whole: true });
  const negative = { negative: true, weight: 1 };
  // InstructPix2Pix guides by the image, too: nothing, only the image, the image and the prompt.
  const negatives = !guided ? [] : mode === "instruct" ? [negative, negative] : [negative];
  const room = model.tokenizers[0]!.maxLength - 2;
  const placed = (parts: readonly PromptPart[], evaluations: number, before?: number) =>
    parts.map((part) => part.over(evaluations, before));
  const known = new Map<string, ReturnType<Conditions["over"]>>();
  return {
    notes: [
      ...(options.promptSyntax === "plain" ? plainNotes([...texts.prompt, ...texts.negative]) : []),
      ...cutNotes("prompt", placed(prompts, steps), room),
      ...cutNotes("negative prompt", placed(against, steps), room),
    ],
    rows: [...negatives, ...weights.map((weight) => ({ negative: false, weight }))],
    over(evaluations, before = 0) {
      const key = `${evaluations} ${before}`;
      const rows =
        known.get(key) ??
        embedRows(model, embedder, options, {
          prompts: placed(prompts, evaluations, before),
          against: placed(against, evaluations, before),
          negatives: negatives.length,
          zeroed: texts.isNegativeZeroed(model),
        });
      known.set(key, rows);
      return rows;
    },
  };
}

/** Weights that are drawn as words: diffusers does so, too, and who writes them means the web UI's. */
const plainNotes = (texts: readonly string[]): string[] =>
  [...new Set(texts.flatMap((text) => unreadSyntax(text) ?? []))].map(
    (found) => `${found} is plain text, as promptSyntax is "plain"; "a1111" reads it as the web UI does`,
  );

/** The texts of an image for each text encoder, and those to keep away from. */
function textsOf({ prompts, prompts2, negativePrompts, negativePrompts2 }: WholeOptions, image: number) {
  const [prompt, negative] = [prompts[image]!, negativePrompts[image]];
  return {
    prompt: [prompt, prompts2?.[image] ?? prompt] as Prompts,
    negative: [negative ?? "", negativePrompts2?.[image] ?? negative ?? ""] as Prompts,
    /** SDXL's answer to an absent negative prompt. */
    isNegativeZeroed: ({ model }: Loaded) =>
      negative === undefined && model.source.settings.force_zeros_for_empty_prompt === true,
  };
}

/**
 * What the rows are at each evaluation: negative prompts first, then the prompts; all equally long. "compel" and
 * `padPrompts` put empty chunks behind the shorter ones; otherwise "a1111" has each in the chunks of its longest stage.
 */
async function embedRows(
  model: Loaded,
  embedder: Embedder,
  { promptEmbeds, negativePromptEmbeds, clipSkip, promptSyntax, padPrompts }: WholeOptions,
  placed: {
    prompts: readonly PlacedPrompt[];
    against: readonly PlacedPrompt[];
    negatives: number;
    zeroed: boolean;
  },
): Promise<(evaluation: number) => readonly Conditioning[]> {
  const { prompts, against, negatives } = placed;
  const isWebui = promptSyntax === "a1111";
  const most = promptEmbeds ? chunksOf(model, promptEmbeds) : mostChunks([...prompts, ...against]);
  const isPadded = !isWebui || padPrompts || promptEmbeds !== undefined || negativePromptEmbeds !== undefined;
  // diffusers skips layers only for the prompt, the web UI for both.
  const negativeSkip = isWebui ? clipSkip : 0;
  const rowsAt = async (evaluation: number): Promise<readonly Conditioning[]> => {
    const embed = (prompt: PlacedPrompt, skip: number) =>
      embedder.embed(prompt, evaluation, { chunks: isPadded ? most : mostChunks([prompt]), skip });
    const embedded = promptEmbeds
      ? [promptEmbeds]
      : await inTurn(prompts, (prompt) => embed(prompt, clipSkip));
    const positive = isPadded ? embedded : continuedByLast(embedded);
    if (negatives === 0) return positive;
    const negative =
      negativePromptEmbeds ?? (placed.zeroed ? zeroes(positive[0]!) : await embed(against[0]!, negativeSkip));
    const rows = [...Array<Conditioning>(negatives).fill(negative), ...positive];
    return checked(isPadded ? rows : repeatedToOneLength(rows));
  };
  const starts = [...prompts, ...against].flat(2).map(({ from }) => from);
  const stages = [...new Set([0, ...starts])].sort((a, b) => a - b);
  const rows = await inTurn(stages, rowsAt);
  return (evaluation) => rows[stages.findLastIndex((start) => start <= evaluation)]!;
}

/** As the web UI does it with the parts that AND combines: the last vector goes on behind the shorter ones. */
function continuedByLast(rows: readonly Conditioning[]): readonly Conditioning[] {
  const longest = Math.max(...rows.map(tokensOf));
  return rows.map((row) => withTokens(row, longest, (token) => Math.min(token, tokensOf(row) - 1)));
}

/**
 * Rows of one length, each of them several times behind itself: that many times more keys with the same share each leave
 * what attention makes of a text as it is, so that the network gives what it gives for each row by itself. The web UI
 * runs the rows one after the other where their lengths differ.
 */
function repeatedToOneLength(rows: readonly Conditioning[]): readonly Conditioning[] {
  const common = rows.map(tokensOf).reduce(leastCommonMultiple);
  return rows.map((row) => withTokens(row, common, (token) => token % tokensOf(row)));
}

const tokensOf = ({ context }: Conditioning): number => context.shape[1]!;

const leastCommonMultiple = (a: number, b: number): number => (a * b) / greatestCommonDivisor(a, b);
const greatestCommonDivisor = (a: number, b: number): number =>
  b === 0 ? a : greatestCommonDivisor(b, a % b);

/** A row of so many tokens. @param from the token of the row that each is */
function withTokens(row: Conditioning, tokens: number, from: (token: number) => number): Conditioning {
  if (tokens === tokensOf(row)) return row;
  const width = row.context.shape[2]!;
  const data = new Float32Array(tokens * width);
  for (let token = 0; token < tokens; token++) {
    const start = from(token) * width;
    data.set(row.context.data.subarray(start, start + width), token * width);
  }
  return { ...row, context: { shape: [1, tokens, width], data } };
}

/** Says which text is not seen, since nothing in the picture does. */
function cutNotes(what: string, prompts: readonly PlacedPrompt[], room: number): string[] {
  const ranges = prompts.flat(2).filter(({ lost }) => lost !== "");
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
  { traits: { guidanceEmbedding: told } }: Loaded,
  { guidance, imageGuidance = 1, mode, pag }: WholeOptions,
  weights: readonly number[],
): boolean {
  const isCombined = weights.length > 1;
  if (isCombined && (told || mode === "instruct"))
    throw new DiffusionError("BAD_OPTION", "this model cannot combine prompts by AND");
  if (isCombined && pag)
    throw new DiffusionError("BAD_OPTION", "pag is for one prompt, not for several that AND combines");
  return (guidance > 1 && imageGuidance >= 1 && !told) || isCombined;
}

const zeroes = ({ context, pooled }: Conditioning): Conditioning => ({
  context: { shape: context.shape, data: new Float32Array(context.data.length) },
  ...(pooled && { pooled: { shape: pooled.shape, data: new Float32Array(pooled.data.length) } }),
});
