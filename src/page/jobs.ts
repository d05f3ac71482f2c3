import { connection, lookForServer } from "./connection.js";
import { forget, kept, keptShown, remember, rememberShown } from "./kept.js";
import { ask, followJob, type JobView, ServerError } from "./server.js";
import { createStore } from "./store.js";

/** The job that the page shows, and what went wrong with it. */
export interface CurrentJob {
  readonly job?: JobView;
  /** How far it was last seen to be: what has ended no longer tells. */
  readonly reached?: JobView["progress"];
  readonly problem?: string;
  readonly sending: boolean;
}

export const currentJob = createStore<CurrentJob>({ sending: false });

export const isActive = ({ status }: Pick<JobView, "status">): boolean =>
  status === "queued" || status === "running";

let stopFollowing = () => {};

/** Sends a job and follows it. */
export async function submitJob(bodyOf: () => Promise<object>, lost: string): Promise<void> {
  currentJob.set({ sending: true });
  try {
    follow(await ask("POST /jobs", { body: await bodyOf() }), lost);
  } catch (error) {
    currentJob.set({ sending: false, problem: problemOf(error, lost) });
  }
}

function follow(job: JobView, lost: string): void {
  stopFollowing();
  const { job: former, reached } = currentJob.get();
  let last = former?.id === job.id ? reached : undefined;
  const show = (job: JobView) => {
    last = job.progress ?? last;
    currentJob.set({ job, reached: last, sending: false });
  };
  show(job);
  void remember("result", { id: job.id });
  rememberShown(job.id);
  if (!isActive(job)) return;
  const stop = followJob(job.id, show, async () => {
    await lookForServer();
    // The server is there, and no longer tells of it.
    if (connection.get() === "fine") setTimeout(() => void again(job.id, lost), 1000);
  });
  // What was going on when the server went away may have ended, or begun again, by the time it is back.
  const back = connection.subscribe(() => {
    if (connection.get() === "fine" && currentJob.get().job?.id === job.id) void again(job.id, lost);
  });
  stopFollowing = () => {
    stop();
    back();
  };
}

async function again(id: string, lost: string): Promise<void> {
  const known = currentJob.get().job;
  if (known?.id !== id || !isActive(known)) return;
  try {
    follow(await ask("GET /jobs/:id", { at: id }), lost);
  } catch (error) {
    // The server is back without it.
    if (error instanceof ServerError) currentJob.set({ sending: false, problem: error.message });
  }
}

/** After a reload: shows this tab's job; in a new tab the one that runs or waits, else the one that was shown last. */
export async function resumeJob(lost: string): Promise<void> {
  const own = keptShown();
  const mine = own && (await ask("GET /jobs/:id", { at: own }).catch(() => undefined));
  if (mine && !currentJob.get().job && !currentJob.get().sending) return follow(mine, lost);
  const { jobs } = await ask("GET /jobs", { query: { status: "running,queued", limit: "1" } });
  const last = await kept("result");
  if (currentJob.get().job || currentJob.get().sending) return;
  const [active] = jobs;
  if (active) return follow(active, lost);
  if (!last) return;
  const job = await ask("GET /jobs/:id", { at: last.id }).catch(() => undefined);
  if (job) follow(job, lost);
  else await forget("result");
}

/** Asks for something that the reader waits for; what goes wrong is said beside the result. */
export async function act(asking: Promise<unknown>, lost: string): Promise<void> {
  try {
    await asking;
  } catch (error) {
    // What was asked of a job that had ended by the time the server heard of it needs no answer.
    const { job } = currentJob.get();
    if (error instanceof ServerError && job && !isActive(job)) return;
    const problem = problemOf(error, lost);
    // Above the tab it is said that the server is gone, and what that means.
    if (error instanceof ServerError || connection.get() !== "gone") currentJob.update({ problem });
  }
}

/** An error in words: the server's own, or that there is none. */
export function problemOf(error: unknown, lost: string): string {
  if (error instanceof ServerError) return error.message;
  void lookForServer();
  return lost;
}
