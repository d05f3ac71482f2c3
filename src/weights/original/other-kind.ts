import { DiffusionError } from "../../errors.js";
import type { ModelSource } from "../component.js";
import type { Part } from "./config.js";

/** What tells kinds of models apart before any weight is read: what a UNet is shown, and the text that it attends to. */
interface Look {
  readonly channels: unknown;
  readonly text: unknown;
}

/**
 * Refuses a model that is to lend what a file lacks, and is of another kind than the file: an inpainting model for one that
 * is none, Stable Diffusion XL for 1.
 *
 * @param unet of the file, under original or diffusers' names
 * @throws DiffusionError MODEL_KIND
 */
export function refuseOtherKind({ path, unet: { config } }: ModelSource, unet: Part): void {
  const text = [...unet].find(([name]) => name.endsWith("attn2.to_k.weight"))?.[1].shape[1];
  const input = unet.get("input_blocks.0.0.weight") ?? unet.get("conv_in.weight");
  const own = { channels: input?.shape[1], text };
  const lent = { channels: config.in_channels, text: config.cross_attention_dim };
  if ((["channels", "text"] as const).every((key) => isEqual(own[key], lent[key]))) return;
  throw new DiffusionError(
    "MODEL_KIND",
    `config is a model of another kind: its UNet (${path}) ${inWords(lent)}, the file's ${inWords(own)}`,
    {
      hint: "Give as config a whole model of the family that the file is of (Stable Diffusion 1, 2, XL; for inpainting or not).",
    },
  );
}

/** A width of each level, or none at all, says nothing against the file. */
const isEqual = (own: unknown, lent: unknown): boolean =>
  typeof own !== "number" || typeof lent !== "number" || own === lent;

const inWords = ({ channels, text }: Look): string =>
  `takes ${channels} channels and a text of width ${text}`;
