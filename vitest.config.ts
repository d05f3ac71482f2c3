import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "scripts/**/*.test.{ts,mjs}", "examples/**/*.test.ts"],
    setupFiles: ["src/testing/matchers.ts"],
    globalSetup: ["src/testing/temporary-folder.ts"],
    pool: "forks",
    testTimeout: 60_000,
  },
});
