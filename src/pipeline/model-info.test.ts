import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { goldenPath } from "../testing/golden.js";
import { writeLatentUpscaler } from "../testing/latent-upscaler.js";
import { describeModel } from "./model-info.js";

const folder = mkdtempSync(join(tmpdir(), "model-info-"));
afterAll(() => rmSync(folder, { recursive: true }));

it.each([
  ["tiny-sd1", "text"],
  ["tiny-sd1-inpaint", "inpainting"],
  ["tiny-ip2p", "instruct"],
  ["tiny-x4-upscaler", "upscaling"],
  ["tiny-ldm-sr", "upscaling"],
  ["tiny-ddpm", "unconditional"],
])("%s is of the kind %s", async (name, kind) => {
  expect(await describeModel(goldenPath(`models/${name}`))).toMatchObject({ name, kind });
});

it("a latent upscaler is an upscaler, although its four more channels are those of an instructed model", async () => {
  const path = writeLatentUpscaler(join(folder, "tiny-x2"));
  expect(await describeModel(path)).toMatchObject({ name: "tiny-x2", kind: "upscaling" });
});
