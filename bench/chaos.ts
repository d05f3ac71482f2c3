import { runChaos } from "../src/testing/chaos.js";
import { progress } from "./processes.js";
import type { Table } from "./table.js";

/**
 * The test of chaos (`src/server/queue/chaos.test.ts`) with as many jobs as one likes.
 *
 * @throws Error when a job ends twice or never, or has a picture that a single run would not have made
 */
export async function benchChaos({ jobs, seed }: { jobs: number; seed: number }): Promise<Table[]> {
  const began = performance.now();
  const result = await runChaos({ jobs, seed, patienceMs: 600_000, log: progress });
  const statuses: Record<string, number> = {};
  for (const { status } of result.jobs) statuses[status] = (statuses[status] ?? 0) + 1;
  if (result.wrong.length > 0) throw new Error(`wrong pictures: ${result.wrong.join("; ")}`);
  if (result.ends.some((ends) => ends !== 1)) throw new Error(`ends told: ${result.ends.join()}`);
  if (result.left > 0) throw new Error(`${result.left} jobs are left over`);
  return [
    {
      title: `Chaos: ${jobs} jobs of two models, in ${((performance.now() - began) / 60_000).toFixed(1)} minutes`,
      columns: ["", "times"],
      rows: Object.entries({ ...statuses, ...result.done }).map(([what, times]) => [what, `${times}`]),
      notes: [
        "Each job ended once; each picture of a completed job is that of a single run, by hash of its pixels.",
      ],
    },
  ];
}
