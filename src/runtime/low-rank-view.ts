import type { Values } from "../latents/latents.js";
import { toTensorFlow, type WeightView } from "../ops/layout.js";
import type { LowRank } from "../weights/low-rank.js";

/**
 * Two matrices, [rows, rank] and [rank, columns], whose product has the change's values in the order of a view. Views
 * are linear, and where outputs are the last axis the rank goes through them as outputs do.
 * @returns undefined where they are not
 */
export function lowRankView({ up, down }: LowRank, view: WeightView): readonly [Values, Values] | undefined {
  const [rank = 0] = down.shape;
  if (view.layout === "rows") {
    const left = toTensorFlow(up.data, up.shape, view);
    return [
      { shape: [left.length / rank, rank], data: left },
      { shape: [rank, down.data.length / rank], data: down.data },
    ];
  }
  if (!["kernel", "matrix", "winograd", "winograd4", "upsampled-winograd"].includes(view.layout))
    return undefined;
  const left = toTensorFlow(down.data, down.shape, { layout: view.layout });
  const right = toTensorFlow(up.data, up.shape, { ...view, layout: "matrix" });
  return [
    { shape: [left.length / rank, rank], data: left },
    { shape: [rank, right.length / rank], data: right },
  ];
}
