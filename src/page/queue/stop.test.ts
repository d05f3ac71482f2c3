import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { browserPresent, type OpenedPage, openTinyPage } from "../../testing/browser.js";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

describe.runIf(browserPresent)("jobs that end early", () => {
  let opened: OpenedPage;
  let page: Page;
  beforeAll(async () => {
    opened = await openTinyPage();
    ({ page } = opened);
    await page.getByRole("spinbutton", { name: "Width" }).fill("64");
    await page.getByRole("spinbutton", { name: "Height" }).fill("64");
    await page.getByLabel("Prompt", { exact: true }).fill("a dog");
  });
  afterAll(async () => opened?.close());

  const button = (name: string) => page.getByRole("button", { name, exact: true });
  const panel = () => page.locator(".result");
  const said = (text: string | RegExp) => panel().getByRole("status").getByText(text).waitFor();
  const picture = () => panel().locator(".now .card img");
  const steps = (n: number) => page.getByRole("spinbutton", { name: "Sampling steps" }).fill(String(n));
  /** Begins what takes long, and waits until there is something of it. */
  const begin = async () => {
    await steps(150);
    await button("Generate").click();
    await panel()
      .getByText(/^Step [2-9]/)
      .waitFor({ timeout: 100_000 });
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
});
