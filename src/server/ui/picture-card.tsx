import { schedulers } from "./catalog.js";
import { go } from "./navigation.js";
import { takePicture } from "./picture-input.js";
import type { ShownImage, ShownJob } from "./server.js";
import { type Mode, settings, settingsOf } from "./settings.js";
import { useWords } from "./store.js";

const targets = ["image", "inpaint", "outpaint", "upscale"] as const satisfies readonly Mode[];

/** A finished picture with its parameters, and what can be done with it. */
export function PictureCard({ image, job }: { readonly image: ShownImage; readonly job: ShownJob }) {
  const t = useWords();
  const send = async (target: Mode) => {
    await takePicture(await (await fetch(image.url)).blob());
    go(target);
  };
  const prompt = typeof job.request.prompt === "string" ? job.request.prompt : "";
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
          <button type="button" onClick={() => settings.update({ seed: image.seed ?? "" })}>
            {t("seedReuse")} {image.seed}
          </button>
        )}
        {job.request.kind === "generate" && (
          <button
            type="button"
            class="quiet"
            onClick={() => {
              settings.update(settingsOf(job.request, schedulers.get()));
              if (image.seed) settings.update({ seed: image.seed });
            }}
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
