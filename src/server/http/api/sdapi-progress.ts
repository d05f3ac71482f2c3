import type { z } from "zod";
import type { Parts } from "../../jobs/accept.js";
import type { Interruptions } from "../../jobs/running-job.js";
import type { Job, JobQueue } from "../../queue/queue.js";
import { type Polled, polled } from "../polled.js";
import type { internalProgress } from "./sdapi-schema.js";

/** How long it took, in seconds: a header of this API. */
export const processTime = (began: number): readonly [string, string] => [
  "X-Process-Time",
  ((performance.now() - began) / 1000).toFixed(4),
];

/** What runs, for those who look on. @param bare without the picture as it is by now */
export async function progressAnswer(
  queue: Pick<JobQueue, "list">,
  interruptions: Interruptions,
  bare: boolean,
): Promise<Polled> {
  const [job] = await queue.list({ status: ["running"], limit: 1 });
  return polled(progress(job, interruptions, bare));
}

/** @param job the one that runs, if any does */
function progress(job: Job | undefined, { interrupted, skipped }: Interruptions, skipImage: boolean) {
  const { progress } = job ?? {};
  const { image = 0, images = 1, step = 0, steps = 0 } = progress ?? {};
  const perImage = steps / images;
  return {
    progress: job ? Math.min(1, 0.01 + (progress?.share ?? 0)) : 0,
    eta_relative: (progress?.etaMs ?? 0) / 1000,
    state: {
      skipped,
      interrupted,
      stopping_generation: false,
      job: job ? (job.task ?? job.id) : "",
      job_count: job ? images : 0,
      job_timestamp: job ? timestamp(job.created) : "0",
      job_no: image,
      sampling_step: step - image * perImage,
      sampling_steps: perImage,
    },
    current_image: (!skipImage && progress?.preview) || null,
    textinfo: progress?.phase === "load" ? `Loading ${progress.what ?? "model"}` : null,
  };
}

/** The web UI's own progress call, by the task id that a client forced. */
export async function taskProgress(
  { jobs }: Parts,
  { id_task, id_live_preview, live_preview }: z.infer<typeof internalProgress>,
) {
  const { recent = jobs.queue } = jobs.queue;
  const [job] = await recent.list({ task: id_task ?? "", limit: 1 });
  const step = job?.progress?.step ?? -1;
  // Not again to a client that says that it has this one.
  const preview = live_preview && step !== id_live_preview ? job?.progress?.preview : undefined;
  return {
    active: job?.status === "running",
    queued: job?.status === "queued",
    completed: job !== undefined && !["running", "queued"].includes(job.status),
    progress: job?.progress?.share ?? null,
    eta: job?.progress?.etaMs === undefined ? null : job.progress.etaMs / 1000,
    live_preview: preview ? `data:image/png;base64,${preview}` : null,
    id_live_preview: step,
    textinfo: job?.status === "queued" ? "In queue..." : null,
  };
}

/** Local time as the web UI writes it: 20261122153000. */
export function timestamp(ms: number): string {
  const date = new Date(ms);
  const parts = [date.getMonth() + 1, date.getDate(), date.getHours(), date.getMinutes(), date.getSeconds()];
  return date.getFullYear() + parts.map((part) => String(part).padStart(2, "0")).join("");
}
