import { useState } from "preact/hooks";
import { PictureCard } from "./picture-card.js";
import type { JobView } from "./server.js";
import { useWords } from "./store.js";
import { PictureGrid } from "./viewer/picture-grid.js";
import { thumbnailUrl } from "./viewer/thumbnail.js";
import { shownOf } from "./viewer/viewed.js";

/**
 * The pictures of a job, as many as are finished: one of them large, the others small beside it. Those of a finished
 * grid stand where their values say. What is being made is seen until another one is chosen.
 */
export function JobPictures({ job }: { readonly job: JobView }) {
  const t = useWords();
  const [chosen, setChosen] = useState<number>();
  const pictures = shownOf([job]);
  const active = job.status === "running";
  const preview = active ? job.progress?.preview : undefined;
  const at = chosen ?? (preview ? -1 : active ? pictures.length - 1 : 0);
  const shown = pictures[at];
  return (
    <>
      <PictureGrid job={job} chosen={at} onChoose={setChosen} />
      <div class="pictures">
        {shown ? (
          <PictureCard key={shown.image.key} shown={shown} />
        ) : (
          preview && <img class="preview" src={`data:image/png;base64,${preview}`} alt={t("preview")} />
        )}
        {pictures.length + (preview ? 1 : 0) > 1 && (
          <ul class="others" aria-label={t("pictures")}>
            {pictures.map(({ image }, index) => (
              <li key={image.key}>
                <button
                  type="button"
                  class="cell"
                  aria-pressed={index === at}
                  aria-label={`${index + 1} / ${pictures.length}`}
                  onClick={() => setChosen(index)}
                >
                  <img src={thumbnailUrl(image, 256)} alt="" />
                </button>
              </li>
            ))}
            {preview && (
              <li>
                <button
                  type="button"
                  class="cell"
                  aria-pressed={shown === undefined}
                  aria-label={t("preview")}
                  onClick={() => setChosen(undefined)}
                >
                  <img src={`data:image/png;base64,${preview}`} alt="" />
                </button>
              </li>
            )}
          </ul>
        )}
      </div>
    </>
  );
}
