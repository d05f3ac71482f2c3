import { DiffusionError } from "../errors.js";
import type { Values } from "../latents/latents.js";
import type { Conditioning } from "../options/conditioning.js";
import type { TextEncoding } from "../runtime/networks/text-encoder.js";
import { type Chunk, emptyChunk, padChunks } from "../text/chunks.js";
import { blendWithout, type Emphasis, emphasize, emphasizeFromEmpty } from "../text/emphasis.js";
import { type PromptRange, type PromptSyntax, type ReadPart, readPrompt } from "../text/prompt.js";
import type { Loaded } from "./loaded.js";

/** A prompt for each text encoder; most models have one. */
export type Prompts = readonly [string, string];

/** For each text encoder what a prompt says when, over a number of evaluations. */
export type PlacedPrompt = readonly (readonly PromptRange[])[];

/** One of the prompts that AND combines, parsed and tokenized. */
export interface PromptPart {
  readonly weight: number;
  /** What it says at each of so many evaluations, which count on from those of the pass `before` it. */
  over(evaluations: number, before?: number): PlacedPrompt;
}

export interface Embedder {
  /** The parts of a prompt. `whole` takes AND for a word. The same prompt is read only once. */
  read(prompts: Prompts, options?: { whole?: boolean }): readonly PromptPart[];
  /** What a prompt is at an evaluation, in so many chunks. Text that has been encoded is not encoded again. */
  embed(
    prompt: PlacedPrompt,
    evaluation: number,
    shape: { chunks: number; skip: number },
  ): Promise<Conditioning>;
}

/** Encodes prompts for a model. */
export function createEmbedder(
  { tokenizers, networks, model }: Loaded,
  syntax: PromptSyntax,
  emphasis?: Emphasis,
): Embedder {
  const known = new Map<string, Promise<TextEncoding>>();
  const encode = (encoder: number, ids: readonly number[], skip: number): Promise<TextEncoding> => {
    const key = `${encoder} ${skip} ${ids.join()}`;
    const encoding = known.get(key) ?? networks.textEncoders[encoder]!.run({ ids: [ids], skip });
    known.set(key, encoding);
    return encoding;
  };
  // SDXL, also its refiner, which has only the second of the two encoders.
  const isPooled = model.unet.kind === "unet" && model.unet.config.added !== undefined;
  // Latent upscalers leave the final norm out; so does SDXL, which counts from the penultimate state.
  const isNormed = !isPooled && model.unet.kind !== "k_unet";
  const stateOf = async (encoder: number, { ids }: Chunk, skip: number): Promise<Float32Array> => {
    const encoding = await encode(encoder, ids, isPooled ? skip + 1 : skip);
    return (isNormed ? encoding.skipped : encoding.hidden).data;
  };

  const weighted = async (encoder: number, chunk: Chunk, skip: number): Promise<Float32Array> => {
    const state = await stateOf(encoder, chunk, skip);
    if (chunk.weights.every((weight) => weight === 1)) return state;
    if (syntax !== "compel") return emphasize(state, chunk.weights, emphasis);
    const empty = await stateOf(encoder, emptyChunk(tokenizers[encoder]!), skip);
    return emphasizeFromEmpty(state, chunk.weights, empty);
  };

  /** [T, C] of a prompt for one text encoder. */
  async function embedRange(
    encoder: number,
    { chunks, without }: PromptRange,
    shape: { chunks: number; skip: number },
  ): Promise<Float32Array> {
    const all = async (list: readonly Chunk[]) => {
      const padded = padChunks(list, shape.chunks, tokenizers[encoder]!);
      const states: Float32Array[] = [];
      for (const chunk of padded) states.push(await weighted(encoder, chunk, shape.skip));
      return joined(states);
    };
    const others: { weight: number; embedding: Float32Array }[] = [];
    for (const { weight, chunks: rest } of without) others.push({ weight, embedding: await all(rest) });
    return blendWithout(await all(chunks), others);
  }

  const readings = new Map<string, readonly PromptPart[]>();
  return {
    read(prompts, { whole = false } = {}) {
      const key = JSON.stringify([prompts, whole]);
      const parts =
        readings.get(key) ??
        combined(
          tokenizers.map(
            (tokenizer, i) =>
              readPrompt(prompts[i]!, tokenizer, { syntax, whole, ...(emphasis && { emphasis }) }).parts,
          ),
        );
      readings.set(key, parts);
      return parts;
    },
    async embed(placed, evaluation, shape) {
      const current = placed.map((list) => list.find(({ to }) => evaluation < to) ?? list.at(-1)!);
      const tables: Values[] = [];
      for (const [encoder, range] of current.entries()) {
        const data = await embedRange(encoder, range, shape);
        const tokens = shape.chunks * tokenizers[encoder]!.maxLength;
        tables.push({ shape: [1, tokens, data.length / tokens], data });
      }
      const [first, second] = tables;
      // As in the web UI, the first chunk stands for the whole prompt.
      if (model.unet.kind === "k_unet") {
        const { pooled } = await encode(0, current[0]!.chunks[0]!.ids, shape.skip);
        return { context: first!, pooled };
      }
      if (!isPooled) return { context: first! };
      const last = current.length - 1;
      const { projected, pooled } = await encode(last, current[last]!.chunks[0]!.ids, shape.skip + 1);
      return { context: second ? sideBySide(first!, second) : first!, pooled: projected ?? pooled };
    },
  };
}

/** The parts of all text encoders' prompts, one by one. */
function combined(prompts: readonly (readonly ReadPart[])[]): PromptPart[] {
  const [first = [], second = first] = prompts;
  if (first.length !== second.length)
    throw new DiffusionError(
      "BAD_OPTION",
      `prompt and prompt2 are combined of ${first.length} and ${second.length} parts by AND; expected equally many`,
    );
  return first.map(({ weight }, part) => ({
    weight,
    over: (evaluations, before) => prompts.map((parts) => parts[part]!.over(evaluations, before)),
  }));
}

/** The most chunks that any stage of some prompts takes. */
export const mostChunks = (prompts: readonly PlacedPrompt[]): number =>
  Math.max(1, ...prompts.flat(2).map(({ chunks }) => chunks.length));

function joined(arrays: readonly Float32Array[]): Float32Array {
  const [first] = arrays;
  if (first && arrays.length === 1) return first;
  const out = new Float32Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const array of arrays) {
    out.set(array, at);
    at += array.length;
  }
  return out;
}

/** [1, T, A] and [1, T, B] to [1, T, A + B]. */
function sideBySide(a: Values, b: Values): Values {
  const [, tokens, widthA] = a.shape as [number, number, number];
  const widthB = b.shape[2]!;
  const width = widthA + widthB;
  const data = new Float32Array(tokens * width);
  for (let t = 0; t < tokens; t++) {
    data.set(a.data.subarray(t * widthA, (t + 1) * widthA), t * width);
    data.set(b.data.subarray(t * widthB, (t + 1) * widthB), t * width + widthA);
  }
  return { shape: [1, tokens, width], data };
}
