import { copyFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Options } from "tsup";

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** How the page is built: one script and one style sheet beside index.html, nothing from elsewhere. */
export const pageBuild = (outDir: string): Options => ({
  entry: { page: here("main.tsx") },
  outDir,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  splitting: false,
  tsconfig: here("tsconfig.json"),
  noExternal: ["papaparse", "preact"],
  onSuccess: async () => {
    await mkdir(outDir, { recursive: true });
    await copyFile(here("index.html"), `${outDir}/index.html`);
  },
});
