import { copyFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Options } from "tsup";

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** How the page is built: a script, one that is seldom needed, and a style sheet beside index.html, nothing from elsewhere. */
export const pageBuild = (outDir: string): Options => ({
  // The reader of styles.csv is large, and few need it: it comes when it is asked for.
  entry: { page: here("main.tsx"), "styles-csv": here("prompt-styles/styles-csv.ts") },
  outDir,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  splitting: false,
  external: [/^\.\/styles-csv\.js$/],
  esbuildOptions(options) {
    // Escaped, each Chinese character takes twice as much.
    options.charset = "utf8";
    // In page.js.LEGAL.txt beside it: the licence of the icons, and the name of each.
    options.legalComments = "external";
  },
  tsconfig: here("tsconfig.json"),
  noExternal: ["papaparse", "preact"],
  onSuccess: async () => {
    await mkdir(outDir, { recursive: true });
    await copyFile(here("index.html"), `${outDir}/index.html`);
  },
});
