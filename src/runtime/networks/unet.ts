import { DiffusionError, internal } from "../../errors.js";
import type { Values } from "../../latents/latents.js";
import type { UNetConfig } from "../../models/unet-config.js";
import type { Model } from "../model.js";
import type { Run } from "../runner.js";
import {
  kUnetInputs,
  requireFields,
  requireShape,
  sharingSample,
  type UNetInput,
  unconditionalInputs,
  unetInputs,
} from "./inputs.js";

export interface UNet {
  /** The prediction [B, H, W, O] (noise, velocity or sample, as the scheduler's prediction_type says). */
  run(x: UNetInput): Promise<Values>;
  /**
   * DeepCache (Ma et al. 2023, branch 0), for conditional UNets. Without `deep` the whole network, which gives its deep
   * feature [B, H, W, C] beside the prediction; with one, only what is around it, and the same feature comes back.
   * ControlNet's residuals other than the first are then left out, as they act on what is not run.
   */
  runDeep(x: UNetInput, deep?: Values): Promise<{ readonly sample: Values; readonly deep: Values }>;
}

/**
 * @param frequencies of the time embedding of K UNets, read when they are first needed
 * @param isApart computes each sample of a batch for itself, so that nothing is shared
 */
export function unetOf(
  unet: Model["unet"],
  run: Run,
  frequencies: () => Float32Array,
  isApart = false,
): UNet {
  const ofBatch = (config: UNetConfig, x: UNetInput) =>
    isApart ? unetInputs(config, x) : sharingSample(unetInputs(config, x));
  return {
    async run(x) {
      requireFields("unet", x, ["sample", "timestep"]);
      return (await runOf(unet, x)).sample;
    },
    async runDeep(x, deep) {
      if (unet.kind !== "unet")
        throw new DiffusionError("MODEL_KIND", "DeepCache is for UNets that are conditioned on a prompt");
      const { config } = unet;
      const { inputs, size } = deep ? unetInputs(config, x) : ofBatch(config, x);
      const spec = { kind: "unet", config, size: { ...size, deep: deep ? "in" : "out" } } as const;
      if (!deep) {
        const { sample, deep: feature } = await run(spec, inputs);
        if (!feature) throw internal("a UNet without the deep feature that it was asked for");
        return { sample, deep: feature };
      }
      const { batch, height, width } = size;
      const { features: _, residuals, ...around } = inputs;
      const { sample } = await run(spec, {
        ...around,
        // What acts on the deep layers need not be sent.
        ...(residuals && { residuals: residuals.slice(0, 1) }),
        deep: requireShape("deep", deep, [batch, height, width, config.levels[0]!.channels]),
      });
      return { sample, deep };
    },
  };

  function runOf(unet: Model["unet"], x: UNetInput): Promise<{ readonly sample: Values }> {
    if (unet.kind === "unet") {
      const { inputs, size } = ofBatch(unet.config, x);
      return run({ ...unet, size }, inputs);
    }
    if (unet.kind === "k_unet") {
      const { inputs, size } = kUnetInputs(unet.config, x, frequencies());
      return run({ ...unet, size }, inputs);
    }
    const { inputs, size } = unconditionalInputs(unet.config, x);
    return run({ ...unet, size }, inputs);
  }
}
