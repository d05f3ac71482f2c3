import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { browserPresent, type OpenedPage, openPage } from "../../testing/browser.js";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

describe.runIf(browserPresent)("keys, title and notifications", () => {
  let opened: OpenedPage;
  let page: Page;
  beforeAll(async () => {
    opened = await openPage(
      ["models/tiny-sd1"],
      (folder) => ({ models: join(folder, "models"), model: join(folder, "models", "tiny-sd1") }),
      { permissions: ["notifications"] },
    );
    ({ page } = opened);
    await page.getByRole("spinbutton", { name: "Width" }).fill("64");
    await page.getByRole("spinbutton", { name: "Height" }).fill("64");
  });
  afterAll(async () => opened?.close());

  const prompt = () => page.getByLabel("Prompt", { exact: true });
  const icon = () => page.locator('link[rel="icon"]').getAttribute("href");

  test("Ctrl and up or down weigh the word at the caret, and undo takes it back", async () => {
    await prompt().fill("a dog in the snow");
    await prompt().focus();
    await page.keyboard.press("Home");
    for (let i = 0; i < 3; i++) await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Control+ArrowUp");
    expect(await prompt().inputValue()).toBe("a (dog:1.1) in the snow");
    await page.keyboard.press("Control+ArrowUp");
    expect(await prompt().inputValue()).toBe("a (dog:1.2) in the snow");
    await page.keyboard.press("Control+z");
    await page.keyboard.press("Control+z");
    expect(await prompt().inputValue()).toBe("a dog in the snow");
  });

  test("? lists the keys, but not while one types", async () => {
    await prompt().fill("");
    await prompt().press("?");
    expect(await prompt().inputValue()).toBe("?");
    await page.getByRole("tab", { name: "Text to image" }).focus();
    await page.keyboard.press("?");
    const list = page.getByRole("dialog", { name: "Keys" });
    await list.getByText("More or less weight for the word at the caret").waitFor();
    await opened.shot("keys");
    await page.keyboard.press("Escape");
    await list.waitFor({ state: "hidden" });
  });

  test("one who has nothing in mind presses an example", async () => {
    await page.getByRole("button", { name: "a rocket", exact: true }).click();
    await page.locator(".result .card img").waitFor({ timeout: 60_000 });
    expect(await prompt().inputValue()).toBe("a rocket");
    expect(await page.getByRole("button", { name: "a rocket", exact: true }).count()).toBe(0);
    const { jobs } = await (await page.request.get(`${opened.server.url}/jobs`)).json();
    expect(jobs.map(({ request }: { request: { prompt: string } }) => request.prompt)).toEqual(["a rocket"]);
  });

  test("Ctrl+Enter generates from anywhere, once; title and icon show how far; Esc cancels", async () => {
    await prompt().fill("a dog");
    await page.getByRole("spinbutton", { name: "Sampling steps" }).fill("150");
    await page.getByRole("spinbutton", { name: "Pictures" }).fill("8");
    const idle = await icon();
    await prompt().focus();
    await page.keyboard.press("Control+Enter");
    await expect.poll(() => page.title(), { timeout: 60_000 }).toMatch(/^\d+ % · tfjs-diffusion$/);
    expect(await icon()).toMatch(/^data:image\/png/);
    expect(await icon()).not.toBe(idle);
    const { jobs } = await (await page.request.get(`${opened.server.url}/jobs`)).json();
    expect(jobs).toHaveLength(2); // with that of the example
    // Where it has a meaning of its own, it cancels nothing.
    await page.getByLabel("Scheduler", { exact: true }).focus();
    await page.keyboard.press("Escape");
    await prompt().dispatchEvent("keydown", { key: "Escape", isComposing: true });
    await page.waitForTimeout(300);
    expect((await (await page.request.get(`${opened.server.url}/jobs`)).json()).jobs[0].status).toBe(
      "running",
    );
    await page.getByRole("heading", { name: "Result" }).click();
    await page.keyboard.press("Escape");
    await page.getByRole("status").filter({ hasText: "Cancelled." }).waitFor({ state: "attached" });
    await expect.poll(() => page.title()).toBe("tfjs-diffusion");
    expect(await icon()).toBe(idle);
  });

  test("who wants it is notified when a job is done while the page is not looked at", async () => {
    await page.evaluate(() => {
      const all = globalThis as unknown as { told: unknown[]; Notification: unknown; document: object };
      all.told = [];
      all.Notification = class {
        static permission = "granted";
        static requestPermission = async () => "granted";
        constructor(title: string, options: { body: string }) {
          all.told.push([title, options.body]);
        }
      };
    });
    await page.getByRole("button", { name: "Notify me when a job is done" }).click();
    await page.getByRole("button", { name: "Notify me when a job is done", pressed: true }).waitFor();
    const told = () => page.evaluate(() => (globalThis as unknown as { told: unknown[] }).told);
    const hide = (hidden: boolean) =>
      page.evaluate(
        (hidden) =>
          Object.defineProperty((globalThis as unknown as { document: object }).document, "hidden", {
            value: hidden,
            configurable: true,
          }),
        hidden,
      );
    const generate = async () => {
      await page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
      await page
        .locator(".result")
        .getByText(/× .* s$/)
        .waitFor({ timeout: 60_000 });
    };
    await page.getByRole("spinbutton", { name: "Sampling steps" }).fill("2");
    await page.getByRole("spinbutton", { name: "Pictures" }).fill("1");
    await generate();
    expect(await told()).toEqual([]);
    await hide(true);
    await page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
    await expect.poll(told, { timeout: 60_000 }).toEqual([["The pictures are done.", "a dog"]]);
    await hide(false);
  });

  test("endless: it begins anew by itself, a kept seed moves on, and cancelling ends it", async () => {
    await page.getByLabel("Seed", { exact: true }).fill("41");
    const endless = page.getByRole("button", { name: "Endless: begin anew when it is done" });
    await endless.click();
    await page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
    const seeds = async () => {
      const { jobs } = await (await page.request.get(`${opened.server.url}/jobs`)).json();
      return (jobs as { request: { seed?: string } }[]).map(({ request }) => request.seed);
    };
    await expect.poll(seeds, { timeout: 60_000 }).toEqual(expect.arrayContaining(["41", "42", "43"]));
    await endless.click();
    const before = (await seeds()).length;
    await page.waitForTimeout(1500);
    expect((await seeds()).length).toBeLessThanOrEqual(before + 1);
    await opened.shot("endless");
    expect(opened.complaints.filter((line) => !line.startsWith("server: job"))).toEqual([]);
  });
});
