import { rowsOf } from "../latents/batch.js";
import type { Values } from "../latents/latents.js";
import type { UNetInput } from "../runtime/networks/inputs.js";
import type { UNet } from "../runtime/networks/unet.js";
import type { Controls } from "./control.js";

/** What a whole evaluation leaves for those after it: the deep feature of each row, and what adapters said. */
interface Kept {
  readonly rows: readonly number[];
  readonly deep: Values;
  readonly said: Awaited<ReturnType<Controls["add"]>>;
  /** Which adapters acted: what they did is in the deep feature. */
  readonly acting: string;
}

/**
 * DeepCache (Ma et al. 2023, "DeepCache: Accelerating Diffusion Models for Free", section 3.2, uniform interval,
 * branch 0): features of the deep layers change little from step to step, so only every `interval`th evaluation is of
 * the whole UNet, and those in between of its outermost layers. A row that was not part of the last whole evaluation
 * (`guidanceInterval`) makes the evaluation a whole one, and so does an adapter whose `start` or `end` lies in between.
 * ControlNets and other adapters are asked only at whole evaluations.
 */
export function throughDeepCache(unet: UNet, interval: number, controls: Controls) {
  let first: number | undefined;
  let kept: Kept | undefined;
  return async (input: UNetInput, evaluation: number, asked: readonly number[]): Promise<Values> => {
    first ??= evaluation;
    const isWhole = (evaluation - first) % interval === 0;
    const acting = controls.acting(evaluation);
    const isKept = kept?.acting === acting && asked.every((row) => kept!.rows.includes(row));
    if (kept && !isWhole && isKept) {
      const { rows, deep, said } = kept;
      const { residuals, pictures } = said;
      const places = asked.map((row) => rows.indexOf(row));
      const own = (values: Values) => rowsOf(values, places);
      const around = {
        ...(residuals && { residuals: residuals.map(own) }),
        ...(pictures && { pictures: pictures.map((one) => ({ ...one, tokens: own(one.tokens) })) }),
      };
      return (await unet.runDeep({ ...input, ...around }, own(deep))).sample;
    }
    const said = await controls.add(input, evaluation, asked);
    const whole = await unet.runDeep({ ...input, ...said });
    kept = { rows: asked, deep: whole.deep, said, acting };
    return whole.sample;
  };
}
