import { type GenerateOptions, hiresUpscalers } from "../../index.js";
import { withoutUndefined } from "../../options/refusal.js";
import { Refusal } from "../refusal.js";
import { parseSeed, type StoredGenerate } from "../requests/request.js";
import type { Models } from "./models.js";

/**
 * The library's options for one picture of a stored request, without signal and progress: names of networks have become
 * their files.
 *
 * @param read the picture of a key, undefined for one that is gone
 * @throws Refusal for networks that are not on the lists
 */
export async function libraryOptions(
  request: StoredGenerate,
  models: Models,
  read: (key: string) => Promise<Uint8Array | undefined>,
): Promise<Omit<GenerateOptions, "image"> & { image?: Uint8Array }> {
  const options = await generateOptions(request, read, {
    control: (name) => models.files.findControl(name),
    ipAdapter: (name) => models.files.findIpAdapter(name),
  });
  const { hires } = options;
  if (!hires?.upscaler || hiresUpscalers.some((name) => name === hires.upscaler)) return options;
  const found = await models.upscalers.find(hires.upscaler);
  if (!found) throw await models.upscalers.missing(hires.upscaler, hiresUpscalers);
  return { ...options, hires: { ...hires, upscaler: found.model } };
}

/**
 * The same, while what enlarges in a hires fix still has its name.
 *
 * @param find from the name of a ControlNet or IP-Adapter to its path
 */
export async function generateOptions(
  request: StoredGenerate,
  read: (key: string) => Promise<Uint8Array | undefined>,
  find: Readonly<Record<"control" | "ipAdapter", (name: string) => Promise<{ readonly path: string }>>>,
): Promise<Omit<GenerateOptions, "image"> & { image?: Uint8Array }> {
  const {
    kind,
    model,
    vae,
    webuiSteps,
    missingLoras: _missingLoras,
    files,
    image,
    images: _,
    mask,
    controlnet,
    ipAdapter,
    seed,
    count,
    grid,
    refiner: _refiner,
    expand,
    variation,
    ...rest
  } = request;
  const picture = async (key: string): Promise<Uint8Array> => {
    const bytes = await read(key);
    if (bytes) return bytes;
    throw new Refusal(410, "IMAGE_GONE", "a picture that this job starts from is no longer on disk");
  };
  const controls = (controlnet ?? []).map(async ({ model, image, mask, ...control }) => ({
    ...withoutUndefined(control),
    model: (await find.control(model)).path,
    image: await picture(image),
    ...(mask !== undefined && { mask: await picture(mask) }),
  }));
  const seen = (ipAdapter ?? []).map(async ({ model, image, ...rest }) => ({
    ...withoutUndefined(rest),
    model: (await find.ipAdapter(model)).path,
    image: await Promise.all([image].flat().map(picture)),
  }));
  const options = {
    ...rest,
    ...(webuiSteps !== undefined && rest.strength !== undefined && webuiStrength(request, rest.strength)),
    ...(seed !== undefined && { seed: parseSeed(seed) }),
    ...(image && { image: await picture(image) }),
    ...(mask && { mask: await picture(mask) }),
    ...(controls.length > 0 && { controlnet: await Promise.all(controls) }),
    ...(seen.length > 0 && { ipAdapter: await Promise.all(seen) }),
    ...(expand && { expand: withoutUndefined(expand) }),
    ...(variation && {
      variation: {
        strength: variation.strength,
        ...(variation.seed !== undefined && { seed: parseSeed(variation.seed) }),
      },
    }),
  };
  return withoutUndefined(options) as Omit<GenerateOptions, "image"> & { image?: Uint8Array };
}

/**
 * The web UI runs int(min(strength, 0.999) * steps) + 1 steps on a picture (`setup_img2img_steps`), the library one less,
 * as diffusers does: what has it run as many. Under a mask, too, the web UI begins with the picture under noise, where
 * diffusers begins a strength of 1 with nothing but noise: it stays below.
 *
 * @param webuiSteps false for those of its samplers that run one less themselves
 */
function webuiStrength(
  { webuiSteps, mask, steps = 20 }: Pick<StoredGenerate, "webuiSteps" | "mask" | "steps">,
  strength: number,
): Pick<GenerateOptions, "strength" | "exactSteps"> {
  if (strength === 0) return { strength }; // the picture itself
  const most = 0.999;
  // A single step has nothing that could be left out.
  if (!webuiSteps) return { strength: mask && steps > 1 ? Math.min(strength, most) : strength };
  const run = Math.floor(Math.min(strength, most) * steps) + 1;
  if (run < steps) return { strength: (run + 0.5) / steps };
  return mask ? { strength: most, exactSteps: true } : { strength: 1 };
}
