import { defaultUpscaler } from "../../index.js";
import type { ForeignPictures } from "../foreign/foreign.js";
import {
  checkEnlarged,
  checked,
  type StoredUpscale,
  storedRequest,
  type UpscaleRequest,
} from "../requests/request.js";
import { imageKey } from "../storage/store.js";
import { type Accepted, acceptGenerate, filesFor, kept, type Parts } from "./accept.js";
import { type Picture, plainOf } from "./brought.js";
import type { Models } from "./models.js";
import { type NamedUpscaler, resamplers } from "./upscalers.js";

/** @param request what `crop` leaves is the middle */
export async function acceptUpscale(
  request: Omit<UpscaleRequest, "image"> & Pick<StoredUpscale, "crop"> & { readonly image: Picture },
  parts: Parts,
  pictures: ForeignPictures = parts.foreign.ofRequest(),
): Promise<Accepted> {
  const { limits, models } = parts;
  const name = request.upscaler ?? defaultUpscaler;
  // A model's factor is its own.
  if (upscalingModels(models).includes(name))
    return acceptGenerate({ model: name, image: request.image }, parts, pictures);
  const upscaler = await upscalerNamed(name, models);
  const source = await plainOf(request.image, pictures);
  const { crop, scale = upscaler.scale } = request;
  const width = request.width ?? Math.round(source.width * scale);
  const height = request.height ?? Math.round(source.height * scale);
  // A network enlarges by its own factor, whatever is made of that then.
  const own = { width: source.width * upscaler.scale, height: source.height * upscaler.scale };
  for (const size of [{ width, height }, own]) checkEnlarged(size, limits);
  const key = imageKey(source.png);
  const stored: StoredUpscale = {
    kind: "upscale",
    image: key,
    width,
    height,
    upscaler: upscaler.name,
    ...(crop && { crop }),
  };
  checked(storedRequest, stored);
  const named = { ...stored, ...(await filesFor(stored, parts)) };
  return kept({ lane: "upscale", request: named }, new Map([[key, source]]), parts);
}

/** Labels of the models that enlarge. */
const upscalingModels = (models: Models): string[] =>
  models.list().flatMap(({ info, label }) => (info.kind === "upscaling" ? [label] : []));

/** What enlarges, by a name of the list; resampling at any scale, 2 unless one is asked for. */
async function upscalerNamed(name: string, models: Models): Promise<Pick<NamedUpscaler, "name" | "scale">> {
  const resampler = resamplers.find((known) => known.toLowerCase() === name.toLowerCase());
  if (resampler) return { name: resampler, scale: 2 };
  const found = await models.upscalers.find(name);
  if (found) return found;
  throw await models.upscalers.missing(name, [...resamplers, ...upscalingModels(models)]);
}

/** Names of all that enlarges, as requests say them. */
export const upscalerNames = async (models: Models): Promise<string[]> => [
  ...resamplers,
  ...(await models.upscalers.list()).map(({ name }) => name),
  ...upscalingModels(models),
];
