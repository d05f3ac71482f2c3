import { readdir } from "node:fs/promises";
import type { Parts } from "./jobs/accept.js";
import { forgetOld, sweep } from "./jobs/images-of-jobs.js";
import type { Log } from "./log.js";
import { errorOf } from "./refusal.js";

const HOUR_MS = 60 * 60_000;

/**
 * Every hour: pictures of no job are removed, as long as no part of the journal was set aside, whose jobs would miss
 * theirs; and jobs that ended long ago are forgotten with their pictures, where that was asked for.
 */
export function startSweeping(
  { images, jobs, limits, settings }: Pick<Parts, "images" | "jobs" | "limits" | "settings">,
  {
    dataDir,
    log,
    keepMs,
  }: { readonly dataDir: string; readonly log: Log; readonly keepMs: number | undefined },
): NodeJS.Timeout {
  const { queue } = jobs;
  const forget = async () => {
    if (keepMs === undefined) return;
    const { favourites } = settings.data;
    const forgotten = await forgetOld({ images, queue }, { endedBefore: Date.now() - keepMs, favourites });
    if (forgotten > 0) log(`${forgotten} jobs that ended long ago were forgotten, with their pictures`);
  };
  const removeOrphans = async () => {
    const aside = (await readdir(dataDir)).some((name) => name.startsWith("journal.jsonl."));
    const removed = aside ? 0 : await sweep(images, queue, 2 * limits.jobMs);
    if (removed > 0) log(`${removed} pictures that belong to no job were removed`);
  };
  const tried = () =>
    void forget()
      .then(removeOrphans)
      .catch((error: unknown) => log(`old pictures could not be removed: ${errorOf(error).message}`));
  tried();
  return setInterval(tried, HOUR_MS).unref();
}
