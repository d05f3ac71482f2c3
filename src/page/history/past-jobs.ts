import { useEffect, useState } from "preact/hooks";
import { currentJob, problemOf } from "../jobs.js";
import { ask, type JobView } from "../server.js";
import { useStore, useWords } from "../store.js";
import { removal, removed } from "../viewer/removal.js";

/** What the history is narrowed to; empty strings are everything. */
export interface Filter {
  readonly search: string;
  readonly model: string;
  readonly mode: string;
  readonly favourites: boolean;
}

export const noFilter: Filter = { search: "", model: "", mode: "", favourites: false };

const pageSize = 48;

const queryOf = ({ search, model, mode, favourites }: Filter): Readonly<Record<string, string>> => ({
  status: "completed,failed,cancelled,lost",
  limit: String(pageSize),
  ...(search.trim() && { search: search.trim() }),
  ...(model && { model }),
  ...(mode && { mode }),
  ...(favourites && { favourites: "true" }),
});

/** Jobs that have ended, as far as they fit, newest first. */
export function usePastJobs(filter: Filter) {
  const t = useWords();
  const [jobs, setJobs] = useState<readonly JobView[]>();
  const [more, setMore] = useState(false);
  const [problem, setProblem] = useState("");
  const gone = useStore(removal);
  const done = useStore(removed);
  const ended = useStore(currentJob).job?.status;
  const query = JSON.stringify(queryOf(filter));
  const read = async (before: string | undefined, current: () => boolean) => {
    try {
      const { jobs: found } = await ask("GET /jobs", {
        query: { ...(JSON.parse(query) as Record<string, string>), ...(before && { before }) },
      });
      if (!current()) return;
      setJobs((known) => (before ? [...(known ?? []), ...found] : found));
      setMore(found.length === pageSize);
      setProblem("");
    } catch (error) {
      setProblem(problemOf(error, t("connectionLost")));
    }
  };
  useEffect(() => {
    let current = true;
    // A moment after the last key.
    const timer = setTimeout(() => void read(undefined, () => current), jobs ? 200 : 0);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [query, ended, done]);
  return {
    jobs: jobs?.filter(({ id }) => !gone.includes(id)),
    more,
    problem,
    readMore: () => void read(jobs?.at(-1)?.id, () => true),
  };
}
