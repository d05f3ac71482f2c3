import type { Job, JobQueue, LaneState } from "../queue.js";
import type { Records } from "./records.js";
import type { Runs } from "./runs.js";
import type { WaitingLine } from "./waiting-line.js";

/** What is known of the jobs of one process. */
interface Known {
  readonly records: Records;
  readonly line: WaitingLine;
  readonly runs: Runs;
}

/** What is asked of a queue. */
export function queueReads(
  known: Known,
): Pick<JobQueue, "get" | "list" | "jobsWith" | "position" | "lanes" | "counts"> {
  const { records, line, runs } = known;
  return {
    get: async (id) => records.get(id),
    async list(filter = {}) {
      const { status, task, among, before, limit = 100 } = filter;
      const onlyRunning = status?.length === 1 && status[0] === "running";
      if (onlyRunning && task === undefined && among === undefined && before === undefined)
        return runningJobs(known).slice(0, limit);
      return records.list(filter);
    },
    jobsWith: async (pictures) => records.jobsWith(pictures),
    async position(id) {
      if (runs.has(id)) return 0;
      const place = line.placeOf(id);
      return place === undefined ? undefined : runs.size + place;
    },
    lanes: async () => laneStates(known),
    counts: async () => records.counts(),
  };
}

/** Newest first, without a look at all jobs: many ask for it. */
function runningJobs({ records, runs }: Known): readonly Job[] {
  return Array.from(runs.ids(), (id) => records.get(id)!)
    .reverse()
    .sort((a, b) => b.created - a.created);
}

function laneStates({ records, line, runs }: Known): readonly LaneState[] {
  const states = new Map<string, LaneState>();
  const stateOf = (lane: string): LaneState =>
    states.get(lane) ?? {
      ...{ lane, waiting: 0, running: 0 },
      attempts: runs.attempts.get(lane) ?? 0,
      lost: records.lost.get(lane) ?? 0,
    };
  for (const lane of [...runs.attempts.keys(), ...records.lost.keys()]) states.set(lane, stateOf(lane));
  for (const id of line.ids()) {
    const { lane, created } = records.get(id)!;
    const state = stateOf(lane);
    const oldest = Math.min(state.oldest ?? created, created);
    states.set(lane, { ...state, waiting: state.waiting + 1, oldest });
  }
  for (const id of runs.ids()) {
    const state = stateOf(records.get(id)!.lane);
    states.set(state.lane, { ...state, running: state.running + 1 });
  }
  return [...states.values()];
}
