import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "scripts/**/*.test.{ts,mjs}", "examples/**/*.test.ts"],
    setupFiles: ["src/testing/matchers.ts"],
    globalSetup: ["src/testing/temporary-folder.ts"],
    pool: "forks",
    // Many tests wait for processes of their own, so that two files at a time take less on two cores than one.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 60_000,
  },
});
