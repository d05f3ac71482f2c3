import type { Values } from "../../latents/latents.js";
import type { T2iAdapterConfig } from "../../models/t2i-adapter.js";
import type { Engine } from "../process/engine.js";
import type { Run } from "../runner.js";
import type { AdapterNetwork } from "./adapter-networks.js";
import { badInput, imageShape } from "./inputs.js";
import { type NetworksOptions, referenceTo, runnerOf } from "./network-runner.js";

export interface T2iAdapter {
  readonly kind: "t2i_adapter";
  readonly config: T2iAdapterConfig;
  /** Features for `UNetInput.features` from pictures [B, H, W, inChannels] in [0, 1], sides in multiples of the factor. */
  run(image: Values): Promise<readonly Values[]>;
}

/** A T2I-Adapter from a folder of its own, for the models that it was made for. */
export function createT2iAdapter(
  adapter: AdapterNetwork<T2iAdapterConfig>,
  engine: Engine,
  options: NetworksOptions,
): T2iAdapter {
  return t2iAdapter(adapter.config, runnerOf(referenceTo(adapter), "t2i_adapter", engine, options));
}

function t2iAdapter(config: T2iAdapterConfig, run: Run): T2iAdapter {
  const { inChannels, factor } = config;
  return {
    kind: "t2i_adapter",
    config,
    async run(image) {
      const [batch, height, width] = imageShape("image", image, inChannels);
      if (height % factor !== 0 || width % factor !== 0)
        throw badInput("image", `sides in multiples of ${factor}`, `${width}x${height}`);
      const size = { batch, height: height / factor, width: width / factor };
      const squares = unshuffled(image, factor);
      const { features } = await run({ kind: "t2i_adapter", config, size }, { squares });
      return features;
    },
  };
}

/** Squares of pixels as channels, in the order of PyTorch's PixelUnshuffle: colour, row, column. */
export function unshuffled({ shape, data }: Values, factor: number): Values {
  const [batch, height, width, colours] = shape as [number, number, number, number];
  const [rows, columns] = [height / factor, width / factor];
  const out = new Float32Array(data.length);
  let to = 0;
  for (let b = 0; b < batch; b++)
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        for (let c = 0; c < colours; c++)
          for (let y = 0; y < factor; y++)
            for (let x = 0; x < factor; x++) {
              const line = (b * height + row * factor + y) * width;
              out[to++] = data[(line + column * factor + x) * colours + c]!;
            }
  return { shape: [batch, rows, columns, colours * factor ** 2], data: out };
}

/** Features of several T2I-Adapters, each times its scale, added up. */
export function addFeatures(
  adapters: readonly { readonly features: readonly Values[]; readonly scale: number }[],
): Values[] {
  const longest = Math.max(0, ...adapters.map(({ features }) => features.length));
  return Array.from({ length: longest }, (_, i) => {
    const parts = adapters.filter(({ features }) => features[i]);
    const { shape, data } = parts[0]!.features[i]!;
    const sum = new Float32Array(data.length);
    for (const { features, scale } of parts) {
      const values = features[i]!.data;
      for (let j = 0; j < sum.length; j++) sum[j]! += values[j]! * scale;
    }
    return { shape, data: sum };
  });
}
