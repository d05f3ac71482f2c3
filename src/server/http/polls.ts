import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Parts } from "../jobs/accept.js";
import { jobAnswer } from "./api/native.js";
import { processTime, progressAnswer } from "./api/sdapi-progress.js";
import type { Metrics } from "./metrics.js";
import { has, type Polled } from "./polled.js";
import { type Access, isKnown, isOurHost } from "./security.js";

interface Poll {
  readonly route: string;
  readonly answer: Promise<Polled | undefined>;
  /** X-Process-Time is a header of the web UI's API. */
  readonly timed: boolean;
}

/**
 * Answers polls straight from the socket, as many clients ask every second while the processor is needed for
 * pictures; all other requests, and polls with anything wrong or unknown, are for `otherwise`, which knows these
 * routes, too, and says no to whom it must.
 */
export function pollListener(
  { jobs }: Parts,
  access: Access,
  metrics: Metrics,
  otherwise: RequestListener,
): RequestListener {
  const { queue } = jobs;
  const { recent = queue } = queue;

  const pollOf = (url = ""): Poll | undefined => {
    if (url.startsWith("/sdapi/v1/progress")) {
      const query = url.slice("/sdapi/v1/progress".length);
      const bare = query === "?skip_current_image=true";
      if (!bare && query !== "" && query !== "?skip_current_image=false") return undefined;
      return { route: "/sdapi/v1/progress", answer: progressAnswer(recent, bare), timed: true };
    }
    const [, id] = /^\/jobs\/([\w-]+)$/.exec(url) ?? [];
    if (id === undefined) return undefined;
    const answer = recent.get(id).then((job) => job && jobAnswer(job, recent));
    return { route: "/jobs/:id", answer, timed: false };
  };

  return (incoming, outgoing) => {
    const { method, headers } = incoming;
    const welcome =
      method === "GET" && isOurHost(headers.host, access) && isKnown(headers.authorization, access);
    const began = performance.now();
    const poll = welcome ? pollOf(incoming.url) : undefined;
    if (!poll) return otherwise(incoming, outgoing);
    poll.answer.then(
      (answer) => {
        if (!answer) return otherwise(incoming, outgoing);
        const status = send(answer, incoming, outgoing, poll.timed ? processTime(began) : []);
        metrics.add("GET", poll.route, status);
      },
      () => otherwise(incoming, outgoing),
    );
  };
}

function send(
  { text, tag, headers }: Polled,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  more: readonly string[],
): number {
  const unchanged = has(incoming.headers["if-none-match"], tag);
  const status = unchanged ? 304 : 200;
  outgoing.writeHead(status, [...(unchanged ? headers.unchanged : headers.whole), ...more]);
  // As text it goes out together with the head; bytes would be a second piece.
  if (unchanged) outgoing.end();
  else outgoing.end(text);
  return status;
}
