import type { JobView } from "../server.js";
import { useWords } from "../store.js";
import { isWord } from "../words.js";
import { thumbnailUrl } from "./thumbnail.js";
import { imagesOf, wholeGrid } from "./viewed.js";

/** A finished grid as a table whose values say what each picture is; nothing for other jobs. */
export function PictureGrid({
  job,
  chosen,
  onChoose,
}: {
  readonly job: JobView;
  readonly chosen: number;
  readonly onChoose: (index: number) => void;
}) {
  const t = useWords();
  const grid = wholeGrid(job);
  if (!grid) return null;
  const { x, y } = grid;
  const images = imagesOf(job);
  const nameOf = (option: string) => (isWord(option) ? t(option) : option);
  const columns = x.values.length;
  const rows = y?.values ?? [""];
  const small = images.some(({ width, height }) => Math.max(width, height) > 512);
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
                      onClick={() => onChoose(i * columns + j)}
                    >
                      <img
                        src={small ? thumbnailUrl(image, 512) : image.url}
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
      <a class="button" href={`/jobs/${job.id}/grid.png`} download={`grid-${job.id.slice(0, 8)}.png`}>
        {t("downloadGrid")}
      </a>
    </>
  );
}
