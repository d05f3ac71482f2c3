import type { Locator } from "playwright-core";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { encodePng } from "../index.js";
import { grey } from "../server/fixture.js";
import { browserPresent, type OpenedPage, openPage } from "../testing/browser.js";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const pngOf = (width: number, height: number) => ({
  name: "x.png",
  mimeType: "image/png",
  buffer: Buffer.from(encodePng(grey(width, height))),
});

/** A canvas of the page, as tests look at it. */
type Canvas = {
  width: number;
  height: number;
  getContext(kind: "2d"): { getImageData(...box: number[]): { data: Uint8ClampedArray } };
};

describe.runIf(browserPresent)("drawing on a picture", () => {
  let opened: OpenedPage;
  beforeAll(async () => {
    opened = await openPage([], () => ({}), { viewport: { width: 1366, height: 800 } });
  });
  afterAll(() => opened?.close());

  const take = (width: number, height: number) =>
    opened.page.locator(".picture-input input").setInputFiles(pngOf(width, height));
  const canvas = () => opened.page.locator(".mask-editor canvas");
  /** How many pixels of the mask have each alpha. */
  const alphas = () =>
    canvas().evaluate((element) => {
      const { width, height, getContext } = element as unknown as Canvas;
      const { data } = getContext.call(element, "2d").getImageData(0, 0, width, height);
      const found: Record<number, number> = {};
      for (let at = 3; at < data.length; at += 4) found[data[at]!] = (found[data[at]!] ?? 0) + 1;
      return found;
    });
  const painted = async () =>
    Object.entries(await alphas()).reduce((sum, [alpha, count]) => sum + (alpha === "0" ? 0 : count), 0);
  const dab = async (x: number, y: number, button: "left" | "right" = "left") => {
    const box = (await canvas().boundingBox())!;
    await opened.page.mouse.move(box.x + x * box.width, box.y + y * box.height);
    await opened.page.mouse.down({ button });
    await opened.page.mouse.up({ button });
  };
  const press = (name: string) =>
    opened.page.getByRole("toolbar").getByRole("button", { name, exact: true }).click();

  test("on a laptop the whole mask with its tools, or picture and prompt, are seen without scrolling", async () => {
    await opened.open("Inpaint");
    await take(256, 256);
    await opened.page.getByText("Paint over what is to be drawn anew").waitFor();
    await canvas().waitFor();
    const bottom = async (of: Locator) => {
      const { y, height } = (await of.boundingBox())!;
      return y + height;
    };
    const button = (await opened.page.locator("form .actions").boundingBox())!;
    expect(await bottom(canvas())).toBeLessThan(button.y);
    // Also under the note on a large one, in its own shape, and with a message above the form.
    for (const [width, height] of [
      [1024, 768],
      [768, 1024],
      [1024, 1024],
    ] as const) {
      await take(width, height);
      await opened.page.getByText("only the masked part is repainted").waitFor();
      await expect.poll(() => canvas().getAttribute("height")).toBe(`${height}`);
      expect(await bottom(canvas())).toBeLessThan(button.y);
    }
    await opened.page.locator('input[aria-label="Restore settings from a PNG"]').setInputFiles(pngOf(8, 8));
    await opened.page.getByText("This picture carries no settings").waitFor();
    expect(await bottom(opened.page.locator("form .actions"))).toBeLessThan(800);
    expect(await bottom(canvas())).toBeLessThan(
      (await opened.page.locator("form .actions").boundingBox())!.y,
    );
    await opened.shot("large-mask-1366");
    await take(256, 256);
    await expect.poll(() => canvas().getAttribute("height")).toBe("256");
    const tools = opened.page.getByRole("toolbar", { name: "Tools for the mask" });
    const rows = await tools
      .getByRole("button")
      .evaluateAll((all) => [
        ...new Set(all.map((one) => (one as unknown as { offsetTop: number }).offsetTop)),
      ]);
    expect(rows).toHaveLength(1);
    // Of image to image and upscaling, what is asked for.
    await opened.open("Image to image");
    expect(await bottom(opened.page.getByLabel("Prompt", { exact: true }))).toBeLessThan(button.y);
    await opened.open("Upscale");
    await opened.page.getByText("512 × 512", { exact: true }).waitFor();
    expect(await bottom(opened.page.getByText("512 × 512", { exact: true }))).toBeLessThan(button.y);
    await opened.shot("upscale-1366");
  });

  test("edges are hard: a dab that is erased leaves nothing, and the right button paints nothing", async () => {
    await opened.open("Inpaint");
    await take(256, 256);
    await dab(0.5, 0.5, "right");
    expect(await painted()).toBe(0);
    await dab(0.5, 0.5);
    await expect.poll(painted).toBeGreaterThan(0);
    const once = await painted();
    expect(once).toBeGreaterThan(500);
    // Nothing and the tint, and nothing between them.
    expect(Object.keys(await alphas())).toHaveLength(2);
    await press("Eraser");
    await dab(0.5, 0.5);
    await expect.poll(painted).toBe(0);
    await press("Brush");
  });

  test("while a stroke is drawn it is seen as it will be, the eraser's as well", async () => {
    const { page } = opened;
    await press("Clear");
    await expect.poll(painted).toBe(0);
    const { x, y, width, height } = (await canvas().boundingBox())!;
    const at = (right: number, down: number) => page.mouse.move(x + right * width, y + down * height);
    await at(0.2, 0.3);
    await page.mouse.down();
    for (const [right, down] of [
      [0.5, 0.3],
      [0.5, 0.6],
      [0.2, 0.3],
    ] as const)
      await at(right, down);
    await expect.poll(painted).toBeGreaterThan(500);
    const during = await alphas();
    expect(Object.keys(during)).toHaveLength(2);
    await page.mouse.up();
    const whole = await painted();
    expect(Math.abs(whole - Object.values(during).at(-1)!)).toBeLessThan(0.02 * whole);
    await press("Eraser");
    await at(0.2, 0.3);
    await page.mouse.down();
    await at(0.5, 0.3);
    await expect.poll(painted).toBeLessThan(whole);
    await page.mouse.up();
    await press("Brush");
    await press("Undo");
    await expect.poll(painted).toBe(whole);
    await press("Clear");
  });

  test("a photo of more pixels than the server takes is brought down upright, and that is said", async () => {
    const { page } = opened;
    const stored = { create: { width: 2400, height: 2000, channels: 3, background: "#c81e1e" } } as const;
    const photo = await sharp(stored).jpeg().withMetadata({ orientation: 6 }).toBuffer();
    await page
      .locator(".picture-input input")
      .setInputFiles({ name: "photo.jpg", mimeType: "image/jpeg", buffer: photo });
    await page.getByText("1869 × 2243, brought down from 2000 × 2400").waitFor();
    const bottom = (box: { y: number; height: number } | null) => box!.y + box!.height;
    await expect.poll(() => canvas().getAttribute("height")).toBe("2243");
    const button = (await page.locator("form .actions").boundingBox())!;
    expect(bottom(await canvas().boundingBox())).toBeLessThan(button.y);
    await opened.open("Upscale");
    await page.getByText("brought down from 2000 × 2400").waitFor();
    await opened.open("Inpaint");
    await take(256, 256);
    await expect.poll(() => page.getByText("brought down from").count()).toBe(0);
    await dab(0.5, 0.5);
  });

  test("undo, redo, clear and invert, each step back and forth", async () => {
    await press("Clear");
    await expect.poll(painted).toBe(0);
    await dab(0.3, 0.3);
    await expect.poll(painted).toBeGreaterThan(0);
    const once = await painted();
    await press("Invert");
    await expect.poll(painted).toBe(256 * 256 - once);
    await press("Undo");
    await expect.poll(painted).toBe(once);
    await press("Redo");
    await expect.poll(painted).toBe(256 * 256 - once);
    await press("Undo");
    await press("Clear");
    await expect.poll(painted).toBe(0);
    await press("Undo");
    await expect.poll(painted).toBe(once);
    await canvas().focus();
    await opened.page.keyboard.press("Control+z");
    await expect.poll(painted).toBe(0);
    await opened.page.keyboard.press("Control+y");
    await expect.poll(painted).toBe(once);
  });

  test("[ and ], the wheel and zoom: the ring is as large as the brush", async () => {
    const size = opened.page.getByRole("spinbutton", { name: "Brush size" });
    await size.fill("40");
    await dab(0.5, 0.5);
    await opened.page.keyboard.press("]");
    const larger = Number(await size.inputValue());
    expect(larger).toBeGreaterThan(40);
    await opened.page.keyboard.press("[");
    expect(Number(await size.inputValue())).toBeLessThan(larger);
    await opened.page.mouse.wheel(0, -100);
    await expect.poll(async () => Number(await size.inputValue())).toBeGreaterThan(40);
    const ring = (await opened.page.locator(".brush-ring").boundingBox())!;
    const box = (await canvas().boundingBox())!;
    expect(ring.width / box.width).toBeCloseTo(Number(await size.inputValue()) / 256, 1);
    await press("Zoom in");
    expect((await canvas().boundingBox())!.width).toBeGreaterThan(box.width * 1.2);
    await press("Zoom out");
    await opened.shot("mask-1366");
  });

  test.each([
    [1366, 800],
    [1920, 1080],
    [390, 844],
    [683, 400],
  ])(
    "at %ix%i the mask fits, nothing lies over it, and the focus is never under the button",
    async (width, height) => {
      const { page } = opened;
      await page.setViewportSize({ width, height });
      await take(512, 512);
      await canvas().scrollIntoViewIfNeeded();
      const covering = await canvas().evaluate((element) => {
        type Place = { top: number; left: number; width: number; height: number };
        type Root = { elementFromPoint(x: number, y: number): unknown; defaultView: { innerHeight: number } };
        const { ownerDocument, ...rest } = element as unknown as { ownerDocument: Root };
        void rest;
        (element as unknown as { scrollIntoView(options: object): void }).scrollIntoView({ block: "center" });
        const box = (element as unknown as { getBoundingClientRect(): Place }).getBoundingClientRect();
        const wrong: string[] = [];
        for (const x of [0.05, 0.5, 0.95])
          for (const y of [0.05, 0.5, 0.95]) {
            const [left, top] = [box.left + x * box.width, box.top + y * box.height];
            const seen = ownerDocument.elementFromPoint(left, top);
            if (top > 0 && top < ownerDocument.defaultView.innerHeight && seen !== element)
              wrong.push(`${x} ${y}: ${(seen as { outerHTML?: string })?.outerHTML?.slice(0, 80)}`);
          }
        return { wrong, fits: box.height <= ownerDocument.defaultView.innerHeight };
      });
      expect(covering).toEqual({ wrong: [], fits: true });
      // Through the whole form by Tab: what has the focus is seen.
      await page.getByRole("button", { name: "Choose a picture" }).first().focus();
      const hidden: string[] = [];
      for (let i = 0; i < 40; i++) {
        await page.keyboard.press("Tab");
        const under = await page.evaluate(() => {
          type Element = {
            getBoundingClientRect(): { top: number; left: number; width: number; height: number };
            contains(other: unknown): boolean;
            closest(selector: string): unknown;
            outerHTML: string;
          };
          type Document = {
            activeElement: Element | null;
            elementFromPoint(x: number, y: number): Element | null;
          };
          const { document } = globalThis as unknown as { document: Document };
          const focused = document.activeElement;
          if (!focused?.closest("form") || focused.closest(".actions")) return "";
          const { left, top, width, height } = focused.getBoundingClientRect();
          const seen = document.elementFromPoint(left + width / 2, top + Math.min(height / 2, 20));
          return seen?.closest(".actions") ? focused.outerHTML.slice(0, 100) : "";
        });
        if (under) hidden.push(under);
      }
      expect(hidden).toEqual([]);
      const [inner, scroll] = await page.evaluate(() => {
        type Root = { clientWidth: number; scrollWidth: number };
        const { documentElement } = (globalThis as unknown as { document: { documentElement: Root } })
          .document;
        return [documentElement.clientWidth, documentElement.scrollWidth];
      });
      expect(scroll).toBe(inner);
      // The name and what stands beside it take one row, also on a phone.
      if (width !== 683) expect((await page.locator("header").boundingBox())!.height).toBeLessThan(70);
      await opened.shot(`inpaint-${width}`);
      await page.setViewportSize({ width: 1366, height: 800 });
    },
  );

  test("large pictures are brought to the model's size, keeping their shape, unless asked otherwise", async () => {
    const { page } = opened;
    await opened.open("Image to image");
    await take(900, 600);
    await page.getByText("the picture is brought to 312 × 208").waitFor();
    const value = (name: string) => page.getByRole("spinbutton", { name, exact: true }).inputValue();
    expect([await value("Width"), await value("Height")]).toEqual(["312", "208"]);
    await page.getByRole("button", { name: "Use its own size" }).click();
    expect([await value("Width"), await value("Height")]).toEqual(["896", "600"]);
    await page.getByRole("button", { name: "Bring it to the model's size" }).click();
    await opened.open("Inpaint");
    await page.getByText("only the masked part is repainted").waitFor();
    expect(await page.getByLabel("Only masked").isChecked()).toBe(true);
    await opened.open("Outpaint");
    await page.getByText("440 × 208", { exact: true }).waitFor();
    const sent: Record<string, unknown>[] = [];
    await page.route("**/jobs", async (route) => {
      if (route.request().method() === "POST") sent.push(route.request().postDataJSON());
      await route.fulfill({ status: 400, json: { error: { message: "not now" } } });
    });
    await opened.open("Image to image");
    await page.getByRole("button", { name: "Generate" }).click();
    await page.getByText("not now").waitFor();
    expect(sent[0]).toMatchObject({ width: 312, height: 208 });
    await page.unroute("**/jobs");
  });

  test("files of another kind are named with what is accepted: chosen, dropped and pasted", async () => {
    const { page } = opened;
    const wrong = { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("hello") };
    const said = page.getByRole("alert").filter({ hasText: "notes.txt" });
    await page.locator(".picture-input input").setInputFiles(wrong);
    await expect.poll(() => said.textContent()).toContain("PNG, JPEG and WebP");
    await take(64, 64);
    await expect.poll(() => said.count()).toBe(0);
    const transfer = await page.evaluateHandle(() => {
      const { DataTransfer: Transfer, File: Made } = globalThis as unknown as {
        DataTransfer: new () => { items: { add(file: File): void } };
        File: typeof File;
      };
      const data = new Transfer();
      data.items.add(new Made(["hello"], "notes.txt", { type: "text/plain" }));
      return data;
    });
    await page.dispatchEvent(".picture-input", "drop", { dataTransfer: transfer });
    await expect.poll(() => said.textContent()).toContain("PNG, JPEG and WebP");
    await take(64, 64);
    await page.dispatchEvent("main", "drop", { dataTransfer: transfer });
    const above = page.getByRole("status").filter({ hasText: "notes.txt" });
    await expect.poll(() => above.textContent()).toContain("PNG, JPEG and WebP");
    const broken = { name: "broken.png", mimeType: "image/png", buffer: Buffer.from("no picture") };
    await page.locator(".picture-input input").setInputFiles(broken);
    await page.getByRole("alert").filter({ hasText: "broken.png" }).waitFor();
  });

  test("a reload keeps the picture and the mask", async () => {
    const { page } = opened;
    await opened.open("Inpaint");
    await take(128, 96);
    await expect.poll(() => canvas().getAttribute("width")).toBe("128");
    await dab(0.5, 0.5);
    const before = await painted();
    await page.waitForTimeout(600);
    await page.reload();
    await page.getByText("128 × 96").first().waitFor();
    await expect.poll(painted).toBe(before);
    await page.getByRole("button", { name: "Remove picture" }).click();
    await page.waitForTimeout(600);
    await page.reload();
    await page.getByText("Drop one here").waitFor();
  });
});
