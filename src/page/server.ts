import type {
  Answers,
  GenerateView,
  ImageView,
  JobView,
  ModelList,
  ModelView,
  Named,
  RequestView,
} from "../server/http/answers.js";

export type { GenerateView, ImageView, JobView, ModelList, ModelView, Named, RequestView };
/** The request of a job whose pictures a model made. */
export const generateOf = ({ request }: JobView): GenerateView | undefined =>
  request.kind === "generate" ? request : undefined;

/** What it shows, in words; empty where nothing was said. */
export const promptOf = (job: JobView): string => generateOf(job)?.prompt ?? "";

export type SchedulerList = Answers["GET /schedulers"];
export type ControlList = Answers["GET /controls"];

/** An answer that is an error, in the words of the server. */
export class ServerError extends Error {}

/** What a request says beside its route. */
interface Said {
  /** In place of the `:id` or `:label` of the route. */
  readonly at?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: object;
}

/**
 * Asks by a route of the server, which says what comes back.
 *
 * @throws ServerError in the server's words
 */
export async function ask<R extends keyof Answers>(
  route: R,
  { at = "", query, body }: Said = {},
): Promise<Answers[R]> {
  const [method = "", template = ""] = route.split(" ");
  const path = template.replace(/:\w+/, encodeURIComponent(at));
  const answer = await fetch(query ? `${path}?${new URLSearchParams(query)}` : path, {
    method,
    ...(body !== undefined && {
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    }),
  });
  if (answer.status === 204) return undefined as Answers[R];
  const value: unknown = await answer.json().catch(() => undefined);
  if (answer.ok) return value as Answers[R];
  throw new ServerError(messageOf(value) ?? `${answer.status} ${answer.statusText}`);
}

function messageOf(value: unknown): string | undefined {
  const { error, detail } = (value ?? {}) as {
    error?: { message?: string; hint?: string };
    detail?: unknown;
  };
  if (typeof detail === "string") return detail;
  return error?.message && (error.hint ? `${error.message} (${error.hint})` : error.message);
}

/** Follows a job until it has ended. @returns what stops following */
export function followJob(id: string, onJob: (job: JobView) => void, onLost: () => void): () => void {
  const events = new EventSource(`/jobs/${id}/events`);
  events.addEventListener("job", (event) => {
    const job = JSON.parse(event.data) as JobView;
    onJob(job);
    if (job.status !== "queued" && job.status !== "running") events.close();
  });
  // The browser connects again by itself, unless the server says that there is nothing.
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) onLost();
  });
  return () => events.close();
}
