import { ArrowUp, X } from "lucide-preact";
import { useEffect, useState } from "preact/hooks";
import { problemOf } from "../jobs.js";
import { note } from "../navigation.js";
import { ask, type JobView, promptOf } from "../server.js";
import { useWords } from "../store.js";

const LOOK_MS = 1500;

/** What runs and what waits, whoever sent it; any of it can be cancelled, and what waits can go first. Nothing while nothing does. */
export function QueuePanel({ except }: { readonly except?: string | undefined }) {
  const t = useWords();
  const [jobs, setJobs] = useState<readonly JobView[]>([]);
  const read = async () => {
    const { jobs } = await ask("GET /jobs", { query: { status: "running,queued", limit: "100" } });
    setJobs(jobs.toSorted((a, b) => (a.position ?? 0) - (b.position ?? 0) || a.created - b.created));
  };
  useEffect(() => {
    const look = () => {
      if (!document.hidden) read().catch(() => {});
    };
    look();
    const timer = setInterval(look, LOOK_MS);
    return () => clearInterval(timer);
  }, []);
  const act = (done: Promise<unknown>) =>
    void done.then(read).catch((error: unknown) => note.set(problemOf(error, t("connectionLost"))));
  const shown = jobs.filter(({ id }) => id !== except);
  if (shown.length === 0) return null;
  return (
    <section class="queue" aria-label={t("queue")}>
      <h3>{t("queueOf", shown.length)}</h3>
      <ol>
        {shown.map((job) => (
          <li key={job.id}>
            <span class="what">
              {promptOf(job) || (job.request.kind === "upscale" ? t("upscale") : job.model)}
              <small class="hint">
                {job.status === "running"
                  ? `${t("working")} · ${Math.round(100 * (job.progress?.share ?? 0))} %`
                  : t("queued", job.position ?? 0)}
                {job.via !== "native" && ` · ${t(job.via === "sdapi" ? "viaWebui" : "viaOpenai")}`}
              </small>
            </span>
            {job.status === "queued" && (job.position ?? 0) > 1 && (
              <button
                type="button"
                class="icon"
                aria-label={t("goFirst")}
                title={t("goFirst")}
                onClick={() => act(ask("POST /jobs/:id/first", { at: job.id }))}
              >
                <ArrowUp />
              </button>
            )}
            <button
              type="button"
              class="icon"
              aria-label={`${t("cancel")}: ${promptOf(job) || job.model}`}
              title={t("cancel")}
              onClick={() => act(ask("DELETE /jobs/:id", { at: job.id }))}
            >
              <X />
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}
