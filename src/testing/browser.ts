import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { build } from "tsup";
import { pageBuild } from "../page/build.js";
import { type RunningServer, serve } from "../server/main.js";
import type { ServeOptions } from "../server/service-options.js";
import { goldenPath } from "./golden.js";

const executablePath = "/usr/bin/chromium";
const flags =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";

/** Tests of the page skip themselves where there is no browser. */
export const browserPresent: boolean = existsSync(executablePath);
if (!browserPresent)
  console.warn(`page tests are skipped: there is no ${executablePath} (apt-get install chromium)`);

/** Where the screenshots are kept. */
export const shots: string =
  process.env.TFJS_DIFFUSION_SCREENSHOTS ?? join(tmpdir(), "tfjs-diffusion-screenshots");

/** A browser on a server of its own, with the page built from its sources. */
export interface OpenedPage {
  readonly browser: Browser;
  readonly server: RunningServer;
  readonly page: Page;
  /** Holds the server's `data`, the built `page`, and what was copied. */
  readonly folder: string;
  /** What the browser complained about (refused scripts and styles, exceptions), and the lines of the server's log. */
  readonly complaints: string[];
  readonly log: (line: string) => void;
  /** Opens a tab of the page by its name. */
  readonly open: (name: string) => Promise<void>;
  readonly shot: (name: string, of?: Page) => Promise<Buffer>;
  readonly close: () => Promise<void>;
}

/** The page on a tiny model, which it begins with: pictures are made in a moment. */
export const openTinyPage = (context: BrowserContextOptions = {}): Promise<OpenedPage> =>
  openPage(
    ["models/tiny-sd1"],
    (folder) => ({ models: join(folder, "models"), model: join(folder, "models", "tiny-sd1") }),
    context,
  );

/**
 * @param copied folders of the reference values that the server finds as `<folder>/<name>`: "models/tiny-sd1"
 * @param options of the server, which may need the folder
 */
export async function openPage(
  copied: readonly string[],
  options: (folder: string) => ServeOptions,
  context: BrowserContextOptions = {},
): Promise<OpenedPage> {
  const folder = await mkdtemp(join(tmpdir(), "page-"));
  await mkdir(shots, { recursive: true });
  await build({ config: false, silent: true, ...pageBuild(join(folder, "page")) });
  for (const name of copied)
    await cp(goldenPath(`models/${basename(name)}`), join(folder, name), { recursive: true });
  const complaints: string[] = [];
  const log = (line: string) => void complaints.push(`server: ${line}`);
  const server = await serve({
    port: 0,
    dataDir: join(folder, "data"),
    page: join(folder, "page"),
    graceMs: 0,
    log,
    ...options(folder),
  });
  const browser = await chromium.launch({ executablePath, args: flags.split(" ") });
  const page = await browser.newPage({
    viewport: { width: 1280, height: 900 },
    locale: "en-GB",
    ...context,
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  await page.goto(server.url);
  return {
    ...{ browser, server, page, folder, complaints, log },
    open: (name) => page.getByRole("tab", { name, exact: true }).click(),
    shot: (name, of = page) => of.screenshot({ path: join(shots, `${name}.png`), fullPage: true }),
    async close() {
      await browser.close();
      await server.close();
    },
  };
}
