import { DiffusionError } from "../../errors.js";
import type { ControlNetConfig } from "../../models/controlnet.js";
import { parseControlNetConfig } from "../../models/controlnet-config.js";
import type { T2iAdapterConfig } from "../../models/t2i-adapter.js";
import { parseT2iAdapterConfig } from "../../models/t2i-adapter-config.js";
import type { UNetConfig } from "../../models/unet-config.js";
import type { Component, WeightsPlace } from "../../weights/component.js";
import { check, fileOf, type Model, placeOf } from "../model.js";

/** Red, green and blue. */
const PICTURE_CHANNELS = 3;

/** Networks that stand beside a model. */
export interface AdapterNetwork<Config> {
  readonly weights: WeightsPlace;
  readonly config: Config;
}

/**
 * Reads a ControlNet's config and checks its weights against it. Throws as `readModel`.
 *
 * @param base the UNet that it is for
 */
export function readControlNet(network: Component, base?: Model["unet"]): AdapterNetwork<ControlNetConfig> {
  if (isUnion(network))
    throw new DiffusionError(
      "UNSUPPORTED",
      `${placeOf(network)} holds a union ControlNet (${network.className}, ProMax), which is not supported`,
      { hint: "Use a ControlNet that was made for one kind of picture." },
    );
  if (network.className !== "ControlNetModel")
    throw new DiffusionError(
      "MODEL_KIND",
      `${placeOf(network)} holds a ${network.className}, not a ControlNetModel or T2IAdapter`,
    );
  const config = parseControlNetConfig(network.config, fileOf(network));
  if (config.conditioningChannels !== PICTURE_CHANNELS)
    throw new DiffusionError(
      "UNSUPPORTED",
      `${placeOf(network)} is a ControlNet that looks at ${config.conditioningChannels} channels, pictures have ${PICTURE_CHANNELS}`,
      { hint: "Those for inpainting that also look at a mask are not supported." },
    );
  if (base)
    requireBase(network, base, ({ levels, crossAttentionDim }) => [
      ["levels", levelsOf(config.unet), levelsOf({ levels })],
      ["cross_attention_dim", config.unet.crossAttentionDim, crossAttentionDim],
    ]);
  const edge = 2 ** config.unet.levels.length;
  check(network, [{ kind: "controlnet", config, size: { batch: 1, height: edge, width: edge, tokens: 1 } }]);
  return { weights: network.weights, config };
}

/** By the class that diffusers or its author gives it, or by what only such a network has. */
function isUnion({ className, config, open }: Component): boolean {
  if (/^ControlNet.*Union/.test(className) || config.num_control_type !== undefined) return true;
  if (className !== "ControlNetModel") return false;
  const checkpoint = open();
  try {
    return checkpoint.tensors.has("task_embedding");
  } finally {
    checkpoint.close();
  }
}

/** Reads a T2I-Adapter's config and checks its weights against it, as `readControlNet`. */
export function readT2iAdapter(network: Component, base?: Model["unet"]): AdapterNetwork<T2iAdapterConfig> {
  const config = parseT2iAdapterConfig(network.config, fileOf(network));
  if (base)
    requireBase(network, base, ({ levels }) => {
      // SDXL's have one for the middle, too.
      const places = [...levels, levels.at(-1)!].slice(0, config.blocks.length);
      return [["channels", `${config.blocks.map(({ channels }) => channels)}`, levelsOf({ levels: places })]];
    });
  const edge = 2 ** config.blocks.length;
  check(network, [{ kind: "t2i_adapter", config, size: { batch: 1, height: edge, width: edge } }]);
  return { weights: network.weights, config };
}

const levelsOf = ({ levels }: Pick<UNetConfig, "levels">): string =>
  `${levels.map(({ channels }) => channels)}`;

/** Refuses a network that goes beside another kind of UNet: what it has and what the UNet has must be the same. */
function requireBase(
  network: Component,
  base: Model["unet"],
  compare: (config: UNetConfig) => readonly (readonly [string, number | string, number | string])[],
): void {
  const place = placeOf(network);
  if (base.kind !== "unet")
    throw new DiffusionError(
      "MODEL_KIND",
      `${place} holds a ${network.className}, which this model takes none of`,
    );
  for (const [what, own, wanted] of compare(base.config))
    if (own !== wanted)
      throw new DiffusionError(
        "WEIGHT_SHAPE",
        `${place}: a ${network.className} with ${what} ${own}; the model has ${wanted}`,
        { hint: "it was made for another kind of model" },
      );
}
