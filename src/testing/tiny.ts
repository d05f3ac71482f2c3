import { readFileSync } from "node:fs";
import { mapFields } from "../models/fields.js";
import type { Network } from "../models/network.js";
import type { SpecOf } from "../models/registry.js";
import { parseUNetConfig } from "../models/unet-config.js";
import { elements } from "../ops/ops.js";
import type { Given, Input } from "../runtime/runner.js";
import { openCheckpoint } from "../weights/checkpoint.js";
import { goldenPath } from "./golden.js";

/** The UNet of a tiny golden model, for tests of the runtimes. */
export function tinyUNet(model = "tiny-sd1", size = { batch: 1, height: 8, width: 8, tokens: 77 }) {
  const folder = goldenPath(`models/${model}/unet`);
  const config = parseUNetConfig(JSON.parse(readFileSync(`${folder}/config.json`, "utf8")), folder);
  const spec: SpecOf<"unet"> = { kind: "unet", config, size };
  return { spec, open: () => openCheckpoint(`${folder}/diffusion_pytorch_model.safetensors`) };
}

/** Pseudo-random inputs of a network, other ones for each. */
export function pseudoRandomInputs<N extends Network>({ inputs }: N): Given<N> {
  let seed = 0;
  return mapFields(inputs, ({ shape }): Input => {
    seed++;
    return { shape, data: pseudoRandom(elements(shape), seed) };
  }) as Given<N>;
}

/** Numbers between -1 and 1 that are the same each time. */
export function pseudoRandom(length: number, seed = 1): Float32Array {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (state * 16807) % 2147483647;
    return (state / 2147483647) * 2 - 1;
  });
}
