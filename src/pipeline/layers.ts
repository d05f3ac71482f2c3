import { DiffusionError } from "../errors.js";
import { buildNetwork, type NetworkSpec } from "../models/registry.js";
import { checkLayerOptions, type LayerOptions } from "../options/load.js";
import { type Model, ownSizes, readModel } from "../runtime/model.js";
import { tfLayer } from "../runtime/tf-layer.js";
import type { Component } from "../weights/component.js";
import { openModel } from "../weights/model.js";
import { clipTokenizerFolder, defaultModels, locateModel } from "./model-source.js";

/** The networks that can stand in a `tf.model`. */
export type LayerName = "text_encoder" | "unet" | "vae_encoder" | "vae_decoder";

/** What is needed of tfjs; its own types would have to be found wherever this library is installed. */
export interface TensorFlow {
  readonly layers: { readonly Layer: abstract new (...args: never) => unknown };
}

/**
 * A network of a model as a `tf.layers.Layer` of the given tfjs, in float32, to be composed with others in
 * `tf.model(...)`. Its inputs, in this order: text_encoder: ids [B, 77] int32, rows of the end tokens [B] int32; unet: sample
 * [B, h, w, C], timestep [B], context [B, 77, D] (SDXL: also its conditions); vae_encoder: image [B, H, W, 3] in [-1, 1];
 * vae_decoder: unscaled latents [B, h, w, C]. It gives its first result: the hidden states, the prediction, the
 * moments, the image. Its memory is freed by `layer.dispose()`.
 *
 * @throws DiffusionError for models that cannot be found or used, and sizes that do not fit
 */
export async function loadLayer<Tf extends TensorFlow>(
  tf: Tf,
  name: LayerName,
  options: LayerOptions = {},
): Promise<InstanceType<Tf["layers"]["Layer"]>> {
  checkLayerOptions(options);
  const { model = defaultModels[0], batch = 1, width, height } = options;
  const path = await locateModel(model, options);
  const { variant } = options;
  const read = readModel(openModel(path, { tokenizer: clipTokenizerFolder(), ...(variant && { variant }) }));
  const { spec, network } = choose(read, name);
  const sides = { height: height ?? own(read), width: width ?? own(read) };
  for (const [side, pixels] of Object.entries(sides))
    if (pixels % read.factor !== 0)
      throw new DiffusionError(
        "BAD_OPTION",
        `${side} must be a multiple of ${read.factor} above 0, got ${pixels}`,
      );
  const scale = name === "vae_encoder" ? 1 : read.factor;
  const size = {
    ...spec.size,
    batch,
    ...("height" in spec.size && { height: sides.height / scale, width: sides.width / scale }),
  };
  const layer = tfLayer(
    tf as unknown as Parameters<typeof tfLayer>[0],
    buildNetwork({ ...spec, size } as NetworkSpec),
    network.open(),
    name,
  );
  return layer as InstanceType<Tf["layers"]["Layer"]>;
}

/** Side of the model's own pictures. */
const own = ({ unet, factor }: Model): number => unet.config.sampleSize * factor;

function choose(model: Model, name: LayerName): { spec: NetworkSpec; network: Component } {
  const { source, vaeSource } = model;
  const sizes = ownSizes(model);
  const candidates: [NetworkSpec | undefined, Component | undefined][] = [
    [sizes.textEncoders[0], source.textEncoders[0]],
    [sizes.unet, source.unet],
    ...sizes.vae.map((spec): [NetworkSpec, Component | undefined] => [spec, vaeSource]),
  ];
  const [spec, network] = candidates.find(([spec]) => spec?.kind === name) ?? [];
  if (spec && network) return { spec, network };
  throw new DiffusionError("MODEL_KIND", `${source.path} has no ${name} that can be a layer`, {
    hint: `it has ${candidates.flatMap(([spec]) => spec?.kind ?? []).join(", ")}`,
  });
}
