import type { Size } from "../image/image.js";
import { batched } from "../latents/batch.js";
import type { Conditioning } from "../options/conditioning.js";
import type { WholeOptions } from "../options/resolved.js";
import type { SizeConditioning } from "../options/text-options.js";
import type { Conditions } from "./conditioning.js";

/**
 * SDXL's `added` conditions: the pooled prompts [B, P], and [B, 6] what each row is told about sizes: original height
 * and width, crop top and left, target height and width. Refiners are told [B, 5], in place of the target an aesthetic
 * score.
 */
export function addedConditions(
  rows: Conditions["rows"],
  conditions: readonly Conditioning[],
  { sizes = {}, aestheticScore, negativeAestheticScore }: WholeOptions,
  size: Size,
) {
  const negative = sizes.negative && {
    ...(sizes.original && { original: sizes.original }),
    ...(sizes.target && { target: sizes.target }),
    ...sizes.negative,
  };
  const ids = rows.map((row) => {
    const told = (row.negative ? negative : undefined) ?? sizes;
    const score = row.negative ? negativeAestheticScore : aestheticScore;
    const target = told.target ?? size;
    if (score === undefined) return [...sourceIds(told, size), target.height, target.width];
    // As in diffusers, the negative prompt of a refiner does not share the crop.
    const { crop, ...whole } = told;
    const own = row.negative
      ? { ...whole, ...(sizes.negative?.crop && { crop: sizes.negative.crop }) }
      : told;
    return [...sourceIds(own, size), score];
  });
  return {
    textEmbeds: batched(conditions.map((condition) => condition.pooled!)),
    timeIds: { shape: [rows.length, ids[0]!.length], data: Float32Array.from(ids.flat()) },
  };
}

function sourceIds({ original, crop }: SizeConditioning, size: Size): number[] {
  const from = original ?? size;
  return [from.height, from.width, crop?.top ?? 0, crop?.left ?? 0];
}
