import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { encodePng } from "../index.js";
import { grey } from "../server/fixture.js";
import { browserPresent, type OpenedPage, openPage } from "../testing/browser.js";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

describe.runIf(browserPresent)("what the forms hold", () => {
  let opened: OpenedPage;
  /** Bodies of the jobs that were sent; none of them runs. */
  const sent: Record<string, unknown>[] = [];
  beforeAll(async () => {
    opened = await openPage(["models/tiny-sd1"], (folder) => ({ models: `${folder}/models` }));
    await opened.page.route("**/jobs", async (route) => {
      if (route.request().method() !== "POST") return route.continue();
      sent.push(route.request().postDataJSON());
      await route.fulfill({ status: 400, json: { error: { message: "not now" } } });
    });
  });
  afterAll(() => opened?.close());

  const number = (name: string) => opened.page.getByRole("spinbutton", { name, exact: true });
  const labelled = (name: string) => opened.page.getByLabel(name, { exact: true });
  const generate = async (): Promise<Record<string, unknown>> => {
    const before = sent.length;
    await opened.page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
    await expect.poll(() => sent.length).toBe(before + 1);
    return sent.at(-1)!;
  };
  const drop = async (parameters: string) => {
    const bytes = [...encodePng(grey(8, 8), { parameters })];
    const transfer = await opened.page.evaluateHandle((bytes) => {
      const global = globalThis as unknown as {
        DataTransfer: new () => { items: { add(file: File): void } };
      };
      const data = new global.DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "x.png", { type: "image/png" }));
      return data;
    }, bytes);
    await opened.page.dispatchEvent("main", "drop", { dataTransfer: transfer });
  };

  test("tabs keep their own steps, scheduler, count and variation; each begins with the model's own", async () => {
    const { page } = opened;
    await labelled("Prompt").fill("a dog");
    const own = { steps: await number("Sampling steps").inputValue() };
    expect(await generate()).not.toHaveProperty("steps");
    await number("Sampling steps").fill("7");
    await labelled("Scheduler").selectOption("euler");
    await number("Pictures").fill("3");
    await page.getByText("More settings").click();
    await number("Variation strength").fill("0.3");
    expect(await generate()).toMatchObject({
      ...{ prompt: "a dog", steps: 7, scheduler: "euler", count: 3, variation: { strength: 0.3 } },
    });
    await opened.open("Image to image");
    expect(await labelled("Prompt").inputValue()).toBe("a dog");
    expect(await number("Sampling steps").inputValue()).toBe(own.steps);
    expect([await labelled("Scheduler").inputValue(), await number("Pictures").inputValue()]).toEqual([
      "",
      "1",
    ]);
    await number("Sampling steps").fill("9");
    await opened.open("Unconditional");
    // As butterflies-64 was drawn with in training.
    expect(await number("Sampling steps").inputValue()).toBe("250");
    const body = await generate();
    expect(body).not.toHaveProperty("steps");
    expect(body).not.toHaveProperty("scheduler");
    expect(await labelled("Scheduler").locator("option:checked").textContent()).toContain("DDPM");
    await opened.open("Text to image");
    expect(await number("Sampling steps").inputValue()).toBe("7");
    expect(await number("Pictures").inputValue()).toBe("3");
    await page.reload();
    await expect.poll(() => number("Sampling steps").inputValue()).toBe("7");
    await opened.open("Image to image");
    expect(await number("Sampling steps").inputValue()).toBe("9");
  });

  test("each form on a picture begins with the library's own strength, and keeps its own", async () => {
    const { page } = opened;
    const strength = number("Denoising strength");
    const picture = { name: "x.png", mimeType: "image/png", buffer: Buffer.from(encodePng(grey(64, 64))) };
    await opened.open("Image to image");
    await page.locator(".picture-input input").setInputFiles(picture);
    expect(await strength.inputValue()).toBe("0.8");
    expect(await generate()).not.toHaveProperty("strength");
    await strength.fill("0.3");
    expect(await generate()).toMatchObject({ strength: 0.3 });
    // A mask is painted anew from noise, not from what lies under it.
    await opened.open("Inpaint");
    expect(await strength.inputValue()).toBe("1");
    await opened.open("Outpaint");
    expect(await strength.inputValue()).toBe("0.7");
    expect(await generate()).not.toHaveProperty("strength");
    await strength.fill("0.5");
    expect(await generate()).toMatchObject({ strength: 0.5, expand: { left: 64 } });
    await opened.open("Image to image");
    expect(await strength.inputValue()).toBe("0.3");
    await page.getByRole("button", { name: "Remove picture" }).click();
  });

  test("no scheduler is shown under a raw name", async () => {
    const labels = await labelled("Scheduler").locator("option").allTextContents();
    expect(labels.length).toBeGreaterThan(20);
    expect(labels.filter((label) => /_|^[a-z]{3,}$/.test(label))).toEqual([]);
  });

  test("a network that is loaded or prepared is called by what it is for", async () => {
    const { page } = opened;
    let phase = { what: "unet", done: 1, total: 4 };
    await page.route("**/models", async (route) => {
      const answer = await route.fetch();
      const list = (await answer.json()) as { models: { state: object }[] };
      list.models[0]!.state = { status: "loading", phase };
      const preparation = { id: "x", name: "x", precision: "fp16", status: "running", log: [], phase };
      await route.fulfill({ response: answer, json: { ...list, preparation } });
    });
    await opened.open("Models");
    await page.getByText("loading (network that draws, 25 %)").waitFor();
    phase = { what: "all", done: 1, total: 1 };
    await page.getByText(/· loading$/).waitFor();
    phase = { what: "unet", done: 1, total: 4 };
    await opened.open("Optimize model");
    await page.locator(".progress").getByText("network that draws", { exact: true }).waitFor();
    await page.unroute("**/models");
    await opened.open("Models");
    await page.getByText("· loading").waitFor({ state: "detached" });
    await opened.open("Text to image");
  });

  test("a seed: -1 and nothing are drawn, what is none is refused in the field, a kept one is seen and thrown away by a dice", async () => {
    const { page } = opened;
    await opened.open("Text to image");
    const seed = labelled("Seed");
    const dice = page.getByRole("button", { name: "Random seed" }).first();
    for (const drawn of ["", "-1"]) {
      await seed.fill(drawn);
      expect(await generate()).not.toHaveProperty("seed");
      expect(await dice.isDisabled()).toBe(true);
    }
    await seed.fill("12.5");
    expect(await seed.getAttribute("aria-invalid")).toBe("true");
    const before = sent.length;
    await page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
    await page.getByRole("alert").filter({ hasText: "whole number" }).waitFor();
    expect(sent.length).toBe(before);
    await seed.fill("42");
    await page.getByText("kept: the same picture each time").waitFor();
    expect(await page.getByRole("alert").filter({ hasText: "whole number" }).count()).toBe(0);
    expect(await generate()).toMatchObject({ seed: "42" });
    await dice.click();
    expect(await seed.inputValue()).toBe("");
  });

  test("shapes have the model's pixels; sides are swapped and locked; the size is said in words", async () => {
    const { page } = opened;
    await page.getByText("256 × 256, 1:1").waitFor();
    await page.getByRole("button", { name: "3:2", exact: true }).click();
    expect([await number("Width").inputValue(), await number("Height").inputValue()]).toEqual(["288", "192"]);
    await page.getByText("288 × 192, 3:2").waitFor();
    await page.getByRole("button", { name: "Swap width and height" }).click();
    await page.getByText("192 × 288, 2:3").waitFor();
    await page.getByRole("button", { name: "Keep the shape" }).click();
    await number("Width").fill("256");
    await number("Width").blur();
    await page.getByText("256 × 384, 2:3").waitFor();
    expect(await generate()).toMatchObject({ width: 256, height: 384 });
    await number("Width").fill("512");
    await number("Width").blur();
    await page.getByText("times the model's own size").waitFor();
    await page.getByRole("button", { name: "Keep the shape" }).click();
    await page.getByRole("button", { name: "1:1", exact: true }).click();
    await opened.shot("sizes");
  });

  test("one shape is pressed at most, also of a model of 64 x 64, whose sides may be smaller", async () => {
    const { page } = opened;
    const model = labelled("Switch option");
    const large = await model.inputValue();
    await model.selectOption({ label: "tiny-sd1 CPU FP32" });
    const pressed = page.locator(".shape[aria-pressed=true]");
    await page.locator(".shape").nth(1).click();
    for (const shape of await page.locator(".shape").all()) {
      await shape.click();
      expect(await pressed.allTextContents()).toEqual([await shape.textContent()]);
      const [width, height] = (await shape.getAttribute("title"))!.split(" × ");
      expect([await number("Width").inputValue(), await number("Height").inputValue()]).toEqual([
        width,
        height,
      ]);
      expect(await generate()).toMatchObject({ width: Number(width), height: Number(height) });
    }
    // What is typed is as free as what a button says.
    await number("Height").fill("48");
    await number("Height").blur();
    expect(await number("Height").inputValue()).toBe("48");
    await model.selectOption(large);
    await page.getByRole("button", { name: "1:1", exact: true }).click();
  });

  test("messages go when their cause goes", async () => {
    const { page } = opened;
    await opened.open("Image to image");
    await page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
    const missing = page.getByRole("alert").filter({ hasText: "Choose a picture first." });
    await missing.waitFor();
    const buffer = Buffer.from(encodePng(grey(64, 64)));
    await page
      .locator(".picture-input input")
      .setInputFiles({ name: "x.png", mimeType: "image/png", buffer });
    await expect.poll(() => missing.count()).toBe(0);
    await generate();
    const refused = page.getByRole("alert").filter({ hasText: "not now" });
    await refused.waitFor();
    await number("Sampling steps").fill("5");
    await number("Sampling steps").blur();
    await expect.poll(() => refused.count()).toBe(0);
  });

  test("a hires picture that is dropped restores as it was made, in its own tab", async () => {
    const { page } = opened;
    await opened.open("History");
    await drop(
      "a cat\nSteps: 6, Sampler: Euler a, CFG scale: 4, Seed: 5, Size: 128x64, Model: emoji-diffusion-256, Denoising strength: 0.6, RNG: CPU, Hires resize: 256x128, Hires upscaler: emoji-x4-compact, Hires steps: 4, Version: tfjs-diffusion 0.1.0",
    );
    await page.getByText("Settings restored.").waitFor();
    await page.getByRole("tab", { name: "Text to image", selected: true }).waitFor();
    expect(await generate()).toMatchObject({
      ...{ prompt: "a cat", steps: 6, guidance: 4, seed: "5", width: 128, height: 64, scheduler: "euler_a" },
      // A size that the text says stays a size: it is not the factor that would come to it.
      hires: { width: 256, height: 128, strength: 0.6, steps: 4, upscaler: "emoji-x4-compact" },
    });
  });

  test("a picture of inpainting says that picture and mask are missing, and opens its tab", async () => {
    const { page } = opened;
    await drop(
      "a hat\nSteps: 8, Sampler: Euler, CFG scale: 4, Seed: 5, Size: 256x256, Model: emoji-diffusion-256, Denoising strength: 0.8, Mask blur: 3, Masked content: fill, RNG: CPU, Version: tfjs-diffusion 0.1.0",
    );
    await page.getByRole("tab", { name: "Inpaint", selected: true }).waitFor();
    await page.getByText("The picture and the mask that it was made from are not in it").waitFor();
    expect(await number("Sampling steps").inputValue()).toBe("8");
    expect(await number("Mask blur").inputValue()).toBe("3");
    await drop(
      "sea\nSteps: 8, Sampler: Euler, Seed: 5, Size: 320x256, Denoising strength: 1, Outpaint: 64 0 0 0, Mask blur: 8",
    );
    await page.getByRole("tab", { name: "Outpaint", selected: true }).waitFor();
    await page.getByText("The picture that it was made from is not in it").waitFor();
  });

  test("a picture that was only enlarged has nothing to restore: the prompt stays", async () => {
    const { page } = opened;
    await opened.open("Text to image");
    await page.getByLabel("Prompt", { exact: true }).fill("a dog");
    const parameters = "Postprocess upscaler: emoji-x4-compact, Size: 256x256, Version: tfjs-diffusion 0.1.0";
    const buffer = Buffer.from(encodePng(grey(8, 8), { parameters }));
    await page
      .locator('input[aria-label="Restore settings from a PNG"]')
      .setInputFiles({ name: "x.png", mimeType: "image/png", buffer });
    await page.getByText("This picture carries no settings.").waitFor();
    expect(await page.getByLabel("Prompt", { exact: true }).inputValue()).toBe("a dog");
  });

  test("all settings are reset at once, and the reset is undone", async () => {
    const { page } = opened;
    await opened.open("Text to image");
    await number("Sampling steps").fill("11");
    await labelled("Prompt").fill("kept");
    await page.getByRole("button", { name: "Reset all settings" }).click();
    expect(await number("Sampling steps").inputValue()).not.toBe("11");
    expect(await labelled("Prompt").inputValue()).toBe("kept");
    expect(await generate()).toEqual({
      ...{
        model: "emoji-diffusion-256 CPU FP32",
        prompt: "kept",
        promptSyntax: "a1111",
        count: 1,
        rng: "torch",
      },
    });
    await page.getByRole("button", { name: "Undo the reset" }).click();
    expect(await number("Sampling steps").inputValue()).toBe("11");
    await page.getByRole("button", { name: "Reset all settings" }).click();
  });

  test("the open tab is marked in forced colours, too", async () => {
    const { page } = opened;
    await page.emulateMedia({ forcedColors: "active" });
    const colour = (selected: boolean) =>
      page
        .locator(`.tabs button[aria-selected=${selected}]`)
        .first()
        .evaluate(
          (element) =>
            (
              globalThis as unknown as { getComputedStyle(of: unknown): { backgroundColor: string } }
            ).getComputedStyle(element).backgroundColor,
        );
    expect(await colour(true)).not.toBe(await colour(false));
    await page.emulateMedia({ forcedColors: "none" });
  });
});
