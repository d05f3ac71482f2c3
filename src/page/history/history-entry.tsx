import { Heart, Trash2 } from "lucide-preact";
import { endInWords } from "../queue/outcome.js";
import { type JobView, promptOf } from "../server.js";
import { useWords } from "../store.js";
import { remove } from "../viewer/removal.js";
import { thumbnailUrl } from "../viewer/thumbnail.js";

/** One job that has ended, small. */
export function HistoryEntry({
  job,
  liked,
  selected,
  onSelect,
  onOpen,
}: {
  readonly job: JobView;
  readonly liked: boolean;
  readonly selected: boolean;
  readonly onSelect: (on: boolean) => void;
  readonly onOpen: () => void;
}) {
  const t = useWords();
  const images = job.result?.images ?? [];
  const [first] = images;
  const name = promptOf(job) || (job.request.kind === "upscale" ? t("upscale") : job.model);
  const ended = job.error?.message ?? endInWords(t, job);
  const caption = (
    <span class="caption">
      <bdi>{name}</bdi>
      <small>
        {new Date(job.created).toLocaleString()}
        {images.length > 1 && ` · ${images.length}`}
      </small>
    </span>
  );
  return (
    <li class={selected ? "chosen" : ""}>
      {first ? (
        <button type="button" class="thumbnail" onClick={onOpen}>
          <img src={thumbnailUrl(first, 256)} alt="" loading="lazy" />
          {caption}
        </button>
      ) : (
        <div class="thumbnail">
          <span class="no-picture" title={ended}>
            {ended}
          </span>
          {caption}
        </div>
      )}
      <input
        type="checkbox"
        class="pick"
        aria-label={`${t("select")}: ${name}`}
        checked={selected}
        onChange={(event) => onSelect(event.currentTarget.checked)}
      />
      {liked && (
        <span class="mark" title={t("favourite")}>
          <Heart class="filled" />
        </span>
      )}
      {!first && (
        <button
          type="button"
          class="icon drop"
          aria-label={`${t("remove")}: ${name}`}
          onClick={() => remove([job.id])}
        >
          <Trash2 />
        </button>
      )}
    </li>
  );
}
