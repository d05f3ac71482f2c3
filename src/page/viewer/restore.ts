import { models, schedulers } from "../catalog.js";
import { restoreMask } from "../fields/mask-strokes.js";
import { readPicture, takePicture } from "../fields/picture-file.js";
import { followedPictures, maskOf } from "../followed/units.js";
import { chooseNoStyles } from "../prompt-styles/prompt-styles.js";
import { settingsOf } from "../restored-settings.js";
import type { GenerateView } from "../server.js";
import { type Mode, modelSetting, settings, sources } from "../settings.js";
import type { Shown } from "./viewed.js";

export const load = async (url: string): Promise<Blob> => (await fetch(url)).blob();

/** Fills the form that a picture was made with: settings, model, picture and mask. @returns which form it is */
export async function restoreJob(
  { image: { key, seed }, job: { result, model } }: Shown,
  request: GenerateView,
): Promise<Mode> {
  const entry = models.get().models.find(({ label }) => label === model);
  const { images = [] } = request;
  const index = result?.images.findIndex((made) => made.key === key) ?? 0;
  const start = request.image ?? images[index % images.length];
  const mode = start ? modeOnPicture(request) : entry?.kind === "unconditional" ? "unconditional" : "text";
  chooseNoStyles();
  settings.updateOf(mode, {
    ...settingsOf(request, schedulers.get()),
    ...(seed && { seed }),
    ...(entry && modelSetting(entry)),
  });
  await restoreFollowed(request);
  if (start) {
    await takePicture(await load(start.url));
    // As it was made, however large it is for the model.
    sources.update({ ownSize: request.onlyMasked === undefined });
  }
  if (request.mask) await restoreMask(await load(request.mask.url));
  return mode;
}

/** The pictures that the settings' units follow, in their order. */
async function restoreFollowed({ controlnet = [], ipAdapter = [] }: GenerateView): Promise<void> {
  const { control, ipAdapter: seeing } = settings.get();
  const pictures = [...controlnet, ...ipAdapter].map(({ image }) => [image].flat());
  for (const [i, { id }] of [...control, ...seeing].entries()) {
    const read = pictures[i]!.map(async ({ url }) => (await readPicture(await load(url))).image);
    followedPictures.update({ [id]: await Promise.all(read) });
    const { mask } = controlnet[i] ?? {};
    if (mask) followedPictures.update({ [maskOf(id)]: [(await readPicture(await load(mask.url))).image] });
  }
}

const modeOnPicture = ({ expand, mask }: GenerateView): Mode =>
  expand ? "outpaint" : mask ? "inpaint" : "image";

/** Takes a finished picture as the one to work on. */
export const takeShown = async ({ image }: Shown): Promise<void> => takePicture(await load(image.url));
