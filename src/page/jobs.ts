import { ask, followJob, type JobView, ServerError } from "./server.js";
import { createStore } from "./store.js";

/** The job that the page shows, and what went wrong with it. */
export interface CurrentJob {
  readonly job?: JobView;
  /** What was sent, for the comparison. */
  readonly before?: string;
  readonly problem?: string;
  readonly sending: boolean;
}

export const currentJob = createStore<CurrentJob>({ sending: false });

let stopFollowing = () => {};

/** Sends a job and follows it. */
export async function submitJob(body: object, before: string, lost: string): Promise<void> {
  currentJob.set({ sending: true });
  try {
    follow(await ask("POST /jobs", { body }), before, lost);
  } catch (error) {
    currentJob.set({ sending: false, problem: problemOf(error, lost) });
  }
}

function follow(job: JobView, before: string, lost: string): void {
  stopFollowing();
  const show = (job: JobView) => currentJob.set({ job, before, sending: false });
  show(job);
  stopFollowing = followJob(job.id, show, () =>
    currentJob.set({ ...currentJob.get(), problem: lost, sending: false }),
  );
}

/** After a reload: shows the job that still runs or waits. */
export async function resumeJob(lost: string): Promise<void> {
  const { jobs } = await ask("GET /jobs", { query: { status: "running,queued", limit: "1" } });
  if (jobs[0] && !currentJob.get().job) follow(jobs[0], jobs[0].request.image?.url ?? "", lost);
}

/** An error in words: the server's own, or that there is none. */
export const problemOf = (error: unknown, lost: string): string =>
  error instanceof ServerError ? error.message : lost;
