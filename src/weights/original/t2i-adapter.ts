import type { JsonObject } from "../../disk/json.js";
import { DiffusionError } from "../../errors.js";
import type { Mapping, Tensors } from "../checkpoint.js";
import { count, dimension } from "./config.js";

/** Residual blocks of each level, in all that the original code made. */
const layers = 2;

const isLight = (stored: Tensors): boolean =>
  stored.has("body.0.in_conv.weight") && stored.has("body.0.out_conv.weight");

/** A T2I-Adapter in the original layout (Mou et al. 2023, arXiv:2302.08453), in a file of its own. */
export const isT2iAdapter = (stored: Tensors): boolean =>
  isLight(stored) || (stored.has("body.0.block1.weight") && stored.has("conv_in.weight"));

/**
 * T2IAdapter's configuration, from names and shapes; its kinds have pictures in squares of 8 pixels, for XL of 16.
 *
 * @throws DiffusionError UNSUPPORTED for squares of other sizes, or an odd number of blocks
 */
export function t2iAdapterConfig(stored: Tensors): JsonObject {
  const light = isLight(stored);
  const bodies = count(stored, "body.");
  const squares = dimension(stored, light ? "body.0.in_conv.weight" : "conv_in.weight", 1);
  const factor = new Map([[64, 8], [3 * 64, 8], [256, 16], [3 * 256, 16]]).get(squares); // biome-ignore format: a table
  if (factor === undefined || (!light && bodies % layers !== 0))
    throw new DiffusionError(
      "UNSUPPORTED",
      `it is a T2I-Adapter of ${bodies} blocks that takes ${squares} values of a square; expected 64, 192, 256 or 768, and ${layers} blocks a level`,
    );
  const common = {
    _class_name: "T2IAdapter",
    in_channels: squares / factor ** 2,
    downscale_factor: factor,
  };
  const channels = (length: number, name: (i: number) => string) =>
    Array.from({ length }, (_, i) => dimension(stored, name(i), 0));
  if (!light)
    return {
      ...common,
      adapter_type: factor === 16 ? "full_adapter_xl" : "full_adapter",
      channels: channels(bodies / layers, (i) => `body.${layers * i}.block1.weight`),
      num_res_blocks: layers,
    };
  return {
    ...common,
    adapter_type: "light_adapter",
    // diffusers repeats the last by itself.
    channels: channels(bodies - 1, (i) => `body.${i}.out_conv.weight`),
    num_res_blocks: count(stored, "body.0.body."),
  };
}

/** To diffusers' names; the original counts the residual blocks of all levels in one row. */
export const t2iAdapterNames: Mapping = (stored) => {
  const light = isLight(stored);
  return new Map(
    [...stored.keys()].map((from) => {
      const [, body, rest] = /^body\.(\d+)\.(.+)$/.exec(from) ?? [];
      if (body === undefined || rest === undefined) return [`adapter.${from}`, { from }];
      if (light) return [`adapter.body.${body}.${rest.replace(/^body\./, "resnets.")}`, { from }];
      const [level, resnet] = [Math.floor(Number(body) / layers), Number(body) % layers];
      const inside = rest.startsWith("in_conv.") ? rest : `resnets.${resnet}.${rest}`;
      return [`adapter.body.${level}.${inside}`, { from }];
    }),
  );
};
