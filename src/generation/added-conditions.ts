import type { Size } from "../image/image.js";
import type { Conditioning } from "../options/conditioning.js";
import type { ResolvedOptions } from "../options/resolved.js";
import type { SizeConditioning } from "../options/text-options.js";
import { batched, type Conditions } from "./conditioning.js";

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
