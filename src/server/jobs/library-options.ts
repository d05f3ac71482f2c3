import { type GenerateOptions, hiresUpscalers } from "../../index.js";
import { generateOptions, type StoredGenerate } from "../requests/request.js";
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
    control: (name) => models.findControl(name),
    ipAdapter: (name) => models.findIpAdapter(name),
  });
  const { hires } = options;
  if (!hires?.upscaler || hiresUpscalers.some((name) => name === hires.upscaler)) return options;
  const found = await models.upscalers.find(hires.upscaler);
  if (!found) throw await models.upscalers.missing(hires.upscaler, hiresUpscalers);
  return { ...options, hires: { ...hires, upscaler: found.model } };
}
