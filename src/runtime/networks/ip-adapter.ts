import { openImageProjection, openPictureAttention } from "../../adapters/ip-adapter.js";
import { DiffusionError } from "../../errors.js";
import type { Values } from "../../latents/latents.js";
import { parseImageEncoderConfig } from "../../models/clip-config.js";
import { type ImageEncoderConfig, imageTokens } from "../../models/clip-vision.js";
import { type ImageProjectionConfig, resamplerHeadWidth } from "../../models/image-projection.js";
import type { Checkpoint, Tensors } from "../../weights/checkpoint.js";
import type { Component } from "../../weights/component.js";
import { check, fileOf, folderOf, type Model } from "../model.js";
import type { Engine } from "../process/engine.js";
import { checkWeights } from "../requirements.js";
import type { AdapterNetwork } from "./adapter-networks.js";
import { requireShape } from "./inputs.js";
import { type NetworksOptions, referenceTo, runnerOf } from "./network-runner.js";

/** The two networks of an IP-Adapter that make tokens of a picture; what it adds to the UNet is there. */
export interface IpAdapter {
  /** Side of the pictures that it takes, in pixels. */
  readonly imageSize: number;
  /** That it makes of each picture. */
  readonly tokens: number;
  /**
   * @param images normalised as CLIP's (`clipPixels`), [1, size, size, 3] each
   * @returns [1, tokens of all, width], and the same for no picture, to guide away from
   */
  run(images: readonly Values[]): Promise<{ readonly tokens: Values; readonly none: Values }>;
  /** Gives the memory of its networks back; the next run loads them again. */
  unload(): Promise<void>;
}

/** Reads an image encoder's config and checks its weights against it. Throws as `readModel`. */
export function readImageEncoder(network: Component): AdapterNetwork<ImageEncoderConfig> {
  const folder = folderOf(network);
  if (network.className !== "CLIPVisionModelWithProjection")
    throw new DiffusionError(
      "MODEL_KIND",
      `${folder} holds a ${network.className}, not a CLIPVisionModelWithProjection`,
    );
  const config = parseImageEncoderConfig(network.config, fileOf(network));
  check(network, [{ kind: "image_encoder", config, size: { batch: 1 } }]);
  return { weights: network.weights, config };
}

/**
 * Reads what an IP-Adapter makes of pictures off its weights, as there is no config.
 *
 * @param width of the context that its UNet takes
 * @throws DiffusionError MODEL_KIND, WEIGHT_SHAPE for another kind of model or another image encoder
 */
function readImageProjection(
  path: string,
  { encoder, width }: { encoder: AdapterNetwork<ImageEncoderConfig>; width: number },
): ImageProjectionConfig {
  const checkpoint = openImageProjection(path);
  try {
    const config = projectionConfig(checkpoint, encoder.config);
    if (config.width !== width)
      throw new DiffusionError(
        "WEIGHT_SHAPE",
        `${path} makes tokens of ${config.width} channels, the model's context has ${width}`,
        { hint: "the IP-Adapter was made for another kind of model" },
      );
    const given = config.kind === "plain" ? encoder.config.projection : encoder.config.width;
    if (config.embedding !== given)
      throw new DiffusionError(
        "WEIGHT_SHAPE",
        `${path} takes ${config.embedding} channels, the image encoder in ${encoder.weights.path} gives ${given}`,
        {
          hint: "the IP-Adapter was made for another image encoder: name its folder (imageEncoder); those called vit-h, also of XL, take h94/IP-Adapter:models/image_encoder",
        },
      );
    checkWeights(checkpoint, [{ kind: "image_projection", config, size: { batch: 1, length: 1 } }]);
    return config;
  } finally {
    checkpoint.close();
  }
}

function projectionConfig({ path, tensors }: Checkpoint, encoder: ImageEncoderConfig): ImageProjectionConfig {
  const shape = (name: string): readonly number[] | undefined => tensors.get(name)?.shape;
  const [all, norm] = [shape("proj.weight"), shape("norm.weight")];
  if (all && norm)
    return { kind: "plain", embedding: all[1]!, tokens: Math.floor(all[0]! / norm[0]!), width: norm[0]! };
  const [first, last] = [shape("proj.0.weight"), shape("proj.3.weight")];
  if (first && last)
    return { kind: "full", embedding: first[1]!, tokens: imageTokens(encoder), width: last[0]! };
  const [table, input, output] = ["latent_embedding", "proj_in.weight", "proj_out.weight"].map(shape);
  const [query, feed] = [shape("layers.0.0.to_q.weight"), shape("layers.0.1.1.weight")];
  if (table && input && output && query && feed)
    return {
      kind: "resampler",
      embedding: input[1]!,
      tokens: table[0]!,
      width: output[0]!,
      innerWidth: table[1]!,
      layers: layersOf(tensors),
      heads: Math.floor(query[0]! / resamplerHeadWidth),
      feedForward: feed[0]!,
    };
  throw new DiffusionError("UNSUPPORTED", `${path}: an IP-Adapter of an unknown kind`, {
    hint: `the plain ones, plus and full-face are known; its image_proj holds ${[...tensors.keys()].slice(0, 6).join(", ")}`,
  });
}

const layersOf = (tensors: Tensors): number =>
  new Set([...tensors.keys()].flatMap((name) => /^layers\.(\d+)\./.exec(name)?.[1] ?? [])).size;

/**
 * The networks of an IP-Adapter, after a look at whether it fits.
 *
 * @param file the IP-Adapter's
 * @throws DiffusionError MODEL_KIND, UNSUPPORTED, WEIGHT_SHAPE for another kind of model or another image encoder
 */
export function openIpAdapter(
  { unet, source }: Model,
  { file, encoder: network }: { file: string; encoder: Component },
  engine: Engine,
  options: NetworksOptions,
): IpAdapter {
  if (unet.kind !== "unet")
    throw new DiffusionError("MODEL_KIND", `${source.path} does not look at a prompt as IP-Adapters need it`);
  const checkpoint = source.unet.open();
  try {
    openPictureAttention(file, checkpoint.tensors, 0).close();
  } finally {
    checkpoint.close();
  }
  const encoder = readImageEncoder(network);
  const projection = readImageProjection(file, { encoder, width: unet.config.crossAttentionDim });
  return createIpAdapter({ path: file, projection, encoder }, engine, options);
}

function createIpAdapter(
  { path, projection, encoder }: IpAdapterParts,
  engine: Engine,
  options: NetworksOptions,
): IpAdapter {
  const runEncoder = runnerOf(referenceTo(encoder), "image_encoder", engine, options);
  const runProjection = runnerOf(
    { label: `${path} image_projection`, weights: { imageProjection: path } },
    "image_encoder.projection",
    engine,
    options,
  );
  const { config } = encoder;
  const encode = async (image: Values): Promise<Values> => {
    const side = config.imageSize;
    const given = requireShape("image", image, [1, side, side, 3]);
    const spec = { kind: "image_encoder", config, size: { batch: 1 } } as const;
    const found = await runEncoder(spec, { image: given });
    return projection.kind === "plain" ? found.projected : found.penultimate;
  };
  const project = async (embedding: Values): Promise<Values> => {
    const length = projection.kind === "plain" ? 1 : embedding.shape[1]!;
    const spec = { kind: "image_projection", config: projection, size: { batch: 1, length } } as const;
    const { tokens } = await runProjection(spec, { embedding });
    return tokens;
  };
  // The plain kind is guided away from an embedding of zeros, the others from a picture of zeros, as in diffusers.
  const nothing = async (): Promise<Values> => {
    if (projection.kind === "plain") return zeros([1, projection.embedding]);
    return encode(zeros([1, config.imageSize, config.imageSize, 3]));
  };
  let none: Values | undefined;
  return {
    imageSize: config.imageSize,
    tokens: projection.tokens,
    async run(images) {
      const seen: Values[] = [];
      for (const image of images) seen.push(await project(await encode(image)));
      none ??= await project(await nothing());
      return { tokens: joined(seen), none: joined(seen.map(() => none!)) };
    },
    async unload() {
      await runEncoder.unload();
      await runProjection.unload();
    },
  };
}

export interface IpAdapterParts {
  /** The IP-Adapter's file. */
  readonly path: string;
  readonly projection: ImageProjectionConfig;
  readonly encoder: AdapterNetwork<ImageEncoderConfig>;
}

const zeros = (shape: readonly number[]): Values => ({
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
});

/** The tokens of several pictures, one after the other. */
function joined(pictures: readonly Values[]): Values {
  const [, , width] = pictures[0]!.shape as [number, number, number];
  const data = new Float32Array(pictures.reduce((sum, { data: { length } }) => sum + length, 0));
  let at = 0;
  for (const picture of pictures) {
    data.set(picture.data, at);
    at += picture.data.length;
  }
  return { shape: [1, data.length / width, width], data };
}
