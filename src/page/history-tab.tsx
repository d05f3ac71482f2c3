import { useEffect, useState } from "preact/hooks";
import { JobPictures } from "./job-pictures.js";
import { currentJob, problemOf } from "./jobs.js";
import { ask, type JobView, promptOf } from "./server.js";
import { useStore, useWords } from "./store.js";

const pageSize = 24;

/** All that was generated, also before the server was last started. */
export function HistoryTab() {
  const t = useWords();
  const [jobs, setJobs] = useState<readonly JobView[]>();
  const [older, setOlder] = useState(false);
  const [opened, setOpened] = useState("");
  const [problem, setProblem] = useState("");
  const running = useStore(currentJob).job;
  const load = async (before?: string) => {
    try {
      const query = { limit: String(pageSize), ...(before && { before }) };
      const { jobs: found } = await ask("GET /jobs", { query });
      setJobs((known) => (before ? [...(known ?? []), ...found] : found));
      setOlder(found.length === pageSize);
      setProblem("");
    } catch (error) {
      setProblem(problemOf(error, t("connectionLost")));
    }
  };
  useEffect(() => void load(), [running?.status]);
  const busy = jobs?.some(isActive) ?? false;
  useEffect(() => {
    if (!busy) return;
    const timer = setInterval(() => void load(), 2000);
    return () => clearInterval(timer);
  }, [busy]);
  const remove = async (id: string) => {
    await ask("DELETE /history/:id", { at: id }).catch((error) =>
      setProblem(problemOf(error, t("connectionLost"))),
    );
    setJobs((known) => known?.filter((job) => job.id !== id));
  };
  const cancel = async (id: string) => {
    await ask("DELETE /jobs/:id", { at: id }).catch((error) =>
      setProblem(problemOf(error, t("connectionLost"))),
    );
    await load();
  };
  return (
    <section class="panel" aria-label={t("history")}>
      <h2>{t("history")}</h2>
      {problem && <p role="alert">{problem}</p>}
      {jobs?.length === 0 && <p class="hint">{t("historyEmpty")}</p>}
      <ul class="gallery">
        {jobs?.map((job) => (
          <li key={job.id} class={job.id === opened ? "opened" : ""}>
            <HistoryEntry
              job={job}
              open={job.id === opened}
              onToggle={() => setOpened(job.id === opened ? "" : job.id)}
              onRemove={() => void (isActive(job) ? cancel : remove)(job.id)}
            />
          </li>
        ))}
      </ul>
      {older && (
        <button type="button" onClick={() => void load(jobs?.at(-1)?.id)}>
          {t("older")}
        </button>
      )}
    </section>
  );
}

const isActive = ({ status }: JobView): boolean => status === "queued" || status === "running";

function HistoryEntry({
  job,
  open,
  onToggle,
  onRemove,
}: {
  readonly job: JobView;
  readonly open: boolean;
  readonly onToggle: () => void;
  readonly onRemove: () => void;
}) {
  const t = useWords();
  const images = job.result?.images ?? [];
  const prompt = promptOf(job);
  const time = new Date(job.created).toLocaleString();
  const active = isActive(job);
  const state = job.status === "queued" ? t("queued", job.position ?? 0) : t("working");
  const name = prompt || (job.request.kind === "upscale" ? t("upscale") : job.model);
  return (
    <>
      <button type="button" class="thumbnail" aria-expanded={open} onClick={onToggle}>
        {images[0] ? (
          <img src={images[0].url} alt="" loading="lazy" />
        ) : (
          <span class="no-picture">{active ? "…" : "×"}</span>
        )}
        <span class="caption">
          {name}
          <small>
            {active ? state : time}
            {images.length > 1 && ` · ${images.length}`}
          </small>
        </span>
      </button>
      {open && (
        <div class="details">
          {job.status === "cancelled" && <p>{t("cancelled")}</p>}
          {active && <p>{state}</p>}
          {job.error && (
            <p>
              {job.error.message}
              {job.error.hint && ` (${job.error.hint})`}
            </p>
          )}
          <JobPictures job={job} />
          <div class="row">
            <button type="button" class="quiet" onClick={onToggle}>
              {t("close")}
            </button>
            <button type="button" class="danger" onClick={onRemove}>
              {t(active ? "cancel" : "remove")}
            </button>
          </div>
        </div>
      )}
    </>
  );
}
