import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { browserPresent, type OpenedPage, openTinyPage } from "../testing/browser.js";
import { hasLighthouse, lighthouse, problemsOf } from "../testing/lighthouse.js";

vi.setConfig({ testTimeout: 600_000, hookTimeout: 120_000 });

if (browserPresent && !hasLighthouse())
  console.warn("Lighthouse is not installed, and not run: npx tsx scripts/lighthouse.ts installs it");

// How fast a page is depends on the machine and what else it does: the script judges that.
describe.runIf(browserPresent && hasLighthouse())("Lighthouse on the page, as a desktop sees it", () => {
  let opened: OpenedPage;
  beforeAll(async () => {
    opened = await openTinyPage();
    // A history without a picture would be looked at too kindly.
    const data = { prompt: "a red car", width: 64, height: 64, steps: 2, seed: 1 };
    const { id } = await (await opened.page.request.post(`${opened.server.url}/jobs`, { data })).json();
    await opened.page.request.get(`${opened.server.url}/jobs/${id}/events`, { timeout: 100_000 });
  });
  afterAll(async () => opened?.close());

  test.each(["text", "history"])(
    "%s: accessibility and best practices 100, no errors in the console",
    async (tab) => {
      const report = await lighthouse(`${opened.server.url}/#${tab}`, {
        only: ["accessibility", "best-practices"],
      });
      for (const category of ["accessibility", "best-practices"] as const)
        expect([category, report.categories[category].score, problemsOf(report, category)]).toEqual([
          category,
          1,
          [],
        ]);
      expect(report.audits["errors-in-console"]?.score).toBe(1);
    },
  );
});
