import type { Values } from "../../latents/latents.js";
import { type ControlNetConfig, conditioningFactor } from "../../models/controlnet.js";
import type { Engine } from "../process/engine.js";
import type { Run } from "../runner.js";
import type { AdapterNetwork } from "./adapter-networks.js";
import { badInput, requireShape, type UNetInput, unetInputs } from "./inputs.js";
import { type NetworksOptions, referenceTo, runnerOf } from "./network-runner.js";

export interface ControlNetInput extends Omit<UNetInput, "residuals"> {
  /** The picture to follow, [B, H * f, W * f, 3] in [0, 1]; -1 in holes, for inpainting. */
  readonly image: Values;
  /** How closely to follow it, default 1. */
  readonly scale?: number;
  /** Weak on fine structure and full on the coarse, for work without a prompt. */
  readonly guess?: boolean;
}

export interface ControlNet {
  readonly kind: "controlnet";
  readonly config: ControlNetConfig;
  /** Residuals for `UNetInput.residuals`: one for each skip connection, and last the middle's. */
  run(x: ControlNetInput): Promise<Values[]>;
}

/** A ControlNet from a folder or a file of its own, for the models that it was made for. */
export function createControlNet(
  control: AdapterNetwork<ControlNetConfig>,
  engine: Engine,
  options: NetworksOptions,
): ControlNet {
  return controlNet(control.config, runnerOf(referenceTo(control), "controlnet", engine, options));
}

function controlNet(config: ControlNetConfig, run: Run): ControlNet {
  return {
    kind: "controlnet",
    config,
    async run(x) {
      const { inputs, size } = unetInputs(config.unet, x);
      const f = conditioningFactor(config);
      const shape = [size.batch, size.height * f, size.width * f, config.conditioningChannels];
      const image = requireShape("image", x.image, shape);
      const { scale = 1, guess = false } = x;
      if (!Number.isFinite(scale)) throw badInput("scale", "a number", `${scale}`);
      const { residuals } = await run({ kind: "controlnet", config, size }, { ...inputs, image });
      return residuals.map((residual, i) => {
        // The mean over the picture has lost its structure, so the guess mode leaves it alone.
        if (config.globalPool) return scaled(pooled(residual), scale);
        return scaled(residual, guess ? scale * guessScale(i, residuals.length) : scale);
      });
    },
  };
}

/** Residuals of several ControlNets, added up. */
export function addResiduals([first, ...others]: readonly (readonly Values[])[]): Values[] {
  return first!.map(({ shape, data }, i) => {
    const sum = data.slice();
    for (const other of others) for (let j = 0; j < sum.length; j++) sum[j]! += other[i]!.data[j]!;
    return { shape, data: sum };
  });
}

/** From 0.1 for the first residual to 1 for the middle, in equal ratios. */
const guessScale = (i: number, count: number): number => Math.fround(10 ** (i / (count - 1) - 1));

function scaled({ shape, data }: Values, by: number): Values {
  return by === 1 ? { shape, data } : { shape, data: data.map((value) => value * by) };
}

/** The mean of each channel, everywhere. */
function pooled({ shape, data }: Values): Values {
  const [batch, height, width, channels] = shape as [number, number, number, number];
  const cells = height * width;
  const out = new Float32Array(data.length);
  for (let b = 0; b < batch; b++)
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let i = 0; i < cells; i++) sum += data[(b * cells + i) * channels + c]!;
      for (let i = 0; i < cells; i++) out[(b * cells + i) * channels + c] = sum / cells;
    }
  return { shape, data: out };
}
