import { DiffusionError } from "../errors.js";
import type { Values } from "../latents/latents.js";
import type { NetworkSpec } from "../models/network.js";
import { kUnetInputs, requireShape, type UNetInput, unconditionalInputs, unetInputs } from "./inputs.js";
import type { Model } from "./model.js";
import type { Run } from "./runner.js";

export interface UNet {
  /** The prediction [B, H, W, O] (noise, velocity or sample, as the scheduler's prediction_type says). */
  run(x: UNetInput): Promise<Values>;
  /**
   * DeepCache (Ma et al. 2023, branch 0), for conditional UNets. Without `deep` the whole network, which gives its deep
   * feature [B, H, W, C] beside the prediction; with one, what is around it alone, and the same feature comes back.
   * ControlNet's residuals other than the first are then left out, as they act on what is not run.
   */
  runDeep(x: UNetInput, deep?: Values): Promise<{ readonly sample: Values; readonly deep: Values }>;
}

/** @param frequencies of the time embedding of K UNets, read when they are first needed */
export function unetOf(unet: Model["unet"], run: Run, frequencies: () => Float32Array): UNet {
  const inputsOf = (x: UNetInput) => {
    switch (unet.kind) {
      case "unet":
        return unetInputs(unet.config, x);
      case "k_unet":
        return kUnetInputs(unet.config, x, frequencies());
      case "unconditional_unet":
        return unconditionalInputs(unet.config, x);
      default:
        return unet satisfies never;
    }
  };
  return {
    async runDeep(x, deep) {
      if (unet.kind !== "unet")
        throw new DiffusionError("MODEL_KIND", "DeepCache is for UNets that are conditioned on a prompt");
      const { config } = unet;
      const { inputs, size } = unetInputs(config, x);
      const spec: NetworkSpec = { kind: "unet", config, size: { ...size, deep: deep ? "in" : "out" } };
      if (deep) {
        const { batch, height, width } = size;
        inputs.deep = requireShape("deep", deep, [batch, height, width, config.levels[0]!.channels]);
        // What acts on the deep layers need not be sent.
        for (const name of Object.keys(inputs))
          if (/^(feature|residual)\./.test(name) && name !== "residual.0") delete inputs[name];
      }
      const outputs = await run(spec, inputs);
      return { sample: outputs.sample!, deep: deep ?? outputs.deep! };
    },
    async run(x) {
      const { inputs, size } = inputsOf(x);
      const { sample } = await run({ ...unet, size } as NetworkSpec, inputs);
      return sample!;
    },
  };
}
