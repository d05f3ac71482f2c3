import type { Values } from "../latents/latents.js";
import type { UNet } from "../runtime/networks/unet.js";
import { type GoldenCase, goldenTensor, toNhwc } from "./golden.js";

/** Runs a UNet on the inputs of a case. */
export function runGoldenUNet(unet: UNet, { inputs }: GoldenCase): Promise<Values> {
  const values = (reference: { file: string; key: string }): Values => toNhwc(goldenTensor(reference));
  return unet.run({
    sample: values(inputs.sample),
    timestep: inputs.timestep,
    context: values(inputs.encoder_hidden_states),
    ...(inputs.text_embeds && {
      added: {
        textEmbeds: values(inputs.text_embeds),
        timeIds: { shape: [1, 6], data: Float32Array.from(inputs.time_ids.flat()) },
      },
    }),
  });
}
