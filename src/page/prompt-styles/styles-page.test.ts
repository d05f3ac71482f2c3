import { mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { encodePng } from "../../index.js";
import { grey } from "../../server/fixture.js";
import { browserPresent, type OpenedPage, openPage } from "../../testing/browser.js";
import { startHub, type TestHub } from "../../testing/hub-server.js";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

describe.runIf(browserPresent)("styles, wildcards, LoRAs and models on the page", () => {
  let opened: OpenedPage;
  let page: Page;
  let hub: TestHub;
  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), "styles-"));
    await writeFile(
      join(folder, "styles.csv"),
      'name,prompt,negative_prompt\nServed,"{prompt}, of the file",dull\n',
    );
    for (const name of ["lists", "loras"]) await mkdir(join(folder, name));
    await writeFile(join(folder, "lists", "colour.txt"), "red\ngreen\n");
    await writeFile(join(folder, "loras", "toy.safetensors"), "");
    await writeFile(join(folder, "loras", "toy.png"), encodePng(grey(64, 64)));
    hub = await startHub({
      "somebody/paintings": {
        files: {},
        tags: ["diffusers", "text-to-image", "license:other", "region:us"],
        card: { license: "other", license_name: "my-licence", license_link: "https://example.org/licence" },
      },
      "SimianLuo/LCM_Dreamshaper_v7": {
        files: {},
        tags: ["text-to-image", "license:mit", "region:us"],
        card: { license: "mit" },
      },
      "somebody/gated": { files: {}, gated: true, tags: ["license:mit"] },
    });
    process.env.HF_ENDPOINT = hub.url;
    opened = await openPage(["models/tiny-sd1"], (own) => ({
      models: join(own, "models"),
      model: join(own, "models", "tiny-sd1"),
      styles: join(folder, "styles.csv"),
      wildcards: join(folder, "lists"),
      loraDir: join(folder, "loras"),
    }));
    ({ page } = opened);
    await page.getByRole("spinbutton", { name: "Width" }).fill("64");
    await page.getByRole("spinbutton", { name: "Height" }).fill("64");
    await page.getByRole("spinbutton", { name: "Sampling steps" }).fill("2");
  });
  afterAll(async () => {
    delete process.env.HF_ENDPOINT;
    await opened?.close();
    await hub?.close();
  });

  const parameters = async () => {
    await page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
    await page
      .locator(".result")
      .getByText(/× .* s$/)
      .waitFor({ timeout: 100_000 });
    await page.locator(".card details").getByText("Parameters").click();
    return (await page.locator(".card pre").textContent())!;
  };

  test("several styles lie around the prompt; what is sent is shown, and stands in the picture", async () => {
    await page.getByLabel("Prompt", { exact: true }).fill("a dog");
    await page.getByText("Styles", { exact: true }).click();
    await page.getByRole("button", { name: "Watercolour" }).click();
    await page.getByRole("button", { name: "Served", exact: true }).click();
    const sent = "watercolor painting of a dog, soft washes, paper texture, of the file";
    await page.locator(".sent").getByText(sent).waitFor();
    await opened.shot("styles");
    expect(await parameters()).toMatch(new RegExp(`^${sent}\nNegative prompt: photo, 3d render, dull\n`));
    // What comes back has the words already: no style is laid around it again.
    await page.getByRole("button", { name: "Use these settings" }).click();
    await page.getByText("Settings restored.").waitFor();
    expect(await page.getByLabel("Prompt", { exact: true }).inputValue()).toBe(sent);
    expect(await page.getByRole("button", { name: "Watercolour", pressed: true }).count()).toBe(0);
  });

  test("a style is saved, and all are written as the web UI's CSV, which is read back", async () => {
    await page.getByLabel("Prompt", { exact: true }).fill("{prompt}, mine");
    await page.getByLabel("Name of a new style").fill("Mine");
    await page.getByRole("button", { name: "Save the prompts" }).click();
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Write styles.csv" }).click();
    const csv = await readFile(await (await download).path(), "utf8");
    expect(csv).toMatch(/^\ufeffname,prompt,negative_prompt\r\n/);
    expect(csv).toContain('Mine,"{prompt}, mine"');
    await page.setInputFiles('input[accept="text/csv,.csv"]', {
      name: "styles.csv",
      mimeType: "text/csv",
      buffer: Buffer.from("name,prompt,negative_prompt\nRead,words,\n"),
    });
    await page.getByText("1 styles were read.").waitFor();
    await page.getByRole("button", { name: "Read", exact: true }).waitFor();
  });

  test("wildcards are drawn, and written out in the parameters", async () => {
    await page.getByLabel("Prompt", { exact: true }).fill("a __colour__ {cat|dog}");
    await page.getByLabel("Negative prompt").fill("");
    await page.getByText("What is open is drawn anew for each picture, by its seed.").waitFor();
    const before = await page.locator(".card img").getAttribute("src");
    await page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
    await page.locator(`.now .card img:not([src="${before}"])`).waitFor({ timeout: 100_000 });
    await page.locator(".card details").getByText("Parameters").click();
    expect(await page.locator(".card pre").textContent()).toMatch(/^a (red|green) (cat|dog)\n/);
  });

  test("a LoRA is put into the prompt by the picture beside it", async () => {
    await page.getByLabel("Prompt", { exact: true }).fill("a dog");
    await page.getByText("LoRA", { exact: true }).click();
    const toy = page.getByRole("button", { name: "toy" });
    await expect
      .poll(() =>
        toy.locator("img").evaluate((image) => (image as unknown as { naturalWidth: number }).naturalWidth),
      )
      .toBe(64);
    await toy.click();
    expect(await page.getByLabel("Prompt", { exact: true }).inputValue()).toBe("a dog <lora:toy:1>");
    await toy.click();
    expect(await page.getByLabel("Prompt", { exact: true }).inputValue()).toBe("a dog");
    await page.getByLabel("Prompt", { exact: true }).fill("一只狗");
    await page.getByText("The model was trained on English").waitFor();
  });

  test("the models that can be added say what they are, how large, and under which licence", async () => {
    await opened.open("Models");
    await page.getByText("What is here, and what can be added").click();
    await page
      .getByText("2.1 GB to download · about 4 GB of memory at 512 × 512 · Licence: CreativeML OpenRAIL-M")
      .waitFor();
    expect(await page.getByRole("button", { name: /^Download and prepare: / }).count()).toBe(3);
    // The hub is asked only about the one that is opened.
    await page.locator("summary", { hasText: "Tags and licence on the hub" }).nth(1).click();
    const suggested = page.getByRole("region", { name: "SimianLuo/LCM_Dreamshaper_v7" });
    await suggested.getByText("Licence: mit").waitFor();
    expect(await suggested.getByRole("listitem").allTextContents()).toEqual(["text-to-image"]);
    expect(await page.locator(".hub-card").count()).toBe(1);
    await page.getByLabel("Another model of the hub").fill("somebody/paintings");
    const card = page.getByRole("region", { name: "somebody/paintings" });
    await card.getByText("Licence: my-licence").waitFor();
    expect(await card.getByRole("link").getAttribute("href")).toBe("https://example.org/licence");
    expect(await card.getByRole("listitem").allTextContents()).toEqual(["diffusers", "text-to-image"]);
    await page.getByLabel("Another model of the hub").fill("somebody/nothing");
    await page.getByRole("alert").filter({ hasText: "somebody/nothing" }).waitFor();
    await opened.shot("models-hub");
    await opened.open("Optimize model");
    await page.getByLabel("Model", { exact: true }).selectOption("another one: hub name");
    await page.getByLabel("Hub name (owner/name)").fill("somebody/gated");
    const gated = page.getByRole("region", { name: "somebody/gated" });
    await gated.getByText("Licence: mit").waitFor();
    await gated.getByText(/gated ones: accept the conditions/).waitFor();
    await opened.open("Upscale");
    const names = await page.getByLabel("Upscaler").locator("option").allTextContents();
    expect(names.slice(-2)).toEqual(["Lanczos", "Nearest"]);
    expect(names[0]).toBe("emoji-x4-compact");
    // The hub's refusal is one of the page's answers.
    expect(opened.complaints.filter((line) => !/^server: |status of 502/.test(line))).toEqual([]);
  });
});
