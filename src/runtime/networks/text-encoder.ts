import type { Adapters } from "../../adapters/adapted-checkpoint.js";
import type { Values } from "../../latents/latents.js";
import { pooledRows, type TextEncoderConfig, type TextEncoderOutputs } from "../../models/clip.js";
import type { Filled } from "../../models/fields.js";
import { badInput, requireFields } from "./inputs.js";
import type { AdaptedRun } from "./network-runner.js";

/** What comes out of a text encoder, as numbers. */
export type TextEncoding = Filled<TextEncoderOutputs, Values>;

export interface TextEncoder {
  readonly config: TextEncoderConfig;
  /** `ids`: rows of equal length, as the tokenizer gives them. */
  run(x: { ids: readonly (readonly number[])[]; skip?: number }): Promise<TextEncoding>;
}

/** @param adapters with `words` that are added to the vocabulary; `index` is the encoder's among the model's */
export function textEncoder(
  plain: TextEncoderConfig,
  { adapters, index }: { adapters: Adapters; index: number },
  run: AdaptedRun,
): TextEncoder {
  const ends = adapters.words.map(({ ids, vectors }) => ids[index]! + vectors);
  const config = { ...plain, vocabularySize: Math.max(plain.vocabularySize, ...ends) };
  return {
    config,
    async run(x) {
      requireFields("textEncoder", x, ["ids"]);
      const { ids, skip = 0 } = x;
      if (!Array.isArray(ids) || !ids.every(Array.isArray))
        throw badInput(
          "ids",
          "rows of numbers",
          Array.isArray(ids) ? "a list of something else" : typeof ids,
        );
      const [batch, tokens] = [ids.length, ids[0]?.length ?? 0];
      if (batch === 0 || tokens === 0 || ids.some((row) => row.length !== tokens))
        throw badInput(
          "ids",
          "rows of equal length",
          `${batch} rows of lengths ${ids.map((row) => row.length)}`,
        );
      if (tokens > config.maxPositions)
        throw badInput("ids", `at most ${config.maxPositions} tokens`, `${tokens}`);
      const wrong = ids.flat().find((id) => !Number.isInteger(id) || id < 0 || id >= config.vocabularySize);
      if (wrong !== undefined)
        throw badInput("ids", `whole numbers below ${config.vocabularySize}`, `${wrong}`);
      if (!Number.isInteger(skip) || skip < 0 || skip > config.layers)
        throw badInput("clip skip", `0 to ${config.layers}`, `${skip}`);
      // Where the end token is found by its id being the largest, added words would be taken for it.
      const known = ids.map((row) => row.map((id) => (id < plain.vocabularySize ? id : 0)));
      return run(
        { kind: "text_encoder", config, size: { batch, tokens, skip } },
        {
          ids: { shape: [batch, tokens], data: Int32Array.from(ids.flat()) },
          pooledRows: { shape: [batch], data: Int32Array.from(pooledRows(known, config.eosTokenId)) },
        },
        adapters,
      );
    },
  };
}
