import { join } from "node:path";
import { expect, test, vi } from "vitest";
import type { GenerateView, JobView } from "../server/http/answers.js";
import { browserPresent, openPage, openTinyPage } from "../testing/browser.js";
import { writeTinyRefiner } from "../testing/tiny-refiner.js";

vi.setConfig({ testTimeout: 300_000 });

const refinerName = "Refiner: a second model that finishes";

test.runIf(browserPresent)("no refiner is offered where there is none", async () => {
  const { page, close } = await openTinyPage();
  try {
    await page.getByText("More settings").click();
    await expect.poll(() => page.getByRole("combobox", { name: "Random numbers of" }).isVisible()).toBe(true);
    expect(await page.getByRole("combobox", { name: refinerName }).count()).toBe(0);
  } finally {
    await close();
  }
});

test.runIf(browserPresent)(
  "a refiner that is chosen finishes the picture, with its scores; a job brings both back",
  async () => {
    const { page, server, open, close } = await openPage(["models/tiny-sdxl"], (folder) => {
      writeTinyRefiner(join(folder, "models", "refiner"));
      return { models: join(folder, "models"), model: join(folder, "models", "tiny-sdxl") };
    });
    const latest = async (): Promise<JobView | undefined> => {
      const answer = await page.request.get(`${server.url}/jobs?limit=1`);
      return ((await answer.json()) as { jobs: JobView[] }).jobs[0];
    };
    try {
      for (const [name, value] of [
        ["Width", "64"],
        ["Height", "64"],
        ["Sampling steps", "4"],
      ] as const)
        await page.getByRole("spinbutton", { name }).fill(value);
      await page.getByRole("textbox", { name: "Prompt", exact: true }).fill("a dog");
      await page.getByText("More settings").click();
      const scores = page.getByRole("spinbutton", {
        name: "Aesthetic score (0: the model's own)",
        exact: true,
      });
      expect(await scores.count()).toBe(0);
      await page.getByRole("combobox", { name: refinerName }).selectOption("refiner CPU FP32");
      await page.getByRole("spinbutton", { name: "Refiner goes on at" }).fill("0.5");
      await scores.fill("2");
      await page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
      await expect
        .poll(async () => (await latest())?.error?.message ?? (await latest())?.status, { timeout: 240_000 })
        .toBe("completed");
      const job = (await latest())!;
      expect(job.request as GenerateView).toMatchObject({
        refiner: { model: "refiner CPU FP32", switchAt: 0.5 },
        aestheticScore: 2,
      });
      expect(job.result!.images[0]!.parameters).toMatch(/Refiner: refiner, Refiner switch at: 0.5/);
      const chosen = page.getByRole("combobox", { name: refinerName });
      await chosen.selectOption("");
      await scores.waitFor({ state: "detached" });
      await open("History");
      await page.locator(".gallery .thumbnail").first().click();
      await page.getByRole("dialog").getByRole("button", { name: "Use these settings" }).click();
      await page.getByText("More settings").click();
      await expect.poll(() => chosen.inputValue()).toBe("refiner CPU FP32");
      expect(await scores.inputValue()).toBe("2");
      expect(await page.getByRole("spinbutton", { name: "Refiner goes on at" }).inputValue()).toBe("0.5");
    } finally {
      await close();
    }
  },
);
