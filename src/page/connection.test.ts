import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type RunningServer, serve } from "../server/main.js";
import { browserPresent, type OpenedPage, openPage } from "../testing/browser.js";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

describe.runIf(browserPresent)("the page and its server", () => {
  let opened: OpenedPage;
  let server: RunningServer;
  const model = "tiny-sd1 CPU FP32";
  beforeAll(async () => {
    opened = await openPage(["models/tiny-sd1"], (folder) => ({ models: `${folder}/models` }));
    server = opened.server;
    await opened.page.request.post(`${server.url}/models/current`, { data: { model } });
    await opened.page.reload();
  });
  afterAll(async () => {
    await server?.close();
    await opened?.close();
  });

  const gone = () => opened.page.getByRole("alert").filter({ hasText: "The server does not answer." });
  const ended = () => opened.page.getByRole("status").filter({ hasText: "Cancelled." });
  const start = async (steps: number, width = 64) => {
    const { page } = opened;
    await page.getByRole("spinbutton", { name: "Sampling steps" }).fill(String(steps));
    for (const name of ["Width", "Height"]) {
      await page.getByRole("spinbutton", { name, exact: true }).fill(String(width));
      await page.getByRole("spinbutton", { name, exact: true }).blur();
    }
    await page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
    await page.getByRole("progressbar", { name: "Progress" }).waitFor();
  };

  test("a cancel is answered at once while a size is being loaded, and what waits behind it runs", async () => {
    const { page } = opened;
    await page.getByLabel("Prompt", { exact: true }).fill("a fox");
    // One step of it would take minutes.
    await start(20, 1024);
    const data = { model, prompt: "behind", steps: 1, width: 64, height: 64 };
    const { id } = await (await page.request.post(`${server.url}/jobs`, { data })).json();
    await page.waitForTimeout(700);
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await ended().waitFor({ state: "attached", timeout: 15_000 });
    await expect
      .poll(async () => (await (await page.request.get(`${server.url}/jobs/${id}`)).json()).status, {
        timeout: 120_000,
      })
      .toBe("completed");
  });

  test("a server that answers nothing is named within seconds, and the message goes with its cause", async () => {
    const { page } = opened;
    await page.route("**/health", () => {}); // no answer, ever
    await gone().waitFor({ timeout: 10_000 });
    await page.unroute("**/health");
    await gone().waitFor({ state: "detached", timeout: 10_000 });
  });

  test("a server that has ended is named, with what happens to the job; the job goes on when it is back", async () => {
    const { page } = opened;
    await start(400);
    const { port } = new URL(server.url);
    await server.close();
    await page.getByText("What it has accepted is kept").waitFor({ timeout: 6000 });
    await opened.shot("server-gone");
    // Nothing that is pressed meanwhile throws unseen.
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    server = await serve({
      port: Number(port),
      dataDir: `${opened.folder}/data`,
      models: `${opened.folder}/models`,
      page: `${opened.folder}/page`,
      graceMs: 0,
      log: opened.log,
    });
    await gone().waitFor({ state: "detached", timeout: 10_000 });
    await page.getByRole("progressbar", { name: "Progress" }).waitFor({ timeout: 60_000 });
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await ended().waitFor({ state: "attached", timeout: 60_000 });
  });

  test("a reload shows the last result again", async () => {
    const { page } = opened;
    await start(1);
    await page.locator(".result .card img").first().waitFor({ timeout: 120_000 });
    await page.waitForTimeout(300);
    await page.reload();
    await page.locator(".result .card img").first().waitFor();
  });

  test("each of two tabs shows its own job again", async () => {
    const context = await opened.browser.newContext({ locale: "en-GB" });
    const card = async (tab: number) => {
      const page = context.pages()[tab]!;
      await page.locator(".result .card img").first().waitFor({ timeout: 60_000 });
      return page.locator(".result .card img").first().getAttribute("src");
    };
    const made: (string | null)[] = [];
    for (const tab of [0, 1]) {
      const page = await context.newPage();
      await page.goto(server.url);
      if (tab === 1) expect(await card(1)).toBe(made[0]); // that of the first, until it has its own
      await page.getByRole("spinbutton", { name: "Sampling steps" }).fill("2");
      await page.locator("form").getByRole("button", { name: "Generate", exact: true }).click();
      const former = made[0] ? `:not([src="${made[0]}"])` : "";
      await page.locator(`.result .now .card img${former}`).first().waitFor({ timeout: 60_000 });
      made.push(await card(tab));
    }
    for (const tab of [0, 1]) {
      await context.pages()[tab]!.reload();
      expect(await card(tab)).toBe(made[tab]);
    }
    await context.close();
  });

  test("while the catalogue is on a slow way, the page says that it opens", async () => {
    const slow = await opened.browser.newPage({ locale: "en-GB" });
    let answer = () => {};
    await slow.route("**/models", async (route) => {
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      await route.continue();
    });
    await slow.goto(server.url);
    await slow.getByText("Opening…").waitFor();
    answer();
    await slow.getByText("Opening…").waitFor({ state: "detached" });
    await slow.close();
  });

  test("nothing was thrown that nobody has seen", () => {
    const thrown = opened.complaints.filter(
      (line) => !/^server: |ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|Failed to load resource/.test(line),
    );
    expect(thrown).toEqual([]);
  });
});
