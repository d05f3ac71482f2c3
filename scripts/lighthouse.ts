/**
 * Lighthouse on the page's text and history tabs, as a desktop sees them: accessibility and best practices must be 100.
 * Performance depends on how busy the machine is, and is looked at with --performance only: the best of three runs must
 * be 98.
 *
 * Lighthouse and what it brings are 190 MB: it is no dependency, but installed beside the others the first time, from
 * when on `src/page/lighthouse.test.ts` finds it.
 *
 *     npx tsx scripts/lighthouse.ts [--performance]
 */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "tsup";
import { pageBuild } from "../src/page/build.js";
import { serve } from "../src/server/main.js";
import {
  type Category,
  hasLighthouse,
  type LighthouseReport,
  lighthouse,
  lighthouseFolder,
  lighthouseVersion,
  problemsOf,
} from "../src/testing/lighthouse.js";

const runs = 3;
const wanted = { accessibility: 100, "best-practices": 100, performance: 98 } as const;

const { values } = parseArgs({ options: { performance: { type: "boolean", default: false } } });
const categories: readonly Category[] = [
  "accessibility",
  "best-practices",
  ...(values.performance ? (["performance"] as const) : []),
];
if (!hasLighthouse())
  execFileSync(
    "npm",
    [
      ...["install", "--prefix", lighthouseFolder, "--ignore-scripts", "--no-audit", "--no-fund"],
      `lighthouse@${lighthouseVersion}`,
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );

const work = await mkdtemp(join(tmpdir(), "lighthouse-page-"));
await build({ config: false, silent: true, ...pageBuild(join(work, "page")) });
const server = await serve({ port: 0, dataDir: join(work, "data"), page: join(work, "page"), graceMs: 0 });
let failed = false;
try {
  await makePicture(server.url);
  for (const tab of ["text", "history"]) {
    const reports: LighthouseReport[] = [];
    for (let run = 0; run < (values.performance ? runs : 1); run++) {
      reports.push(await lighthouse(`${server.url}/#${tab}`, { only: categories }));
      // A busy machine can only make it look slower.
      if (categories.every((category) => scoreOf(reports.at(-1)!, category) >= wanted[category])) break;
    }
    for (const category of categories) {
      const score = Math.max(...reports.map((report) => scoreOf(report, category)));
      const isLow = score < wanted[category];
      failed ||= isLow;
      console.log(`${tab} ${category}: ${score}${isLow ? ` (${wanted[category]} must be)` : ""}`);
      if (isLow) for (const line of problemsOf(reports[0]!, category)) console.log(`  ${line}`);
    }
  }
} finally {
  await server.close();
  await rm(work, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);

function scoreOf(report: LighthouseReport, category: Category): number {
  return Math.round(100 * report.categories[category].score);
}

/** A history without a picture would be looked at too kindly. */
async function makePicture(url: string): Promise<void> {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ prompt: "a red car", steps: 2, seed: 1 });
  const { id } = (await (await fetch(`${url}/jobs`, { method: "POST", headers, body })).json()) as {
    id: string;
  };
  await (await fetch(`${url}/jobs/${id}/events`)).text();
}
