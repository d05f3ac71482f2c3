/** The page in light and dark, with a picture that it made: npx tsx scripts/pictures/screenshots.ts docs [steps] */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import sharp from "sharp";
import { build } from "tsup";
import { pageBuild } from "../../src/page/build.js";
import { serve } from "../../src/server/main.js";

const [folder, steps] = process.argv.slice(2);
if (folder === undefined) throw new Error("usage: screenshots.ts folder [steps]");

const work = mkdtempSync(join(tmpdir(), "screenshots-"));
await build({ config: false, silent: true, ...pageBuild(join(work, "page")) });
const server = await serve({
  port: 0,
  dataDir: join(work, "data"),
  page: join(work, "page"),
  graceMs: 0,
  log() {},
});
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 760 }, locale: "en-GB" });
  await page.goto(server.url);
  await page.getByLabel("Prompt", { exact: true }).fill("a dog with glasses");
  await page.getByLabel("Seed", { exact: true }).fill("7");
  if (steps !== undefined) await page.getByRole("spinbutton", { name: "Sampling steps" }).fill(steps);
  await page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
  await page.locator(".result .card img").first().waitFor({ timeout: 240_000 });
  // The form from its top, and no field in use.
  await page.evaluate("document.activeElement.blur()");
  await page.evaluate("for (const one of document.querySelectorAll('*')) one.scrollTop = 0");
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const png = await page.screenshot();
    await sharp(png)
      .webp({ quality: 80, effort: 6 })
      .toFile(join(folder, `page-${colorScheme}.webp`));
  }
} finally {
  await browser.close();
  await server.close();
  rmSync(work, { recursive: true });
}
