import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The last that runs on Node 20. */
export const lighthouseVersion = "12.8.2";

/**
 * Where it is looked for. With what it brings it is 190 MB, and so no dependency: `npx tsx scripts/lighthouse.ts`
 * installs it there, and from then on the tests find it.
 */
export const lighthouseFolder: string =
  process.env.LIGHTHOUSE_FOLDER ??
  fileURLToPath(new URL("../../node_modules/.cache/lighthouse", import.meta.url));
const cli = join(lighthouseFolder, "node_modules", "lighthouse", "cli", "index.js");
export const hasLighthouse = (): boolean => existsSync(cli);

export type Category = "accessibility" | "best-practices" | "performance";

export interface LighthouseReport {
  readonly categories: Readonly<
    Record<Category, { readonly score: number; readonly auditRefs: readonly { readonly id: string }[] }>
  >;
  readonly audits: Readonly<Record<string, { readonly score: number | null; readonly title: string }>>;
}

/**
 * Lighthouse on an address, as a desktop sees it. Where Chromium loses the beginning of a recording, as it now and then
 * does, Lighthouse's own word is to run it again: so it is, twice at the most.
 */
export async function lighthouse(
  address: string,
  options: { readonly only: readonly Category[] },
): Promise<LighthouseReport> {
  for (let attempt = 1; ; attempt++)
    try {
      return await report(address, options);
    } catch (error) {
      const { stderr } = error as { stderr?: string };
      if (attempt === 3 || !stderr?.includes("Please run Lighthouse again")) throw error;
      console.warn(`Lighthouse runs again: ${stderr.trim()}`);
    }
}

/**
 * One run. The page asks its server every second, so that its network is never quiet: what is waited for is bounded, by
 * far more than loading takes.
 */
async function report(
  address: string,
  { only }: { readonly only: readonly Category[] },
): Promise<LighthouseReport> {
  const work = await mkdtemp(join(tmpdir(), "lighthouse-report-"));
  const path = join(work, "report.json");
  const flags =
    "--headless --no-sandbox --disable-gpu --disable-quic --disable-background-networking --disable-component-update";
  try {
    await promisify(execFile)(
      process.execPath,
      [
        ...[cli, address, "--quiet", "--preset=desktop", "--output=json", `--output-path=${path}`],
        ...["--max-wait-for-load=10000", "--disable-full-page-screenshot"],
        ...[`--only-categories=${only.join()}`, `--chrome-flags=${flags}`],
      ],
      { env: { ...process.env, CHROME_PATH: process.env.CHROME_PATH ?? "/usr/bin/chromium" } },
    );
    return JSON.parse(await readFile(path, "utf8")) as LighthouseReport;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** What keeps a category from its best, one line each. */
export function problemsOf({ categories, audits }: LighthouseReport, category: Category): string[] {
  return categories[category].auditRefs
    .map(({ id }) => ({ id, ...audits[id]! }))
    .filter(({ score }) => score !== null && score < 0.9)
    .map(({ id, title, score }) => `${id}: ${title} (${score})`);
}
