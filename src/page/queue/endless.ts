import { useEffect, useRef, useState } from "preact/hooks";
import { currentJob } from "../jobs.js";
import { generateOf } from "../server.js";
import { settings } from "../settings.js";
import { useStore } from "../store.js";

/**
 * Sends the form again each time its job is completed, while its tab is open. A seed that is kept moves on by the
 * pictures that were made, so that none is made twice.
 */
export function useEndless(submit: () => void): readonly [boolean, (on: boolean) => void] {
  const [on, setOn] = useState(false);
  const { job } = useStore(currentJob);
  const seen = useRef<string>();
  // What was cancelled or has failed ends the round. It may still be shown when the next one is begun.
  useEffect(() => {
    if (job?.status === "cancelled" || job?.status === "failed") setOn(false);
  }, [job?.id, job?.status]);
  useEffect(() => {
    if (job?.status === "running" || job?.status === "queued") seen.current = job.id;
    // What somebody else had begun is no round of ours.
    if (!on || job?.status !== "completed" || seen.current !== job.id) return;
    seen.current = undefined;
    const { seed } = settings.get();
    if (/^\d+$/.test(seed))
      settings.update({ seed: String((BigInt(seed) + BigInt(generateOf(job)?.count ?? 1)) % 2n ** 64n) });
    const timer = setTimeout(submit, 0);
    return () => clearTimeout(timer);
  }, [job?.id, job?.status, on]);
  return [on, setOn];
}
