import { readFile } from "node:fs/promises";
import { unzipSync } from "fflate";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { browserPresent, type OpenedPage, openTinyPage } from "../../testing/browser.js";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

describe.runIf(browserPresent)("the history", () => {
  let opened: OpenedPage;
  let page: Page;
  beforeAll(async () => {
    opened = await openTinyPage();
    ({ page } = opened);
    for (const [prompt, count] of [
      ["a red car", 1],
      ["a dog in the snow", 2],
      ["a red dog", 1],
    ] as const) {
      const data = { prompt, count, width: 64, height: 64, steps: 2, seed: 7 };
      const { id } = await (await page.request.post(`${opened.server.url}/jobs`, { data })).json();
      await page.request.get(`${opened.server.url}/jobs/${id}/events`, { timeout: 100_000 });
    }
    await opened.open("History");
  });
  afterAll(async () => opened?.close());

  const entries = () => page.locator(".gallery li");
  const names = () =>
    page.locator(".gallery .caption").evaluateAll((all) => all.map((one) => one.firstChild?.textContent));
  const viewer = () => page.getByRole("dialog", { name: "Picture viewer" });

  test("small WebP pictures; words, model, mode and favourites narrow it", async () => {
    await entries().nth(2).waitFor();
    expect(await names()).toEqual(["a red dog", "a dog in the snow", "a red car"]);
    const sources = await page
      .locator(".gallery img")
      .evaluateAll((all) => all.map((one) => one.getAttribute("src")));
    for (const source of sources) expect(source).toMatch(/^\/thumbnails\/256\/[0-9a-f]{64}\.webp$/);
    await page.getByLabel("Search").fill("RED");
    await expect.poll(names).toEqual(["a red dog", "a red car"]);
    await page.getByLabel("Search").fill("blue");
    await page.getByText("Nothing fits.").waitFor();
    await page.getByLabel("Search").fill("");
    await page.getByLabel("Made by").selectOption("Upscale");
    await expect.poll(names).toEqual([]);
    await page.getByLabel("Made by").selectOption("Text to image");
    await expect.poll(names).toHaveLength(3);
    await page.getByLabel("Model", { exact: true }).selectOption("tiny-sd1");
    await expect.poll(names).toHaveLength(3);
    await opened.shot("history-filters");
  });

  test("opening one moves nothing: the viewer goes through all of them", async () => {
    const where = async () =>
      JSON.stringify(await Promise.all((await entries().all()).map((one) => one.boundingBox())));
    const before = await where();
    await page.getByRole("button", { name: /^a dog in the snow/ }).click();
    await viewer().waitFor();
    expect(await viewer().locator(".place").textContent()).toBe("2 / 4");
    await page.keyboard.press("f");
    await viewer().getByRole("button", { name: "Favourite", pressed: true }).waitFor();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("i");
    expect(await viewer().locator("pre").textContent()).toContain("a red car");
    expect(await where()).toBe(before);
    await page.keyboard.press("Escape");
    await viewer().waitFor({ state: "hidden" });
    await page.getByRole("button", { name: "Favourites" }).click();
    await expect.poll(names).toEqual(["a dog in the snow"]);
    await page.reload();
    await page.getByRole("button", { name: "Favourites" }).click();
    await expect.poll(names).toEqual(["a dog in the snow"]);
    await page.getByRole("button", { name: "Favourites" }).click();
    await expect.poll(names).toHaveLength(3);
  });

  test("several at once: a ZIP of their pictures", async () => {
    await page.getByLabel("Select: a red car").check();
    await page.getByLabel("Select: a dog in the snow").check();
    await page.getByText("2 selected").waitFor();
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Download as ZIP" }).click();
    const path = await (await download).path();
    const files = unzipSync(new Uint8Array(await readFile(path)));
    expect(Object.keys(files)).toHaveLength(3);
    for (const [name, bytes] of Object.entries(files)) {
      expect(name).toMatch(/^\d{4}-\d\d-\d\d-[78]-[0-9a-f]{8}\.png$/);
      expect([...bytes.slice(1, 4)]).toEqual([0x50, 0x4e, 0x47]);
    }
    await opened.shot("history-selected");
  });

  test("deleting can be undone, and is done when it was not", async () => {
    const stored = async () =>
      ((await (await page.request.get(`${opened.server.url}/jobs`)).json()) as { jobs: object[] }).jobs
        .length;
    await page
      .getByRole("toolbar", { name: "What is selected" })
      .getByRole("button", { name: "Delete" })
      .click();
    await expect.poll(names).toEqual(["a red dog"]);
    expect(await stored()).toBe(3);
    await page.getByRole("button", { name: "Undo deleting" }).click();
    await expect.poll(names).toHaveLength(3);
    await page.getByRole("button", { name: /^a red car/ }).click();
    await page.keyboard.press("Delete");
    await viewer().locator(".place").getByText("3 / 3").waitFor();
    await page.keyboard.press("Escape");
    await expect.poll(names).toEqual(["a red dog", "a dog in the snow"]);
    await expect.poll(stored, { timeout: 20_000 }).toBe(2);
    expect(opened.complaints.filter((line) => !line.startsWith("server: job"))).toEqual([]);
  });
});
