import type { JsonObject } from "../../disk/json.js";
import { DiffusionError } from "../../errors.js";
import type { Mapping, Tensors } from "../checkpoint.js";
import { dimension } from "./config.js";

/** ComfyUI's converted files have a prefix. */
const prefixes = ["", "taesd_decoder."];

/** Layer 0 limits the latents and 2 is an activation, which have no weights; the encoder begins with a convolution. */
function decoderPrefix(stored: Tensors): string | undefined {
  return prefixes.find((at) => stored.has(`${at}1.weight`) && stored.has(`${at}3.conv.0.weight`));
}

/** The decoder of TAESD (Ollin Boer Bohan) as its author publishes it, in a file of its own. */
export const isTaesdDecoder = (stored: Tensors): boolean => decoderPrefix(stored) !== undefined;

/** The other file of the two. */
export const isTaesdEncoder = (stored: Tensors): boolean =>
  ["", "taesd_encoder."].some((at) => stored.has(`${at}0.weight`) && stored.has(`${at}1.conv.0.weight`));

/**
 * AutoencoderTiny's configuration, from the numbers of its layers: a convolution, an activation, and for each stage
 * blocks, an enlarging and a convolution, which the last lacks.
 *
 * @throws DiffusionError FILE_FORMAT for layers that do not follow each other so
 */
export function taesdConfig(stored: Tensors): JsonObject {
  const at = decoderPrefix(stored) ?? "";
  const has = (layer: number, part: string) => stored.has(`${at}${layer}.${part}`);
  const stages: number[] = [];
  let layer = 3;
  for (;;) {
    let blocks = 0;
    for (; has(layer, "conv.0.weight"); layer++) blocks++;
    stages.push(blocks);
    if (!has(layer + 1, "weight")) break;
    layer += 2;
  }
  if (!has(layer, "weight") || stages.length < 2)
    throw new DiffusionError("FILE_FORMAT", `its layers end at ${layer}, where a convolution is expected`);
  const width = dimension(stored, `${at}1.weight`, 0);
  const widths = stages.map(() => width);
  return {
    _class_name: "AutoencoderTiny",
    latent_channels: dimension(stored, `${at}1.weight`, 1),
    out_channels: dimension(stored, `${at}${layer}.weight`, 0),
    decoder_block_out_channels: widths,
    num_decoder_blocks: stages,
    // The encoder is not in the file; the author's has the same stages the other way around.
    encoder_block_out_channels: widths,
    num_encoder_blocks: [...stages].reverse(),
  };
}

/** To diffusers' names, which do not count the limiting of the latents. */
export const taesdNames: Mapping = (stored) => {
  const at = decoderPrefix(stored) ?? "";
  return new Map(
    [...stored.keys()].map((from) => {
      const [, layer, rest] = /^(\d+)\.(.+)$/.exec(from.slice(at.length)) ?? [];
      return [layer === undefined ? from : `decoder.layers.${Number(layer) - 1}.${rest}`, { from }];
    }),
  );
};
