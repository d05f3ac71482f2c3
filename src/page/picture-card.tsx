import { Maximize2 } from "lucide-preact";
import { promptOf } from "./server.js";
import { useWords } from "./store.js";
import { PictureActions } from "./viewer/actions.js";
import { Layers } from "./viewer/layers.js";
import { beforeOf, type Shown, shownOf, view } from "./viewer/viewed.js";

/** A finished picture with its parameters, and what can be done with it. A click looks at it closely. */
export function PictureCard({ shown }: { readonly shown: Shown }) {
  const t = useWords();
  const { image, job } = shown;
  const before = beforeOf(shown);
  const open = () => {
    const all = shownOf([job]);
    view(
      all,
      all.findIndex((one) => one.image.key === image.key),
    );
  };
  return (
    <article class="card">
      {before ? (
        <Layers shown={shown} before={before} onOpen={open} />
      ) : (
        <button type="button" class="look" aria-label={t("lookClosely")} onClick={open}>
          <img src={image.url} width={image.width} height={image.height} alt={promptOf(job) || t("result")} />
        </button>
      )}
      <PictureActions shown={shown}>
        <button
          type="button"
          class="icon"
          aria-label={t("fullScreen")}
          title={t("fullScreen")}
          onClick={open}
        >
          <Maximize2 />
        </button>
      </PictureActions>
      {image.notes && (
        <ul class="hint" aria-label={t("notes")}>
          {image.notes.map((note) => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
      <details>
        <summary>{t("parameters")}</summary>
        <pre>{image.parameters}</pre>
      </details>
    </article>
  );
}
