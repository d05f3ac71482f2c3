import { FileArchive, Heart, Trash2, X } from "lucide-preact";
import { useState } from "preact/hooks";
import { models } from "../catalog.js";
import { Select } from "../fields/fields.js";
import { problemOf } from "../jobs.js";
import { note } from "../navigation.js";
import { QueuePanel } from "../queue/queue-panel.js";
import type { JobView } from "../server.js";
import { useStore, useWords } from "../store.js";
import { setFavourite, useFavourites } from "../viewer/favourites.js";
import { remove } from "../viewer/removal.js";
import { shownOf, view } from "../viewer/viewed.js";
import { HistoryEntry } from "./history-entry.js";
import { type Filter, noFilter, usePastJobs } from "./past-jobs.js";
import { saveAs, zipOf } from "./zip.js";

const modes = ["text", "image", "inpaint", "outpaint", "upscale", "unconditional"] as const;

/** All that was generated, also before the server was last started. */
export function HistoryTab() {
  const t = useWords();
  const [filter, setFilter] = useState<Filter>(noFilter);
  const { jobs, more, problem, readMore } = usePastJobs(filter);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const favourites = useFavourites();
  const select = (id: string, on: boolean) => {
    const now = new Set(selected);
    on ? now.add(id) : now.delete(id);
    setSelected(now);
  };
  const open = (job: JobView) => {
    const all = shownOf(jobs ?? []);
    const at = all.findIndex((one) => one.job.id === job.id);
    if (at >= 0) view(all, at);
  };
  const chosen = jobs?.filter(({ id }) => selected.has(id)) ?? [];
  return (
    <section class="panel history" aria-label={t("history")}>
      <QueuePanel />
      <h2>{t("history")}</h2>
      <Filters filter={filter} onChange={setFilter} />
      {problem && <p role="alert">{problem}</p>}
      {chosen.length > 0 && <Selection jobs={chosen} onDone={() => setSelected(new Set())} />}
      {jobs?.length === 0 && <p class="hint">{t(filter === noFilter ? "historyEmpty" : "historyNothing")}</p>}
      <ul class={`gallery ${chosen.length > 0 ? "selecting" : ""}`}>
        {jobs?.map((job) => (
          <HistoryEntry
            key={job.id}
            job={job}
            liked={job.result?.images.some(({ key }) => favourites.has(key)) ?? false}
            selected={selected.has(job.id)}
            onSelect={(on) => select(job.id, on)}
            onOpen={() => open(job)}
          />
        ))}
      </ul>
      {more && (
        <button type="button" onClick={readMore}>
          {t("older")}
        </button>
      )}
    </section>
  );
}

function Filters({
  filter,
  onChange,
}: {
  readonly filter: Filter;
  readonly onChange: (now: Filter) => void;
}) {
  const t = useWords();
  const names = [...new Set(useStore(models).models.map(({ name }) => name))];
  const any = { value: "", label: t("all") };
  return (
    <search class="filters">
      <div class="field">
        <label for="history-search">{t("search")}</label>
        <input
          id="history-search"
          type="search"
          value={filter.search}
          placeholder={t("searchHint")}
          onInput={(event) => onChange({ ...filter, search: event.currentTarget.value })}
        />
      </div>
      <Select
        label={t("modelSource")}
        value={filter.model}
        choices={[any, ...names.map((name) => ({ value: name, label: name }))]}
        onChange={(model) => onChange({ ...filter, model })}
      />
      <Select
        label={t("madeBy")}
        value={filter.mode}
        choices={[any, ...modes.map((mode) => ({ value: mode, label: t(mode) }))]}
        onChange={(mode) => onChange({ ...filter, mode })}
      />
      <button
        type="button"
        class="like"
        aria-pressed={filter.favourites}
        onClick={() => onChange({ ...filter, favourites: !filter.favourites })}
      >
        <Heart class="filled" /> {t("favourites")}
      </button>
    </search>
  );
}

/** What can be done with several at once. */
function Selection({ jobs, onDone }: { readonly jobs: readonly JobView[]; readonly onDone: () => void }) {
  const t = useWords();
  const [packing, setPacking] = useState(false);
  const pictures = shownOf(jobs);
  const failed = (error: unknown) => note.set(problemOf(error, t("connectionLost")));
  const pack = async () => {
    setPacking(true);
    try {
      saveAs(await zipOf(pictures), `pictures-${new Date().toISOString().slice(0, 10)}.zip`);
    } catch (error) {
      failed(error);
    }
    setPacking(false);
  };
  return (
    <div class="bar selection" role="toolbar" aria-label={t("selection")}>
      <strong>{t("selected", jobs.length)}</strong>
      <button
        type="button"
        class="quiet"
        disabled={packing || pictures.length === 0}
        onClick={() => void pack()}
      >
        <FileArchive /> {t("downloadZip")}
      </button>
      <button
        type="button"
        class="quiet"
        disabled={pictures.length === 0}
        onClick={() =>
          void setFavourite(
            pictures.map(({ image }) => image.key),
            true,
          ).catch(failed)
        }
      >
        <Heart /> {t("favourite")}
      </button>
      <button
        type="button"
        class="danger"
        onClick={() => {
          remove(jobs.map(({ id }) => id));
          onDone();
        }}
      >
        <Trash2 /> {t("remove")}
      </button>
      <button
        type="button"
        class="icon"
        aria-label={t("selectNone")}
        title={t("selectNone")}
        onClick={onDone}
      >
        <X />
      </button>
    </div>
  );
}
