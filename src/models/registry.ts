import { textEncoder } from "./clip.js";
import { imageEncoder } from "./clip-vision.js";
import { controlNet } from "./controlnet.js";
import { imageProjection } from "./image-projection.js";
import { kUnet } from "./k-unet.js";
import type { Network } from "./network.js";
import { rrdb } from "./rrdb.js";
import { srvgg } from "./srvgg.js";
import { t2iAdapter } from "./t2i-adapter.js";
import { taesdDecoder, taesdEncoder } from "./taesd.js";
import { unconditionalUNet } from "./unconditional.js";
import { unet } from "./unet.js";
import { vaeDecoder, vaeEncoder } from "./vae.js";
import { vqDecoder, vqEncoder } from "./vq.js";

/** All networks, by the names that requests, caches and progress know them by. */
const networks = {
  text_encoder: textEncoder,
  unet,
  k_unet: kUnet,
  unconditional_unet: unconditionalUNet,
  vae_encoder: vaeEncoder,
  vae_decoder: vaeDecoder,
  vq_encoder: vqEncoder,
  vq_decoder: vqDecoder,
  taesd_encoder: taesdEncoder,
  taesd_decoder: taesdDecoder,
  controlnet: controlNet,
  t2i_adapter: t2iAdapter,
  image_encoder: imageEncoder,
  image_projection: imageProjection,
  rrdb,
  srvgg,
};

type Builders = typeof networks;
export type NetworkKind = keyof Builders;

/** A network of one kind as plain data, so that it can be sent to the process that runs it and hashed into a cache key. */
export interface SpecOf<Kind extends NetworkKind> {
  readonly kind: Kind;
  readonly config: Parameters<Builders[Kind]>[0];
  readonly size: Parameters<Builders[Kind]>[1];
}

/** A network of any kind as plain data. */
export type NetworkSpec = { [Kind in NetworkKind]: SpecOf<Kind> }[NetworkKind];

export type NetworkOf<Kind extends NetworkKind> = ReturnType<Builders[Kind]>;

export function buildNetwork<Kind extends NetworkKind>({
  kind,
  config,
  size,
}: SpecOf<Kind>): NetworkOf<Kind> {
  const build = networks[kind] as (config: unknown, size: unknown) => Network;
  return build(config, size) as NetworkOf<Kind>;
}
