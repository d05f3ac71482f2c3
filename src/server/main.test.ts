import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { goldenPath } from "../testing/golden.js";
import { serve } from "./main.js";

vi.setConfig({ testTimeout: 180_000 });

test("serve begins with the model of a path, and refuses what is neither a path nor on the list", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "serve-"));
  const server = await serve({ port: 0, graceMs: 0, dataDir, model: goldenPath("models/tiny-sd1") });
  try {
    const answer = await fetch(`${server.url}/models`);
    const { models } = (await answer.json()) as { models: { name: string; current: boolean }[] };
    expect(models.find(({ current }) => current)?.name).toBe("tiny-sd1");
  } finally {
    await server.close();
  }
  await expect(serve({ port: 0, dataDir, model: "/no/such/model" })).rejects.toThrow(
    "there is no model /no/such/model",
  );
  await rm(dataDir, { recursive: true });
});
