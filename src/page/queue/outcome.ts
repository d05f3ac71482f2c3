import { isActive } from "../jobs.js";
import type { JobView } from "../server.js";
import type { Translate } from "../store.js";
import { imagesOf } from "../viewer/viewed.js";

/** How a job has ended that has no picture to show, in words; an error of its own says more. */
export function endInWords(t: Translate, { status }: Pick<JobView, "status">): string {
  if (status === "cancelled") return t("cancelled");
  // Without an error, and without a picture: each of them was skipped.
  return t(status === "completed" ? "skipped" : "lost");
}

/** What came out, in words; nothing of what goes on, and of what an error says. @param reached how far it was last seen */
export function outcome(
  t: Translate,
  job: JobView | undefined,
  reached: JobView["progress"],
): string | undefined {
  if (!job || isActive(job) || job.status === "failed") return undefined;
  const { status, result, started = 0, finished = 0 } = job;
  if (!result || imagesOf(job).length === 0 || status === "lost") return endInWords(t, job);
  if (status === "cancelled")
    return reached?.step ? t("stoppedAt", reached.step, reached.steps) : t("stopped");
  const { width, height } = result;
  return `${width} × ${height} · ${t("took", ((finished - started) / 1000).toFixed(1))}`;
}
