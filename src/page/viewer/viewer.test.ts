import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { browserPresent, type OpenedPage, openTinyPage } from "../../testing/browser.js";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

describe.runIf(browserPresent)("looking at pictures", () => {
  let opened: OpenedPage;
  let page: Page;
  beforeAll(async () => {
    opened = await openTinyPage();
    ({ page } = opened);
    await page.getByLabel("Prompt", { exact: true }).fill("a dog");
    await page.getByRole("spinbutton", { name: "Width" }).fill("64");
    await page.getByRole("spinbutton", { name: "Height" }).fill("64");
    await page.getByRole("spinbutton", { name: "Sampling steps" }).fill("4");
  });
  afterAll(async () => opened?.close());

  const viewer = () => page.getByRole("dialog", { name: "Picture viewer" });
  const place = () => viewer().locator(".place").textContent();
  const generate = () => page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
  const done = () =>
    page
      .locator(".result")
      .getByText(/× .* s$/)
      .waitFor({ timeout: 100_000 });

  test("each picture appears as it is finished, and one can be chosen while the next are made", async () => {
    await page.getByRole("spinbutton", { name: "Pictures" }).fill("3");
    await page.getByRole("spinbutton", { name: "Sampling steps" }).fill("150");
    await generate();
    // Long enough that what follows happens while they are made. PNDM, the model's own scheduler, takes 151 steps for 150.
    await page.getByText(/^Step \d+ of 453, picture [23] of 3$/).waitFor({ timeout: 100_000 });
    await page.locator(".others .cell").nth(1).waitFor();
    await page.getByRole("button", { name: /^1 \/ \d$/ }).click();
    expect(await page.locator(".card img").count()).toBe(1);
    expect(await page.getByRole("progressbar", { name: "Progress" }).count()).toBe(1);
    await opened.shot("as-they-finish");
    await done();
    expect(await page.locator(".others .cell").count()).toBe(3);
    await page.getByRole("spinbutton", { name: "Sampling steps" }).fill("4");
  });

  test("the former result stays until the next one shows something", async () => {
    const former = await page.locator(".card img").getAttribute("src");
    // A job in front keeps the next one waiting.
    const data = { prompt: "a cat", width: 64, height: 64, steps: 150, count: 4 };
    await (await page.request.post(`${opened.server.url}/jobs`, { data })).json();
    await page.getByRole("spinbutton", { name: "Pictures" }).fill("1");
    await generate();
    await page.getByText("Waiting: 1 in front").first().waitFor();
    expect(await page.locator(".former .card img").getAttribute("src")).toBe(former);
    const queue = page.locator(".result").getByRole("region", { name: "Queue" });
    await queue.getByText("a cat").waitFor();
    await queue.getByRole("button", { name: "Cancel: a cat" }).click();
    await page.locator(`.now .card img:not([src="${former}"])`).waitFor({ timeout: 100_000 });
    await done();
  });

  test("a click opens it on the whole screen; keys go through the pictures; Back and Esc close it", async () => {
    await page.getByRole("spinbutton", { name: "Pictures" }).fill("3");
    const before = await page.locator(".card img").getAttribute("src");
    await generate();
    await page.locator(`.now .card img:not([src="${before}"])`).waitFor({ timeout: 100_000 });
    await done();
    await page.getByRole("button", { name: "Look closely" }).click();
    await viewer().waitFor();
    expect(await place()).toBe("1 / 3");
    const box = (await viewer().boundingBox())!;
    expect([box.width, box.height]).toEqual([1280, 900]);
    const shown = (await viewer().locator(".stage img").boundingBox())!;
    expect(Math.max(shown.width, shown.height)).toBeGreaterThan(600);
    await page.keyboard.press("ArrowRight");
    expect(await place()).toBe("2 / 3");
    await page.keyboard.press("End");
    expect(await place()).toBe("3 / 3");
    await viewer().getByRole("button", { name: "Previous picture" }).click();
    expect(await place()).toBe("2 / 3");
    await opened.shot("viewer");
    await page.goBack();
    await viewer().waitFor({ state: "hidden" });
    await page.getByRole("button", { name: "Full screen" }).click();
    await viewer().waitFor();
    await page.keyboard.press("Escape");
    await viewer().waitFor({ state: "hidden" });
    expect(new URL(page.url()).hash).toBe("");
  });

  test("on a phone what comes next is named beneath the picture, and the viewer is closed at its top", async () => {
    const size = page.viewportSize()!;
    await page.setViewportSize({ width: 390, height: 844 });
    // By its words, not only by its icon.
    for (const name of ["Image to image", "Inpaint", "Outpaint", "Upscale"])
      expect(await page.locator(".card .send").getByText(name, { exact: true }).isVisible()).toBe(true);
    await page.getByRole("button", { name: "Look closely" }).click();
    await viewer().waitFor();
    const close = (await viewer().getByRole("button", { name: "Close" }).boundingBox())!;
    expect(close.y).toBeLessThan(20);
    expect(close.x + close.width).toBeGreaterThan(350);
    const bar = (await viewer().locator(".viewer-bar").boundingBox())!;
    expect(bar.height).toBeLessThan(110);
    // All of them in one row, none over another one.
    const toolbar = viewer().getByRole("toolbar", { name: "Actions" });
    const boxes = await Promise.all(
      (await toolbar.locator("button, a").all()).map(async (one) => (await one.boundingBox())!),
    );
    expect(boxes.length).toBeGreaterThan(9);
    for (const [i, { x, y, width }] of boxes.entries()) {
      expect(y).toBeCloseTo(boxes[0]!.y, 0);
      expect(width).toBeGreaterThanOrEqual(24);
      expect(x + width).toBeLessThanOrEqual((boxes[i + 1]?.x ?? 390) + 0.5);
    }
    await opened.shot("viewer-390");
    await viewer().getByRole("button", { name: "Close" }).click();
    await viewer().waitFor({ state: "hidden" });
    await page.setViewportSize(size);
  });

  test("the wheel zooms where the pointer is, dragging moves, a double click goes back", async () => {
    await page.getByRole("button", { name: "Look closely" }).click();
    const picture = viewer().locator(".stage img");
    const box = async () => (await picture.boundingBox())!;
    const whole = await box();
    const at = { x: whole.x + whole.width / 4, y: whole.y + whole.height / 4 };
    await page.mouse.move(at.x, at.y);
    await page.mouse.wheel(0, -600);
    const near = await box();
    expect(near.width / whole.width).toBeCloseTo(Math.exp(1.2), 2);
    expect((at.x - near.x) / near.width).toBeCloseTo(1 / 4, 2);
    expect((at.y - near.y) / near.height).toBeCloseTo(1 / 4, 2);
    await page.mouse.down();
    await page.mouse.move(at.x - 50, at.y - 30, { steps: 3 });
    await page.mouse.up();
    const moved = await box();
    expect([Math.round(moved.x - near.x), Math.round(moved.y - near.y)]).toEqual([-50, -30]);
    await page.mouse.dblclick(at.x, at.y);
    expect(await box()).toEqual(whole);
    await page.keyboard.press("+");
    expect((await box()).width).toBeCloseTo(1.5 * whole.width, 1);
    await page.keyboard.press("0");
    expect(await box()).toEqual(whole);
    await page.keyboard.press("Escape");
  });

  test("its actions: seed, favourite, prompt on the clipboard, parameters; settings come back", async () => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByRole("button", { name: "Look closely" }).click();
    await viewer().waitFor();
    await page.keyboard.press("i");
    const text = await viewer().locator("pre").textContent();
    const [, seed] = /Seed: (\d+)/.exec(text!)!;
    await page.keyboard.press("s");
    await page.keyboard.press("f");
    await viewer().getByRole("button", { name: "Favourite", pressed: true }).waitFor();
    await page.keyboard.press("p");
    await viewer().getByText("The prompt is on the clipboard.").waitFor();
    type Reads = { clipboard: { readText(): Promise<string> } };
    const copied = await page.evaluate(() => (navigator as unknown as Reads).clipboard.readText());
    expect(copied).toBe("a dog");
    await viewer().getByRole("button", { name: "Copy the picture" }).click();
    await viewer().getByText("The picture is on the clipboard.").waitFor();
    const download = page.waitForEvent("download");
    await page.keyboard.press("d");
    expect((await download).suggestedFilename()).toMatch(new RegExp(`^${seed}-[0-9a-f]{8}\\.png$`));
    await page.keyboard.press("Escape");
    await viewer().waitFor({ state: "hidden" });
    expect(await page.getByLabel("Seed", { exact: true }).inputValue()).toBe(seed);
    await page.getByRole("spinbutton", { name: "Sampling steps" }).fill("9");
    await page.getByRole("button", { name: "Full screen" }).click();
    await viewer().getByRole("button", { name: "Use these settings" }).click();
    await viewer().waitFor({ state: "hidden" });
    await page.getByText("Settings restored.").waitFor();
    expect(await page.getByRole("spinbutton", { name: "Sampling steps" }).inputValue()).toBe("4");
  });

  test("a picture is sent on from the viewer, and before and after are compared by dragging on the result", async () => {
    await page.getByRole("button", { name: "Look closely" }).click();
    await viewer().getByRole("button", { name: "Image to image" }).click();
    await page.getByRole("tab", { name: "Image to image", selected: true }).waitFor();
    await page.locator("form img.source").waitFor();
    await page.getByRole("spinbutton", { name: "Pictures" }).fill("1");
    await generate();
    const slider = page.getByRole("slider", { name: "Before and after" });
    await slider.waitFor({ timeout: 100_000 });
    // At first the result is seen whole.
    expect(await slider.inputValue()).toBe("0");
    const box = (await slider.boundingBox())!;
    await page.mouse.move(box.x + 5, box.y + box.height / 3);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 3, { steps: 5 });
    await page.mouse.up();
    expect(Number(await slider.inputValue())).toBeCloseTo(50, -1);
    expect(await viewer().count()).toBe(0);
    await opened.shot("compare");
    await page.mouse.click(box.x + box.width / 3, box.y + box.height / 3);
    await viewer().waitFor();
    await page.keyboard.press("b");
    expect(await viewer().getByRole("slider", { name: "Before and after" }).inputValue()).toBe("50");
    await page.keyboard.press("Escape");
    expect(opened.complaints.filter((line) => !line.startsWith("server: job"))).toEqual([]);
  });
});
