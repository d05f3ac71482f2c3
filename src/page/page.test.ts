import { readFile, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { encodePng } from "../index.js";
import { grey } from "../server/fixture.js";
import { type RunningServer, serve } from "../server/main.js";
import { browserPresent, type OpenedPage, openPage, shots } from "../testing/browser.js";
import { tabs } from "./tabs.js";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 });

describe.runIf(browserPresent)("the page in Chromium, with the default models", () => {
  let browser: Browser;
  let server: RunningServer;
  let page: Page;
  let folder: string;
  let opened: OpenedPage;
  /** What the browser complained about: refused scripts and styles, exceptions. */
  let complaints: string[];
  let log: OpenedPage["log"];

  beforeAll(async () => {
    opened = await openPage(["models/tiny-sd1"], (folder) => ({ models: join(folder, "models") }));
    ({ browser, server, page, folder, complaints, log } = opened);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  const open = (name: string) => opened.open(name);
  const shot = (name: string, of?: Page) => opened.shot(name, of);
  const generate = async (name = "Generate") => {
    // Each job has a card of its own: the former one stays until this one's is there.
    await page
      .locator(".result .card")
      .evaluateAll((cards) => cards.forEach((card) => void card.classList.add("former-card")));
    await page.locator("form").getByRole("button", { name, exact: true }).click();
    await page
      .locator(".result:not(.busy) .card:not(.former-card), #panel [role=alert]")
      .first()
      .waitFor({ timeout: 240_000 });
    expect(await page.locator("#panel").getByRole("alert").allTextContents()).toEqual([]);
  };
  const steps = (n: number) => page.getByRole("spinbutton", { name: "Sampling steps" }).fill(String(n));

  test("it is small, and asks nobody else for anything", async () => {
    const { size } = await stat(join(folder, "page", "page.js"));
    expect(size).toBeLessThan(150_000);
    const addresses = await page.evaluate(() =>
      performance.getEntriesByType("resource").map(({ name }) => name),
    );
    expect(
      addresses.filter((address) => !address.startsWith(server.url) && !address.startsWith("data:")),
    ).toEqual([]);
  });

  test("text to image: tokens are counted, a preview appears, then the picture with its seed", async () => {
    await page.getByLabel("Prompt", { exact: true }).fill("a dog with glasses");
    await page.getByText("4 / 75 tokens").waitFor();
    await steps(30);
    await page.getByRole("button", { name: "Generate" }).click();
    await page.locator("img.preview").waitFor({ timeout: 240_000 });
    await shot("text-preview");
    expect(await page.getByRole("progressbar", { name: "Progress" }).count()).toBe(1);
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await page.getByRole("status").filter({ hasText: "Cancelled." }).waitFor({ state: "attached" });
    await steps(3);
    await generate();
    const reuse = page.getByRole("button", { name: /^Reuse seed \d+/ });
    const seed = (await reuse.textContent())!.replace(/\D/g, "");
    // The press of the button leaves a field that was changed; what the click says then stays.
    await page.getByRole("spinbutton", { name: "Guidance scale" }).fill("3");
    await reuse.click({ delay: 50 });
    expect(await page.getByLabel("Seed", { exact: true }).inputValue()).toBe(seed);
    await page.waitForTimeout(200);
    expect(await page.getByText(`Seed ${seed} will be used.`).isVisible()).toBe(true);
    await page.getByText("Parameters").click();
    expect(await page.locator(".card pre").textContent()).toContain(`Seed: ${seed}`);
    await shot("text");
  });

  test("the picture is sent to image to image", async () => {
    await page.locator(".card").getByRole("button", { name: "Image to image" }).click();
    await page.locator("form img.source").waitFor();
    await steps(3);
    await generate();
    expect(await page.getByRole("slider", { name: "Before and after" }).count()).toBe(1);
    await shot("image");
  });

  test("inpaint: a mask is painted with the pointer and with keys, and undone", async () => {
    await open("Inpaint");
    await page.getByRole("button", { name: "Generate" }).click();
    expect(await page.locator("#panel").getByRole("alert").textContent()).toContain("Paint");
    const canvas = page.locator("canvas");
    await canvas.scrollIntoViewIfNeeded();
    const box = (await canvas.boundingBox())!;
    await page.mouse.move(box.x + 100, box.y + 100);
    await page.mouse.down();
    await page.mouse.move(box.x + 200, box.y + 120, { steps: 4 });
    await page.mouse.up();
    const painted = () =>
      canvas.evaluate((element) => {
        const { width, height } = element as unknown as { width: number; height: number };
        type Context = { getImageData(...box: number[]): { data: Uint8ClampedArray } };
        const context = (element as unknown as { getContext(kind: string): Context }).getContext("2d");
        return context.getImageData(0, 0, width, height).data.filter((value, i) => i % 4 === 3 && value > 0)
          .length;
      });
    const once = await painted();
    expect(once).toBeGreaterThan(100);
    await canvas.focus();
    for (const key of ["ArrowDown", "ArrowDown", "ArrowRight", "Space"]) await canvas.press(key);
    expect(await painted()).toBeGreaterThan(once);
    await canvas.press("Control+z");
    await page.getByRole("button", { name: "Eraser" }).focus();
    expect(await painted()).toBe(once);
    await shot("mask");
    await steps(3);
    await generate();
    await shot("inpaint");
  });

  test("outpaint: a side is pulled with the pointer and with keys", async () => {
    await open("Outpaint");
    const right = page.getByRole("slider", { name: "Pixels to add: Right" });
    const value = async () => Number(await right.getAttribute("aria-valuenow"));
    const before = await value();
    await right.press("ArrowRight");
    expect(await value()).toBe(before + 8);
    await right.scrollIntoViewIfNeeded();
    const box = (await right.boundingBox())!;
    await page.mouse.move(box.x + 5, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x - 25, box.y + 20, { steps: 3 });
    await page.mouse.up();
    expect(await value()).toBeLessThan(before + 8);
    await steps(3);
    await generate();
    await shot("outpaint");
  });

  test("upscale and unconditional", async () => {
    await open("Upscale");
    await generate("Upscale");
    await shot("upscale");
    await open("Unconditional");
    await page.getByLabel("Scheduler", { exact: true }).selectOption("ddim");
    await steps(3);
    await generate();
    await shot("unconditional");
  });

  test("on a phone the preview comes into view", async () => {
    const viewport = { width: 390, height: 844 };
    const phone = await browser.newPage({ viewport, locale: "en-GB" });
    await phone.goto(server.url);
    await phone.getByLabel("Prompt", { exact: true }).fill("a strawberry");
    const seed = (await phone.getByLabel("Seed", { exact: true }).boundingBox())!;
    expect(seed.width).toBeGreaterThan(100);
    await phone.getByRole("button", { name: "Generate" }).click();
    await phone.locator("img.preview").waitFor({ timeout: 240_000 });
    const { y, height } = (await phone.locator("img.preview").boundingBox())!;
    expect([y >= 0, y + height <= viewport.height]).toEqual([true, true]);
    await shot("phone-preview", phone);
    await phone.getByRole("button", { name: "Cancel", exact: true }).click();
    await phone.getByRole("status").filter({ hasText: "Cancelled." }).waitFor({ state: "attached" });
    await phone.close();
  });

  test("a PNG that is dropped restores every setting", async () => {
    await open("Text to image");
    const parameters =
      "a red car\nNegative prompt: snow\nSteps: 7, Sampler: Euler a, Schedule type: Karras, CFG scale: 3.5, Seed: 99, Size: 128x64, Clip skip: 2, Model: emoji-diffusion-256, RNG: NV";
    const bytes = [...encodePng(grey(8, 8), { parameters })];
    const transfer = await page.evaluateHandle((bytes) => {
      const global = globalThis as unknown as {
        DataTransfer: new () => { items: { add(file: File): void } };
      };
      const data = new global.DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "x.png", { type: "image/png" }));
      return data;
    }, bytes);
    await page.dispatchEvent("main", "drop", { dataTransfer: transfer });
    await page.getByText("Settings restored.").waitFor();
    const value = (name: string) => page.getByLabel(name, { exact: true }).first().inputValue();
    expect(await value("Prompt")).toBe("a red car");
    expect(await value("Negative prompt")).toBe("snow");
    expect(await value("Sampling steps")).toBe("7");
    expect(await value("Guidance scale")).toBe("3.5");
    expect(await value("Seed")).toBe("99");
    expect([await value("Width"), await value("Height")]).toEqual(["128", "64"]);
    expect([await value("Scheduler"), await value("Schedule type")]).toEqual(["euler_a", "karras"]);
    expect(await value("Random numbers of")).toBe("philox");
    expect(await value("Text encoder layers to skip")).toBe("1");
  });

  test("a second pass and a variation are in the picture's parameters, and come back with them", async () => {
    await open("Text to image");
    await page.getByText("Hires fix").click();
    await page.getByLabel("Second pass at a larger size").check();
    await page.getByRole("spinbutton", { name: "Enlarge by" }).fill("1.5");
    await page.getByRole("spinbutton", { name: "Steps of the second pass" }).fill("2");
    await page.getByText("More settings").click();
    await page.getByRole("spinbutton", { name: "Variation strength" }).fill("0.3");
    await page.getByLabel("Variation seed").fill("77");
    await page.getByRole("spinbutton", { name: "Guidance rescale" }).fill("0.5");
    await steps(3);
    await generate();
    await page.locator(".card").getByText("Parameters").click();
    const parameters = await page.locator(".card pre").textContent();
    for (const said of [
      "Size: 128x64",
      "Hires upscale: 1.5, Hires upscaler: Latent, Hires steps: 2",
      "Variation seed: 77, Variation seed strength: 0.3",
      "Guidance rescale: 0.5",
    ])
      expect(parameters).toContain(said);
    await shot("hires");
    await page.getByLabel("Second pass at a larger size").uncheck();
    await page.getByRole("spinbutton", { name: "Variation strength" }).fill("0");
    await page.getByRole("spinbutton", { name: "Guidance rescale" }).fill("0");
    await page.getByRole("button", { name: "Use these settings" }).click();
    await page.getByText("Settings restored.").waitFor();
    expect(await page.getByLabel("Second pass at a larger size").isChecked()).toBe(true);
    expect(await page.getByRole("spinbutton", { name: "Variation strength" }).inputValue()).toBe("0.3");
    expect(await page.getByRole("spinbutton", { name: "Enlarge by" }).inputValue()).toBe("1.5");
    await page.getByLabel("Second pass at a larger size").uncheck();
    await page.getByRole("spinbutton", { name: "Variation strength" }).fill("0");
    await page.getByRole("spinbutton", { name: "Guidance rescale" }).fill("0");
  });

  test("an X/Y grid: a table of pictures, each with its own settings", async () => {
    await page.getByText("X/Y grid").click();
    await page.getByLabel("Columns", { exact: true }).selectOption("Sampling steps");
    await page.getByRole("button", { name: "Generate" }).click();
    await page.getByText("Type the values of the grid first.").waitFor();
    await page.getByLabel("Columns: values").fill("1, 2, 3");
    await page.getByLabel("Rows", { exact: true }).selectOption("Seed");
    await page.getByLabel("Rows: values").fill("5, 6");
    await page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
    const grid = page.getByRole("region", { name: "X/Y grid" });
    await grid.waitFor({ timeout: 240_000 });
    expect(await grid.getByRole("columnheader").allTextContents()).toEqual(
      [1, 2, 3].map((steps) => `Sampling steps ${steps}`),
    );
    expect(await grid.getByRole("img").count()).toBe(6);
    await grid.getByRole("img", { name: "Sampling steps 3, Seed 6" }).click();
    await page.locator(".card").getByText("Parameters").click();
    expect(await page.locator(".card pre").textContent()).toMatch(/Steps: 3, .*Seed: 6,/);
    await shot("grid");
    const whole = await page.getByRole("link", { name: "Download the grid" }).getAttribute("href");
    expect((await page.request.get(server.url + whole)).headers()["content-type"]).toBe("image/png");
    await page.getByRole("button", { name: "Use these settings" }).click();
    await page.getByText("Settings restored.").waitFor();
    expect(await page.getByLabel("Seed", { exact: true }).inputValue()).toBe("6");
    expect(await page.getByRole("spinbutton", { name: "Sampling steps" }).inputValue()).toBe("3");
    expect(await page.getByLabel("Columns", { exact: true }).inputValue()).toBe("");
  });

  test("the history shows a grid over an option that no form has", async () => {
    const grid = { x: { option: "eta", values: [0, 0.5] } };
    const data = { prompt: "a dog", steps: 1, scheduler: "ddim", seed: 1, grid };
    const { id } = await (await page.request.post(`${server.url}/jobs`, { data })).json();
    await page.request.get(`${server.url}/jobs/${id}/events`);
    await open("History");
    await page.locator(".gallery .thumbnail").first().click();
    await page.keyboard.press("i");
    const headers = page.getByRole("region", { name: "X/Y grid" }).getByRole("columnheader");
    expect(await headers.allTextContents()).toEqual(["eta 0", "eta 0.5"]);
    await page.getByRole("button", { name: "Close" }).click();
    await open("Text to image");
  });

  test("another size: the three resize modes mean what they mean in the HTTP API", async () => {
    const wide = encodePng(grey(96, 48));
    const value = (name: string) => page.getByLabel(name, { exact: true }).inputValue();
    await open("Text to image");
    await page.getByLabel("Switch option").selectOption("tiny-sd1 CPU FP32");
    const ofText = [await value("Width"), await value("Height")];
    await open("Image to image");
    await page
      .locator(".picture-input input")
      .setInputFiles({ name: "wide.png", mimeType: "image/png", buffer: Buffer.from(wide) });
    const own = page.getByRole("button", { name: "Own size" });
    await page.getByText("96 × 48").waitFor();
    if (await own.count()) await own.click();
    expect([await value("Width"), await value("Height"), await own.count()]).toEqual(["96", "48", 0]);
    await steps(2);
    for (const name of ["Width", "Height"]) await page.getByRole("spinbutton", { name }).fill("64");
    for (const [resize_mode, name] of ["Just resize", "Crop and resize", "Resize and fill"].entries()) {
      await page.getByLabel("Resize mode").selectOption(name);
      await generate();
      const size = { width: 64, height: 64 };
      const body = { prompt: "x", steps: 2, ...size, init_images: [Buffer.from(wide).toString("base64")] };
      const data = { ...body, resize_mode, override_settings: { sd_model_checkpoint: "tiny-sd1" } };
      expect((await page.request.post(`${server.url}/sdapi/v1/img2img`, { data })).status()).toBe(200);
      const { jobs } = await (await page.request.get(`${server.url}/jobs?limit=2`)).json();
      const [theirs, ours] = jobs.map(({ request, result }: { request: object; result: object }) => {
        const { width, height, resizeMode } = request as Record<string, unknown>;
        return { width, height, resizeMode, result: { ...result, images: undefined, ms: undefined } };
      });
      expect(ours).toEqual(theirs);
      expect(ours).toMatchObject({ ...size, resizeMode: ["stretch", "crop", "fill"][resize_mode] });
    }
    await shot("resized");
    await own.click();
    await page.getByLabel("Resize mode").selectOption("Just resize");
    await page.getByRole("button", { name: "Use these settings" }).click();
    await page.getByText("Settings restored.").waitFor();
    expect([await value("Width"), await value("Height")]).toEqual(["64", "64"]);
    expect(await value("Resize mode")).toBe("fill");
    await open("Inpaint");
    expect(await value("Resize mode")).toBe("fill");
    await page.getByLabel("Only masked").check();
    expect(await page.getByLabel("Resize mode").count()).toBe(0);
    await page.getByLabel("Only masked").uncheck();
    await own.click();
    // The forms have each their own size.
    await open("Text to image");
    expect([await value("Width"), await value("Height")]).toEqual(ofText);
    await page.getByLabel("Switch option").selectOption("emoji-diffusion-256 CPU FP32");
  });

  test("errors are shown in words", async () => {
    await open("Text to image");
    await page.getByRole("spinbutton", { name: "Width" }).fill("100");
    await page.getByRole("button", { name: "Generate" }).click();
    const alert = page.locator("#panel").getByRole("alert");
    await alert.waitFor();
    expect(await alert.textContent()).toMatch(/width must be a multiple of 8.*96 or 104/);
    await page.getByRole("spinbutton", { name: "Width" }).fill("128");
  });

  test("optimize model: the result is on the list, also after a restart; history is still there", async () => {
    await open("Optimize model");
    await page.getByLabel("Model", { exact: true }).selectOption("butterflies-64");
    await page.getByRole("radio", { name: "CPU FP16" }).check();
    await page.getByRole("button", { name: "Optimize Model", exact: true }).click();
    await page.getByText('"butterflies-64 CPU FP16" is on the list').waitFor({ timeout: 240_000 });
    await shot("optimize");
    const { port } = new URL(server.url);
    await server.close();
    server = await serve({
      port: Number(port),
      dataDir: join(folder, "data"),
      page: join(folder, "page"),
      graceMs: 0,
      log,
    });
    await page.reload();
    await open("Models");
    await page.getByText("butterflies-64 CPU FP16").waitFor();
    await shot("models");
    await open("Unconditional");
    await page.getByLabel("Switch option").selectOption("butterflies-64 CPU FP16");
    await open("History");
    await page.locator(".gallery li").nth(5).waitFor();
    await shot("history");
    // What was painted comes back with its settings, in the form that it was made with.
    await page.locator("button.thumbnail").first().click();
    await page.keyboard.press("i");
    const parameters = page.locator(".viewer pre");
    await parameters.waitFor();
    const painted = async () => {
      const text = (await parameters.textContent()) ?? "";
      return text.includes("Mask blur") && !text.includes("Outpaint");
    };
    while (!(await painted())) await page.getByRole("button", { name: "Next picture" }).click();
    await page.getByRole("button", { name: "Use these settings" }).click();
    await page.getByRole("tab", { name: "Inpaint", selected: true }).waitFor();
    await page.getByRole("button", { name: "Undo" }).and(page.locator(":enabled")).waitFor();
    await open("History");
    await page.locator("button.thumbnail").nth(1).waitFor();
    const entries = await page.locator(".gallery li").count();
    await page.locator("button.thumbnail").nth(1).click();
    await page.keyboard.press("Delete");
    await page.keyboard.press("Escape");
    await expect.poll(() => page.locator(".gallery li").count()).toBe(entries - 1);
  });

  test("tabs move with the arrow keys", async () => {
    await open("Text to image");
    const selected = () => page.getByRole("tab", { selected: true }).textContent();
    await page.keyboard.press("ArrowRight");
    await expect.poll(selected).toBe("Image to image");
    await page.keyboard.press("End");
    await expect.poll(selected).toBe("History");
  });

  test.each([
    ["desktop", { width: 1280, height: 900 }, "light", "en-GB"],
    ["phone", { width: 390, height: 844 }, "dark", "zh-CN"],
  ] as const)(
    "axe finds nothing of any level, and nothing is wider than the window: %s",
    async (name, viewport, colorScheme, locale) => {
      const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
      // The page's own policy would forbid the checker's script.
      const context = await browser.newContext({ viewport, colorScheme, locale, bypassCSP: true });
      const looked = await context.newPage();
      await looked.goto(server.url);
      await looked.setInputFiles('input[type="file"]', {
        name: "x.png",
        mimeType: "image/png",
        buffer: Buffer.from(encodePng(grey(64, 64))),
      });
      for (const tab of tabs) {
        await looked.goto(`${server.url}/#${tab}`);
        await looked.locator(`#tab-${tab}[aria-selected=true]`).waitFor();
        const picture = looked.locator(".picture-input input");
        if (await picture.count())
          await picture.setInputFiles({
            name: "x.png",
            mimeType: "image/png",
            buffer: Buffer.from(encodePng(grey(64, 64))),
          });
        await looked.waitForTimeout(200);
        await looked.evaluate(axe);
        const violations = await looked.evaluate(async () => {
          type Result = { violations: { id: string; impact: string; nodes: { html: string }[] }[] };
          const { axe } = globalThis as unknown as { axe: { run(): Promise<Result> } };
          return (await axe.run()).violations.map(({ id, impact, nodes }) => [id, impact, nodes[0]?.html]);
        });
        expect([tab, violations]).toEqual([tab, []]);
        const [inner, scroll] = await looked.evaluate(() => {
          type Root = { clientWidth: number; scrollWidth: number };
          const { documentElement } = (globalThis as unknown as { document: { documentElement: Root } })
            .document;
          return [documentElement.clientWidth, documentElement.scrollWidth];
        });
        expect([tab, scroll]).toEqual([tab, inner]);
        await shot(`${name}-${tab}`, looked);
      }
      await context.close();
    },
  );

  test("the browser had nothing to complain about", async () => {
    await writeFile(join(shots, "complaints.txt"), complaints.join("\n"));
    // A restart of the server in between cuts a request or two; the server's log also tells of each job's start and end.
    const expected =
      /ERR_CONNECTION_REFUSED|status of 400|BAD_OPTION|^server: job .*(: started|(completed|cancelled|failed) after [\d.]+ s)$/;
    expect(complaints.filter((line) => !expected.test(line))).toEqual([]);
  });
});
