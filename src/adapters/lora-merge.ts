import { type LowRank, sumLowRank } from "../weights/low-rank.js";
import type { Lora } from "./lora.js";
import { type MatMul, plainMatMul } from "./lora-delta.js";
import type { AdaptedNetwork } from "./lora-keys.js";
import type { LoraTarget } from "./lora-target.js";

/** An adapter in use. Networks may have different strengths, as in `<lora:name:0.8:0.5>`. */
export interface LoraUse {
  readonly lora: Lora;
  readonly scale: number | { readonly [network in AdaptedNetwork]?: number };
}

/** What happens to one tensor: the adapters' changes, in the order in which they were added. */
export type Contributions = readonly { readonly target: LoraTarget; readonly scale: number }[];

/** The tensors that a set of adapters touches, by network and name; all others stay as they are. */
export function planMerge(uses: readonly LoraUse[]): Map<AdaptedNetwork, Map<string, Contributions>> {
  const plan = new Map<AdaptedNetwork, Map<string, { target: LoraTarget; scale: number }[]>>();
  for (const { lora, scale } of uses)
    for (const target of lora.targets) {
      const factor = typeof scale === "number" ? scale : (scale[target.network] ?? 0);
      if (factor === 0) continue;
      const network = plan.get(target.network) ?? new Map<string, { target: LoraTarget; scale: number }[]>();
      plan.set(target.network, network);
      const changes = network.get(target.name) ?? [];
      changes.push({ target, scale: factor });
      network.set(target.name, changes);
    }
  return plan;
}

/**
 * A weight with adapters merged in, one after the other: W + sum of scale * delta, and DoRA's renormalisation.
 * @param original float32 in PyTorch's layout; not changed
 */
export function adaptWeight(
  original: Float32Array,
  changes: Contributions,
  matMul: MatMul = plainMatMul,
): Float32Array {
  const weight = new Float32Array(original);
  for (const { target, scale } of changes) target.apply(weight, scale, matMul);
  return weight;
}

/** All changes of a tensor as two thin matrices, if each of them is. */
export function lowRankChange(changes: Contributions): LowRank | undefined {
  const products = changes.flatMap(({ target, scale }) => {
    const change = target.lowRank?.();
    return change ? [{ ...change, factor: scale * change.factor }] : [];
  });
  return products.length > 0 && products.length === changes.length ? sumLowRank(products) : undefined;
}
