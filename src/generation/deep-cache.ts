import { rowsOf } from "../latents/channels.js";
import type { Values } from "../latents/latents.js";
import type { UNetInput } from "../runtime/inputs.js";
import type { UNet } from "../runtime/networks.js";
import type { Controls } from "./control.js";

/** What a whole call leaves for those after it: the deep feature of each row, and what ControlNets said. */
interface Kept {
  readonly rows: readonly number[];
  readonly deep: Values;
  readonly residuals?: readonly Values[];
}

/**
 * DeepCache (Ma et al. 2023, "DeepCache: Accelerating Diffusion Models for Free", section 3.2, uniform interval,
 * branch 0): features of the deep layers change little from step to step, so the whole UNet runs at every
 * `interval`th call, and between them only its outermost layers. A row that the last whole call was not about
 * (`guidanceInterval`) makes the call a whole one. ControlNets are asked at whole calls alone.
 */
export function throughDeepCache(unet: UNet, interval: number, controls: Controls) {
  let first: number | undefined;
  let kept: Kept | undefined;
  return async (input: UNetInput, call: number, asked: readonly number[]): Promise<Values> => {
    first ??= call;
    const { rows, deep, residuals } = kept ?? {};
    if (deep && (call - first) % interval !== 0 && asked.every((row) => rows!.includes(row))) {
      const places = asked.map((row) => rows!.indexOf(row));
      const own = (values: Values) => rowsOf(values, places);
      const { sample } = await unet.runDeep(
        { ...input, ...(residuals && { residuals: residuals.map(own) }) },
        own(deep),
      );
      return sample;
    }
    const said = await controls(input, call, asked);
    const whole = await unet.runDeep({ ...input, ...said });
    kept = { rows: asked, deep: whole.deep, ...(said.residuals && { residuals: said.residuals }) };
    return whole.sample;
  };
}
