import { useState } from "preact/hooks";
import { cellOf, type Grid, gridOfRequest } from "./axes.js";
import { PictureCard } from "./picture-card.js";
import type { ImageView, JobView } from "./server.js";
import { useWords } from "./store.js";
import { isWord } from "./words.js";

/** The pictures of a job: those of a finished grid where their values say. */
export function JobPictures({ job }: { readonly job: JobView }) {
  const images = job.result?.images ?? [];
  const grid = gridOfRequest(job.request);
  const cells = grid && grid.x.values.length * (grid.y?.values.length ?? 1);
  if (grid && images.length === cells) return <PictureGrid job={job} grid={grid} images={images} />;
  return (
    <div class="pictures">
      {images.map((image) => (
        <PictureCard key={image.key} image={image} job={job} />
      ))}
    </div>
  );
}

function PictureGrid({
  job,
  grid: { x, y },
  images,
}: {
  readonly job: JobView;
  readonly grid: Grid;
  readonly images: readonly ImageView[];
}) {
  const t = useWords();
  const [chosen, setChosen] = useState(0);
  const nameOf = (option: string) => (isWord(option) ? t(option) : option);
  const columns = x.values.length;
  const rows = y?.values ?? [""];
  const url = `/jobs/${job.id}/grid.png`;
  return (
    <>
      <section class="picture-grid" aria-label={t("xyGrid")}>
        <table>
          <thead>
            <tr>
              {y && <td />}
              {x.values.map((value) => (
                <th key={value} scope="col">
                  {nameOf(x.option)} {value}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, i) => (
              <tr key={row}>
                {y && (
                  <th scope="row">
                    {nameOf(y.option)} {row}
                  </th>
                )}
                {images.slice(i * columns, (i + 1) * columns).map((image, j) => (
                  <td key={image.key}>
                    <button
                      type="button"
                      class="cell"
                      aria-pressed={chosen === i * columns + j}
                      onClick={() => setChosen(i * columns + j)}
                    >
                      <img
                        src={image.url}
                        alt={`${nameOf(x.option)} ${x.values[j]}${y ? `, ${nameOf(y.option)} ${row}` : ""}`}
                      />
                    </button>
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      <a class="button" href={url} download={`grid-${job.id.slice(0, 8)}.png`}>
        {t("downloadGrid")}
      </a>
      <PictureCard
        key={chosen}
        image={images[chosen]!}
        job={{ ...job, request: cellOf(job.request, chosen) }}
      />
    </>
  );
}
