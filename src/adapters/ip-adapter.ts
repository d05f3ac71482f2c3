import { createHash } from "node:crypto";
import { DiffusionError } from "../errors.js";
import {
  type Checkpoint,
  type Mapping,
  type Origin,
  openCheckpoint,
  type Tensors,
} from "../weights/checkpoint.js";

import { looksLike } from "../weights/file-kinds.js";

/** Keys as they stand in the files (ip-adapter_sd15.safetensors, or the nested dictionaries of a .bin). */
const projectionPrefix = "image_proj.";
const attentionPrefix = "ip_adapter.";

/**
 * The part of an IP-Adapter that makes tokens of an encoded picture, under its own names below `image_proj.`; the
 * resampler's learned queries are `latent_embedding` [tokens, width], which says that they are a table.
 *
 * @throws DiffusionError MODEL_KIND for what is no IP-Adapter, and as `openTensorFile`
 */
export function openImageProjection(path: string): Checkpoint {
  return openCheckpoint(path, (stored) => {
    checkIsIpAdapter(path, stored);
    const origins = new Map<string, Origin>();
    for (const [from, { shape }] of stored) {
      if (!from.startsWith(projectionPrefix)) continue;
      const name = from.slice(projectionPrefix.length);
      if (name === "latents") origins.set("latent_embedding", { from, shape: shape.slice(1) });
      else origins.set(name, { from });
    }
    return origins;
  });
}

/**
 * Opens the part of an IP-Adapter that goes into a UNet's cross-attention, keys and values for its pictures, under
 * diffusers' names.
 *
 * @param unet the tensors of the UNet
 * @param index among the IP-Adapters in use
 * @throws DiffusionError WEIGHT_SHAPE for one that was made for another kind of UNet, MODEL_KIND, and as
 * `openTensorFile`
 */
export function openPictureAttention(path: string, unet: Tensors, index: number): Checkpoint {
  const layers = crossAttentions(unet);
  const mapping: Mapping = (stored) => {
    checkIsIpAdapter(path, stored);
    const origins = new Map<string, Origin>();
    layers.forEach((layer, i) => {
      for (const what of ["k", "v"]) {
        // Self-attention has the even numbers, and no weights.
        const from = `${attentionPrefix}${2 * i + 1}.to_${what}_ip.weight`;
        const [got, want] = [stored.get(from)?.shape, unet.get(`${layer}.to_${what}.weight`)!.shape];
        if (got?.join() !== want.join())
          throw misfit(
            `${path}: ${from} is ${got ? `[${got}]` : "missing"}, ${layer}.to_${what}.weight is [${want}]`,
          );
        origins.set(`${layer}.processor.to_${what}_ip.${index}.weight`, { from });
      }
    });
    const count = [...stored.keys()].filter((name) => /^ip_adapter\.\d+\.to_k_ip\.weight$/.test(name)).length;
    if (count !== layers.length)
      throw misfit(`${path} is for ${count} cross-attentions, this model has ${layers.length}`);
    return origins;
  };
  return openCheckpoint(path, mapping);
}

/** Where a UNet looks at its prompt, in the order of diffusers: the way down, the way up, the middle. */
export function crossAttentions(unet: Tensors): string[] {
  const found = [...unet.keys()].flatMap((name) => /^(.*\.attn2)\.to_k\.weight$/.exec(name)?.[1] ?? []);
  const part = (name: string) => ["down_blocks", "up_blocks", "mid_block"].indexOf(name.split(".")[0]!);
  const { compare } = new Intl.Collator("en", { numeric: true });
  return found.sort((a, b) => part(a) - part(b) || compare(a, b));
}

/** Numbers that describe a face; no image encoder of CLIP's gives as many. */
const FACE_WIDTH = 512;
const faceInputs = ["proj_in.weight", "proj.0.weight", "proj.weight"];

/** Throws for what is no IP-Adapter that can be used, whatever the model. */
export function requireIpAdapter(path: string): void {
  openImageProjection(path).close();
}

function checkIsIpAdapter(path: string, stored: Tensors): void {
  const names = [...stored.keys()];
  const has = (prefix: string) => names.some((name) => name.startsWith(prefix));
  const other = looksLike(names, "ip-adapter");
  if (!has(projectionPrefix) || !has(attentionPrefix))
    throw new DiffusionError(
      "MODEL_KIND",
      `${path} is no IP-Adapter: it lacks image_proj or ip_adapter${other ? `; it looks like ${other}` : ""}`,
    );
  // Those for faces look at what another network says of a face, and some bring LoRAs along.
  const takes = faceInputs.map((name) => stored.get(projectionPrefix + name)?.shape[1]);
  if (takes.includes(FACE_WIDTH) || names.some((name) => /_lora\.|perceiver_resampler/.test(name)))
    throw new DiffusionError(
      "UNSUPPORTED",
      `${path} is an IP-Adapter for face embeddings (FaceID, InstantID), which a network that recognises faces (InsightFace) would have to make`,
      { hint: "the plain ones, plus, plus-face and full-face can be used" },
    );
}

const misfit = (message: string): DiffusionError =>
  new DiffusionError("WEIGHT_SHAPE", message, { hint: "the IP-Adapter was made for another kind of model" });

const digest = (value: unknown): string =>
  createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 32);

/** Lays the tensors of IP-Adapters over those of a UNet. Closing it closes all. */
export function withPictureAttention(checkpoint: Checkpoint, paths: readonly string[]): Checkpoint {
  const opened: Checkpoint[] = [];
  const close = () => {
    for (const part of opened) part.close();
    checkpoint.close();
  };
  try {
    for (const [i, path] of paths.entries()) opened.push(openPictureAttention(path, checkpoint.tensors, i));
  } catch (error) {
    close();
    throw error;
  }
  const owner = new Map(
    opened.flatMap((part) => [...part.tensors.keys()].map((name) => [name, part] as const)),
  );
  const lowRank = checkpoint.changed?.lowRank;
  return {
    ...checkpoint,
    tensors: new Map([...checkpoint.tensors, ...opened.flatMap(({ tensors }) => [...tensors])]),
    changed: {
      id: digest([checkpoint.changed?.id, ...opened.map(({ id }) => id)]),
      names: new Set([...(checkpoint.changed?.names ?? []), ...owner.keys()]),
      ...(lowRank && { lowRank }),
    },
    readFloat32: (name) => (owner.get(name) ?? checkpoint).readFloat32(name),
    close,
  };
}
