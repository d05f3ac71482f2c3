import { rmSync } from "node:fs";
import { defineConfig, type Options } from "tsup";
import { pageBuild } from "./src/page/build.js";

// Both builds below write to dist/ at the same time, so neither can clean it.
rmSync("dist", { recursive: true, force: true });

const common: Options = {
  target: "node20",
  platform: "node",
  sourcemap: true,
  external: ["aws4fetch", "bullmq", "ioredis"], // optional: asked for when S3 or a queue is
};

/** `await using` is in the types; projects with an older `lib` and without Node's types get what it needs from here. */
const typesNeeded = '/// <reference lib="esnext.disposable" />';

export default defineConfig([
  {
    ...common,
    format: "esm",
    // The library starts runtime/worker.js as a child process, by its path beside index.js or index.cjs; the server
    // likewise server/foreign.js.
    entry: {
      index: "src/index.ts",
      "cli/main": "src/cli/main.ts",
      "runtime/worker": "src/runtime/process/worker.ts",
      "server/foreign": "src/server/foreign/process.ts",
    },
    dts: { entry: { index: "src/index.ts" }, banner: typesNeeded },
  },
  {
    ...common,
    format: "cjs",
    entry: { index: "src/index.ts" },
    dts: { banner: typesNeeded },
    shims: true, // import.meta.url
  },
  pageBuild("dist/page"),
]);
