import type { Module } from "../nn/module.js";
import type { DType, Shape, Tensor } from "../ops/ops.js";
import { type TextEncoderConfig, type TextEncoderSize, textEncoder } from "./clip.js";
import { type ImageEncoderConfig, imageEncoder } from "./clip-vision.js";
import { type ControlNetConfig, controlNet } from "./controlnet.js";
import { type ImageProjectionConfig, type ImageProjectionSize, imageProjection } from "./image-projection.js";
import { type KUNetConfig, type KUNetSize, kUnet } from "./k-unet.js";
import { type T2iAdapterConfig, type T2iAdapterSize, t2iAdapter } from "./t2i-adapter.js";
import { type TaesdConfig, taesdDecoder, taesdEncoder } from "./taesd.js";
import { type UNet2DConfig, type UNet2DSize, unconditionalUNet } from "./unconditional.js";
import { type UNetSize, unet } from "./unet.js";
import type { UNetConfig } from "./unet-config.js";
import { type KlConfig, type VaeSize, vaeDecoder, vaeEncoder } from "./vae.js";
import { type VqConfig, vqDecoder, vqEncoder } from "./vq.js";

export interface TensorSpec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** A network at one size: what goes in, and the pure function from named inputs to named outputs. */
export interface Network {
  readonly inputs: Readonly<Record<string, TensorSpec>>;
  forward(m: Module, inputs: Readonly<Record<string, Tensor>>): Record<string, Tensor>;
}

/** A network as plain data, so that it can be sent to the process that runs it and hashed into a cache key. */
export type NetworkSpec =
  | { readonly kind: "text_encoder"; readonly config: TextEncoderConfig; readonly size: TextEncoderSize }
  | { readonly kind: "unet"; readonly config: UNetConfig; readonly size: UNetSize }
  | { readonly kind: "k_unet"; readonly config: KUNetConfig; readonly size: KUNetSize }
  | { readonly kind: "unconditional_unet"; readonly config: UNet2DConfig; readonly size: UNet2DSize }
  | { readonly kind: "vae_encoder"; readonly config: KlConfig; readonly size: VaeSize }
  | { readonly kind: "vae_decoder"; readonly config: KlConfig; readonly size: VaeSize }
  | { readonly kind: "vq_encoder"; readonly config: VqConfig; readonly size: VaeSize }
  | { readonly kind: "vq_decoder"; readonly config: VqConfig; readonly size: VaeSize }
  | { readonly kind: "taesd_encoder"; readonly config: TaesdConfig; readonly size: VaeSize }
  | { readonly kind: "taesd_decoder"; readonly config: TaesdConfig; readonly size: VaeSize }
  | { readonly kind: "controlnet"; readonly config: ControlNetConfig; readonly size: UNetSize }
  | { readonly kind: "t2i_adapter"; readonly config: T2iAdapterConfig; readonly size: T2iAdapterSize }
  | {
      readonly kind: "image_encoder";
      readonly config: ImageEncoderConfig;
      readonly size: { readonly batch: number };
    }
  | {
      readonly kind: "image_projection";
      readonly config: ImageProjectionConfig;
      readonly size: ImageProjectionSize;
    };

export function buildNetwork(spec: NetworkSpec): Network {
  switch (spec.kind) {
    case "text_encoder":
      return textEncoder(spec.config, spec.size);
    case "unet":
      return unet(spec.config, spec.size);
    case "k_unet":
      return kUnet(spec.config, spec.size);
    case "unconditional_unet":
      return unconditionalUNet(spec.config, spec.size);
    case "vae_encoder":
      return vaeEncoder(spec.config, spec.size);
    case "vae_decoder":
      return vaeDecoder(spec.config, spec.size);
    case "vq_encoder":
      return vqEncoder(spec.config, spec.size);
    case "vq_decoder":
      return vqDecoder(spec.config, spec.size);
    case "taesd_encoder":
      return taesdEncoder(spec.config, spec.size);
    case "taesd_decoder":
      return taesdDecoder(spec.config, spec.size);
    case "controlnet":
      return controlNet(spec.config, spec.size);
    case "t2i_adapter":
      return t2iAdapter(spec.config, spec.size);
    case "image_encoder":
      return imageEncoder(spec.config, spec.size);
    case "image_projection":
      return imageProjection(spec.config, spec.size);
    default:
      return spec satisfies never;
  }
}
