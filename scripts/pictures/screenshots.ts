/**
 * The page in light and dark, with a picture that it made, and every tab of it:
 * npx tsx scripts/pictures/screenshots.ts docs [steps]
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type Page } from "playwright-core";
import sharp from "sharp";
import { build } from "tsup";
import { pageBuild } from "../../src/page/build.js";
import { tabs } from "../../src/page/tabs.js";
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
  await settle(page);
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const png = await page.screenshot();
    await sharp(png)
      .webp({ quality: 80, effort: 6 })
      .toFile(join(folder, `page-${colorScheme}.webp`));
  }
  await page.emulateMedia({ colorScheme: "light" });
  await everyTab(page, join(folder, "tabs"));
} finally {
  await browser.close();
  await server.close();
  rmSync(work, { recursive: true });
}

/** The form from its top, and no field in use. */
async function settle(page: Page): Promise<void> {
  await page.evaluate("document.activeElement.blur()");
  await page.evaluate("for (const one of document.querySelectorAll('*')) one.scrollTop = 0");
}

/** One picture for each, small: what a tab looks like, not what its words say. */
async function everyTab(page: Page, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const prompt of ["a red car", "a cat wearing a party hat"]) await make({ prompt, seed: 7 });
  await page.locator(".card").getByRole("button", { name: "Image to image" }).click();
  for (const tab of tabs) {
    await page.goto(`${server.url}/#${tab}`);
    await page.locator(`#tab-${tab}[aria-selected=true]`).waitFor();
    if (tab === "inpaint") await paint(page);
    await page.locator(".queue").waitFor({ state: "detached" });
    await page.locator(tab === "history" ? ".gallery li:nth-child(3) img" : "#panel").waitFor();
    await settle(page);
    while (!(await loaded(page))) await page.waitForTimeout(100);
    await sharp(await page.screenshot())
      .resize(800)
      .webp({ quality: 60, effort: 6 })
      .toFile(join(folder, `${tab}.webp`));
  }
}

/** Whether every picture that is on the page is there. */
function loaded(page: Page): Promise<boolean> {
  const each = page.locator("img");
  return each.evaluateAll((all) =>
    (all as unknown as { complete: boolean }[]).every(({ complete }) => complete),
  );
}

/** A stroke over the middle of the picture. */
async function paint(page: Page): Promise<void> {
  const canvas = page.locator("canvas");
  await canvas.scrollIntoViewIfNeeded();
  const { x, y, width, height } = (await canvas.boundingBox())!;
  await page.mouse.move(x + width / 3, y + height / 2);
  await page.mouse.down();
  await page.mouse.move(x + (2 * width) / 3, y + height / 2, { steps: 8 });
  await page.mouse.up();
}

async function make(request: object): Promise<void> {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ ...request, ...(steps !== undefined && { steps: Number(steps) }) });
  const answer = await fetch(`${server.url}/jobs`, { method: "POST", headers, body });
  const { id } = (await answer.json()) as { id: string };
  await (await fetch(`${server.url}/jobs/${id}/events`)).text();
}
