import { useEffect, useRef } from "preact/hooks";
import { JobPictures } from "./job-pictures.js";
import { act, currentJob, isActive } from "./jobs.js";
import { partName } from "./progress-words.js";
import { outcome } from "./queue/outcome.js";
import { QueuePanel } from "./queue/queue-panel.js";
import { ask, type JobView } from "./server.js";
import { type Translate, useStore, useWords } from "./store.js";
import { removal } from "./viewer/removal.js";
import { imagesOf } from "./viewer/viewed.js";

/** The job that runs, and the pictures of the one that ran; these stay until another one has something to show. */
export function ResultPanel({ onExample }: { readonly onExample?: (prompt: string) => void }) {
  const t = useWords();
  const { job, reached, problem, sending } = useStore(currentJob);
  const removed = useStore(removal);
  const active = job && isActive(job);
  // Below the form on a narrow screen: what was asked for is brought into view. Elsewhere it stays there by itself.
  const panel = useRef<HTMLElement>(null);
  useEffect(() => {
    if (sending && matchMedia("(max-width: 760px)").matches) panel.current?.scrollIntoView();
  }, [sending]);
  // Also for the moment in which the next one is sent.
  const own = useRef<string>();
  if (job) own.current = job.id;
  const former = useRef<JobView>();
  if (job && imagesOf(job).length > 0) former.current = job;
  const begun = job && (imagesOf(job).length > 0 || job.progress?.preview !== undefined);
  // What was cancelled before there was a picture gives the place back.
  const shown = begun ? job : former.current;
  return (
    <section ref={panel} class={`panel result ${sending || active ? "busy" : ""}`} aria-label={t("result")}>
      <div class="row result-head">
        <h2>{t("result")}</h2>
        <p role="status" class={active ? "visually-hidden" : "hint"}>
          {outcome(t, job, reached) ?? (sending || active || shown ? "" : t("resultEmpty"))}
        </p>
      </div>
      {problem && <p role="alert">{problem}</p>}
      {job?.error && (
        <p role="alert">
          {job.error.message}
          {job.error.hint && ` (${job.error.hint})`}
        </p>
      )}
      {active && <Progress job={job} />}
      <QueuePanel except={own.current} />
      {onExample && !job && !sending && !former.current && <Examples onExample={onExample} />}
      {shown && !removed.includes(shown.id) && (
        <div class={shown !== job && (sending || active) ? "former" : "now"}>
          <JobPictures key={shown.id} job={shown} />
        </div>
      )}
    </section>
  );
}

/** What every model knows, the included ones as well: for those who have not thought of anything yet. */
const examples = ["a dog with glasses", "a panda with a crown", "a castle in the snow", "a rocket"] as const;

function Examples({ onExample }: { readonly onExample: (prompt: string) => void }) {
  const t = useWords();
  return (
    <div class="row">
      <span class="hint">{t("examples")}</span>
      {examples.map((prompt) => (
        <button type="button" class="chip" key={prompt} onClick={() => onExample(prompt)}>
          {prompt}
        </button>
      ))}
    </div>
  );
}

function Progress({ job }: { readonly job: JobView }) {
  const t = useWords();
  const { progress } = job;
  const share = progress?.share ?? 0;
  const left = progress?.etaMs;
  return (
    <div class="progress">
      <p aria-live="polite">{phaseOf(t, job)}</p>
      <progress aria-label={t("progress")} max={1} value={share} />
      <div class="row spread">
        <span class="hint">
          {Math.round(share * 100)} %
          {left !== undefined && left > 0 && ` · ${t("timeLeft", duration(t, left))}`}
        </span>
        <span class="row">
          {(progress?.images ?? 1) > 1 && (
            <button
              type="button"
              class="quiet"
              onClick={() => void act(ask("POST /jobs/:id/skip", { at: job.id }), t("connectionLost"))}
            >
              {t("skip")}
            </button>
          )}
          {job.request.kind === "generate" && (progress?.step ?? 0) > 0 && (
            <button
              type="button"
              class="quiet"
              title={t("stopHint")}
              onClick={() => void act(ask("POST /jobs/:id/stop", { at: job.id }), t("connectionLost"))}
            >
              {t("stopHere")}
            </button>
          )}
          <button
            type="button"
            onClick={() => void act(ask("DELETE /jobs/:id", { at: job.id }), t("connectionLost"))}
          >
            {t("cancel")}
          </button>
        </span>
      </div>
    </div>
  );
}

function phaseOf(t: Translate, { status, position, progress }: JobView): string {
  if (status === "queued") return t("queued", position ?? 0);
  switch (progress?.phase) {
    case "encode":
      return t("encode");
    case "denoise":
      return [
        t("denoise", progress.step, progress.steps),
        ...(progress.images > 1 ? [t("pictureOf", progress.image + 1, progress.images)] : []),
      ].join(", ");
    case "decode":
      return t("decode");
    default:
      return progress?.what ? `${t("loading")}: ${partName(t, progress.what)}` : t("loading");
  }
}

function duration(t: Translate, ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  return seconds < 90 ? t("seconds", seconds) : t("minutes", Math.round(seconds / 60));
}
