import { cp, mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { encodePng } from "../../index.js";
import { grey } from "../../server/fixture.js";
import type { GenerateView, JobView } from "../../server/http/answers.js";
import { browserPresent, type OpenedPage, openPage } from "../../testing/browser.js";
import { goldenExtra, goldenPath } from "../../testing/golden.js";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 });

describe.runIf(browserPresent)("ControlNets, IP-Adapters and learned words on the page", () => {
  let opened: OpenedPage;
  let page: Page;
  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), "followed-"));
    const own = (name: string) => join(folder, name);
    for (const name of ["edges", "depth", "inpaint"])
      await cp(goldenPath("models/tiny-controlnet"), join(own("controls"), name), { recursive: true });
    await writeFile(join(own("controls"), "edges.png"), encodePng(grey(64, 64)));
    await mkdir(own("words"));
    await cp(goldenPath("adapters/ti-diffusers-multi.safetensors"), join(own("words"), "inky.safetensors"));
    await writeFile(join(own("words"), "inky.png"), encodePng(grey(64, 64)));
    opened = await openPage(["models/tiny-sd1"], (server) => ({
      models: join(server, "models"),
      model: join(server, "models", "tiny-sd1"),
      controlDir: own("controls"),
      ipAdapterDir: goldenExtra("ip-adapter"),
      embeddingsDir: own("words"),
    }));
    ({ page } = opened);
    for (const [name, value] of [
      ["Width", "64"],
      ["Height", "64"],
      ["Sampling steps", "2"],
    ] as const)
      await page.getByRole("spinbutton", { name }).fill(value);
    await page.getByRole("textbox", { name: "Prompt", exact: true }).fill("a dog");
  });
  afterAll(async () => opened?.close());

  const unit = (name: string) => page.getByRole("group", { name, exact: true });
  const choose = async (name: string, value: number) =>
    unit(name)
      .locator('input[type="file"]')
      .setInputFiles({
        name: "x.png",
        mimeType: "image/png",
        buffer: Buffer.from(encodePng(grey(64, 64, value))),
      });
  const add = (kind: string, name: string) =>
    page
      .getByRole("region", { name: `Add: ${kind}` })
      .getByRole("button", { name, exact: true })
      .click();
  /** The latest job's request, when it is done. */
  const made = async (): Promise<{ request: GenerateView; parameters: string }> => {
    const before = await latest();
    await page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
    await expect
      .poll(
        async () => {
          const job = await latest();
          return job?.id === before?.id ? "none" : (job?.error?.message ?? job?.status);
        },
        { timeout: 240_000 },
      )
      .toBe("completed");
    const job = (await latest())!;
    return { request: job.request as GenerateView, parameters: job.result!.images[0]!.parameters };
  };
  const latest = async (): Promise<JobView | undefined> => {
    const answer = await page.request.get(`${opened.server.url}/jobs?limit=1`);
    return ((await answer.json()) as { jobs: JobView[] }).jobs[0];
  };

  test("several ControlNets, each with its picture, weight and range, beside an IP-Adapter of two pictures", async () => {
    await page.getByText("ControlNet", { exact: false }).first().click();
    const cards = page.getByRole("region", { name: "Add: ControlNet" });
    await expect
      .poll(() =>
        cards
          .locator("img")
          .evaluateAll((all) =>
            all.map((img) => (img as unknown as { naturalWidth: number }).naturalWidth > 0),
          ),
      )
      .toEqual([true]);
    await add("ControlNet", "edges");
    await add("ControlNet", "depth");
    await page.getByRole("button", { name: "Generate" }).click();
    await page.getByText("Choose the picture to follow first").waitFor();
    await choose("ControlNet 1", 50);
    await choose("ControlNet 2", 200);
    await unit("ControlNet 1").getByLabel("Preprocessor").selectOption("canny");
    await unit("ControlNet 2").getByRole("spinbutton", { name: "Control weight" }).fill("0.4");
    await unit("ControlNet 2")
      .getByRole("spinbutton", { name: /Ends at/ })
      .fill("0.5");
    await page.locator("summary").filter({ hasText: "IP-Adapter" }).click();
    await add("IP-Adapter", "plus");
    await choose("IP-Adapter 1", 90);
    await choose("IP-Adapter 1", 160);
    await expect.poll(() => unit("IP-Adapter 1").locator("img").count()).toBe(2);
    await unit("IP-Adapter 1").getByRole("spinbutton", { name: "Control weight" }).fill("0.7");
    const { request, parameters } = await made();
    expect(request.controlnet).toMatchObject([
      { model: "edges", preprocess: "canny", scale: 1, start: 0, end: 1 },
      { model: "depth", scale: 0.4, start: 0, end: 0.5 },
    ]);
    expect(request.controlnet![0]!.image).not.toEqual(request.controlnet![1]!.image);
    expect(request.ipAdapter).toMatchObject([{ model: "plus", scale: 0.7, image: [{}, {}] }]);
    expect(parameters).toMatch(/ControlNet 1: "Module: none, Model: depth, Weight: 0.4/);
    expect(parameters).toMatch(/IP-Adapter 0: "Model: plus.safetensors, Weight: 0.7/);
    await opened.shot("followed");
  });

  test("they stay over a reload, come back from the history and from a picture's text, and go one by one", async () => {
    const { request } = await made();
    await page.waitForTimeout(300); // pictures are kept a moment after they came
    await page.reload();
    await unit("IP-Adapter 1").locator("img").nth(1).waitFor();
    await page.getByRole("button", { name: "Remove ControlNet 1" }).click();
    await expect.poll(() => unit("ControlNet 1").getByLabel("ControlNet model").inputValue()).toBe("depth");
    await page.getByRole("button", { name: "Remove ControlNet 1" }).click();
    await page.getByRole("button", { name: "Remove IP-Adapter 1" }).click();
    expect((await made()).request).not.toHaveProperty("controlnet");
    await opened.open("History");
    await page.locator(".gallery .thumbnail").nth(1).click();
    await page.getByRole("dialog").getByRole("button", { name: "Use these settings" }).click();
    await unit("ControlNet 2").locator("img").waitFor();
    const again = (await made()).request;
    expect([again.controlnet, again.ipAdapter]).toEqual([request.controlnet, request.ipAdapter]);
    // A picture's text has no pictures in it: they are asked for.
    const { result } = (await latest())!;
    const png = await page.request.get(opened.server.url + result!.images[0]!.url);
    for (const name of ["ControlNet 2", "ControlNet 1", "IP-Adapter 1"])
      await page.getByRole("button", { name: `Remove ${name}` }).click();
    await page
      .locator('input[type="file"][aria-label="Restore settings from a PNG"]')
      .setInputFiles({ name: "x.png", mimeType: "image/png", buffer: await png.body() });
    await unit("ControlNet 2").waitFor();
    const value = (name: string, label: string | RegExp) =>
      unit(name).getByRole("spinbutton", { name: label }).inputValue();
    expect(await unit("ControlNet 1").getByLabel("Preprocessor").inputValue()).toBe("canny");
    expect([await value("ControlNet 2", "Control weight"), await value("ControlNet 2", /Ends at/)]).toEqual([
      "0.4",
      "0.5",
    ]);
    expect(await value("IP-Adapter 1", "Control weight")).toBe("0.7");
    await page.getByRole("button", { name: "Generate" }).click();
    await page.getByText("Choose the picture to follow first").waitFor();
    for (const name of ["ControlNet 2", "ControlNet 1", "IP-Adapter 1"])
      await page.getByRole("button", { name: `Remove ${name}` }).click();
  });

  test("a ControlNet for inpainting takes a mask; prompts are padded where it is asked for; both come back", async () => {
    const file = (value: number) => ({
      name: "x.png",
      mimeType: "image/png",
      buffer: Buffer.from(encodePng(grey(64, 64, value))),
    });
    await page.locator("summary").filter({ hasText: "ControlNet" }).click();
    await add("ControlNet", "edges");
    expect(await unit("ControlNet 1").locator('input[type="file"]').count()).toBe(1);
    await unit("ControlNet 1").getByLabel("ControlNet model").selectOption("inpaint");
    await unit("ControlNet 1").locator('input[type="file"]').nth(0).setInputFiles(file(90));
    await unit("ControlNet 1").locator('input[type="file"]').nth(1).setInputFiles(file(255));
    await expect.poll(() => unit("ControlNet 1").locator("img").count()).toBe(2);
    await page.getByText("More settings").click();
    await page.getByLabel("Pad prompts to").check();
    const { request, parameters } = await made();
    expect(request).toMatchObject({ padPrompts: true, controlnet: [{ model: "inpaint", mask: {} }] });
    expect(parameters).toContain("Pad conds: True");
    await page.getByRole("button", { name: "Remove ControlNet 1" }).click();
    await page.getByLabel("Pad prompts to").uncheck();
    await opened.open("History");
    await page.locator(".gallery .thumbnail").first().click();
    await page.getByRole("dialog").getByRole("button", { name: "Use these settings" }).click();
    await expect.poll(() => unit("ControlNet 1").locator("img").count()).toBe(2);
    const again = (await made()).request;
    expect([again.controlnet, again.padPrompts]).toEqual([request.controlnet, true]);
    await page.getByRole("button", { name: "Remove ControlNet 1" }).click();
    await page.getByText("More settings").click();
    await page.getByLabel("Pad prompts to").uncheck();
  });

  test("learned words go into the prompt or the negative prompt, and act", async () => {
    await page.getByText("Learned words", { exact: true }).click();
    const inky = page.getByRole("button", { name: "inky", exact: true });
    const prompt = page.getByRole("textbox", { name: "Prompt", exact: true });
    await inky.click();
    expect(await prompt.inputValue()).toBe("a dog, inky");
    await opened.shot("learned-words");
    await inky.click();
    expect(await prompt.inputValue()).toBe("a dog");
    await page.getByRole("radio", { name: "Negative prompt" }).check();
    await inky.click();
    expect((await made()).parameters).toMatch(
      /^a dog\nNegative prompt: inky\n.*Hashes: "\{\\"embed:inky\\":/s,
    );
  });

  test("on a phone nothing is wider than the window, in Chinese as well", async () => {
    const context = await opened.browser.newContext({
      viewport: { width: 390, height: 844 },
      colorScheme: "dark",
      locale: "zh-CN",
    });
    const phone = await context.newPage();
    await phone.goto(opened.server.url);
    await phone.locator("summary").filter({ hasText: "ControlNet" }).click();
    await phone.locator("summary").filter({ hasText: "IP-Adapter" }).click();
    await phone.locator("summary").filter({ hasText: "Embedding" }).click();
    await phone.getByRole("button", { name: "edges" }).click();
    await phone.getByRole("button", { name: "plus" }).click();
    await phone.getByRole("group", { name: "IP-Adapter 1" }).waitFor();
    const wide = await phone.evaluate(() => {
      type Root = { clientWidth: number; scrollWidth: number };
      const { documentElement } = (globalThis as unknown as { document: { documentElement: Root } }).document;
      return documentElement.scrollWidth - documentElement.clientWidth;
    });
    expect(wide).toBe(0);
    await opened.shot("followed-phone", phone);
    await context.close();
    expect(opened.complaints.filter((line) => !line.startsWith("server: job"))).toEqual([]);
  });
});
