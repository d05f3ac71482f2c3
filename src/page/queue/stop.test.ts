import type { Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { JobView } from "../../server/http/answers.js";
import { browserPresent, type OpenedPage, openTinyPage } from "../../testing/browser.js";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const SIDE = 256;

describe.runIf(browserPresent)("jobs that end early", () => {
  let opened: OpenedPage;
  let page: Page;
  beforeAll(async () => {
    opened = await openTinyPage();
    ({ page } = opened);
    // Large enough that a busy browser is faster than 150 steps.
    await page.getByRole("spinbutton", { name: "Width" }).fill(String(SIDE));
    await page.getByRole("spinbutton", { name: "Height" }).fill(String(SIDE));
    await page.getByLabel("Prompt", { exact: true }).fill("a dog");
  });
  afterAll(async () => opened?.close());

  const button = (name: string) => page.getByRole("button", { name, exact: true });
  const panel = () => page.locator(".result");
  const said = (text: string | RegExp) => panel().getByRole("status").getByText(text).waitFor();
  const picture = () => panel().locator(".now .card img");
  const width = (image: Locator) =>
    image.evaluate(async (shown) => {
      const drawn = shown as unknown as { decode(): Promise<void>; naturalWidth: number };
      await drawn.decode();
      return drawn.naturalWidth;
    });
  const steps = (n: number) => page.getByRole("spinbutton", { name: "Sampling steps" }).fill(String(n));
  /** Begins what takes long, and waits until there is something of it. */
  const begin = async () => {
    await steps(150);
    await button("Generate").click();
    await panel()
      .getByText(/^Step [2-9]/)
      .waitFor({ timeout: 100_000 });
  };
  const latest = async () => {
    const { jobs } = await (await page.request.get(`${opened.server.url}/jobs?limit=1`)).json();
    return jobs[0] as JobView;
  };

  test("cancelling throws the picture away; endless can be switched on while that is shown", async () => {
    await begin();
    await button("Cancel").click();
    await said("Cancelled.");
    expect(await picture().count()).toBe(0);
    const endless = button("Endless: begin anew when it is done");
    const pressed = () => endless.getAttribute("aria-pressed");
    await endless.click();
    await page.waitForTimeout(300);
    expect(await pressed()).toBe("true");
    await begin();
    expect(await pressed()).toBe("true");
    await button("Cancel").click();
    await said("Cancelled.");
    await expect.poll(pressed).toBe("false");
  });

  test("stopping keeps the picture so far, and says where", async () => {
    await begin();
    await button("Stop here").click();
    await said(/^Stopped at step \d+ of 15[01]$/);
    expect(await width(picture())).toBe(SIDE);
    expect(await button("Stop here").count()).toBe(0);
    expect(await panel().locator(".card pre").textContent()).toContain("Interrupted: true");
    const { status, result } = await latest();
    expect([status, result?.images.length]).toEqual(["cancelled", 1]);
    await opened.shot("stopped");
    // Nobody has seen its steps now.
    await page.reload();
    await said("Stopped early.");
    expect(await width(picture())).toBe(SIDE);
  });

  test("cancelling brings back what was shown before", async () => {
    const before = await picture().getAttribute("src");
    await begin();
    await panel().locator("img.preview").waitFor();
    await button("Cancel").click();
    await said("Cancelled.");
    expect(await picture().getAttribute("src")).toBe(before);
    await opened.shot("cancelled");
  });

  test("a job whose pictures were all skipped says so, there and in the history", async () => {
    await page.getByRole("spinbutton", { name: "Pictures" }).fill("2");
    await begin();
    const { id } = await latest();
    const { url } = opened.server;
    const ended = page.request.get(`${url}/jobs/${id}/events`, { timeout: 100_000 });
    const skipping = setInterval(() => void page.request.post(`${url}/jobs/${id}/skip`), 50);
    await ended;
    clearInterval(skipping);
    await said("Skipped.");
    expect((await latest()).result?.images).toEqual([]);
    await opened.open("History");
    await page.locator(".gallery li").first().getByText("Skipped.").waitFor();
    await opened.shot("skipped");
    const expected = /^server: job|status of 409/;
    expect(opened.complaints.filter((line) => !expected.test(line))).toEqual([]);
  });
});
