import { models, schedulers } from "./catalog.js";
import { restoreMask } from "./fields/mask-editor.js";
import { readPicture, takePicture } from "./fields/picture-input.js";
import { go, note } from "./navigation.js";
import { settingsOf } from "./restored-settings.js";
import { type GenerateView, generateOf, type ImageView, type JobView, promptOf } from "./server.js";
import { controlPicture, type Mode, modelSetting, settings } from "./settings.js";
import { useWords } from "./store.js";

const targets = ["image", "inpaint", "outpaint", "upscale"] as const satisfies readonly Mode[];

const load = async (url: string): Promise<Blob> => (await fetch(url)).blob();

/** Fills the form that a picture was made with: settings, model, picture and mask. @returns which form it is */
async function restoreJob(
  { key, seed }: ImageView,
  request: GenerateView,
  { result, model }: JobView,
): Promise<Mode> {
  const entry = models.get().models.find(({ label }) => label === model);
  settings.update({
    ...settingsOf(request, schedulers.get()),
    ...(seed && { seed }),
    ...(entry && modelSetting(entry)),
  });
  const [control] = request.controlnet ?? [];
  if (control) controlPicture.set((await readPicture(await load(control.image.url))).image);
  const { images = [] } = request;
  const index = result?.images.findIndex((made) => made.key === key) ?? 0;
  const start = request.image ?? images[index % images.length];
  if (!start) return entry?.kind === "unconditional" ? "unconditional" : "text";
  await takePicture(await load(start.url));
  if (request.expand) return "outpaint";
  if (!request.mask) return "image";
  await restoreMask(await load(request.mask.url));
  return "inpaint";
}

/** A finished picture with its parameters, and what can be done with it. */
export function PictureCard({ image, job }: { readonly image: ImageView; readonly job: JobView }) {
  const t = useWords();
  const request = generateOf(job);
  const send = async (target: Mode) => {
    await takePicture(await load(image.url));
    go(target);
  };
  const prompt = promptOf(job);
  return (
    <article class="card">
      <a href={image.url} target="_blank" rel="noreferrer">
        <img
          src={image.url}
          width={image.width}
          height={image.height}
          alt={prompt || t("result")}
          loading="lazy"
        />
      </a>
      <div class="row">
        <a
          class="button"
          href={image.url}
          download={`${image.seed ?? "picture"}-${image.key.slice(0, 8)}.png`}
        >
          {t("download")}
        </a>
        {image.seed !== undefined && (
          <button
            type="button"
            onClick={() => {
              settings.update({ seed: image.seed ?? "" });
              note.set(t("restoredSeed", image.seed ?? ""));
            }}
          >
            {t("seedReuse")} {image.seed}
          </button>
        )}
        {request && (
          <button
            type="button"
            class="quiet"
            onClick={() => void restoreJob(image, request, job).then((mode) => go(mode, t("restored")))}
          >
            {t("restore")}
          </button>
        )}
      </div>
      <fieldset class="row">
        <legend>{t("sendTo")}</legend>
        {targets.map((target) => (
          <button key={target} type="button" class="quiet" onClick={() => void send(target)}>
            {t(target)}
          </button>
        ))}
      </fieldset>
      <details>
        <summary>{t("parameters")}</summary>
        <pre>{image.parameters}</pre>
      </details>
    </article>
  );
}
