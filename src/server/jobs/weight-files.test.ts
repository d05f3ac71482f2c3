import { mkdir, mkdtemp, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { describeModel } from "../../index.js";
import { goldenPath } from "../../testing/golden.js";
import { testServer } from "../fixture.js";
import { weightFiles } from "./weight-files.js";

test("links to models, LoRAs and ControlNets count as what they lead to", async () => {
  const folder = await mkdtemp(join(tmpdir(), "links-"));
  const [models, loras, controls] = ["models", "loras", "controls"].map((name) => join(folder, name));
  for (const path of [models!, loras!, controls!]) await mkdir(path);
  await symlink(goldenPath("models/tiny-sd1"), join(models!, "linked"));
  await symlink(goldenPath("adapters"), join(loras!, "elsewhere"));
  await symlink(loras!, join(loras!, "itself"));
  await symlink(goldenPath("models/tiny-controlnet"), join(controls!, "edges"));
  for (const path of [models!, loras!, controls!]) await symlink("/nowhere/at/all", join(path, "dead"));
  const { parts } = await testServer({ loraDir: loras!, controlDir: controls! });
  await parts.models.addFolder(models!);
  expect(parts.models.list().map(({ label }) => label)).toContain("linked CPU FP32");
  expect(parts.models.unusable.size).toBe(0);
  expect((await parts.models.files.controls()).map(({ name }) => name)).toEqual(["edges"]);
  const kohya = (await weightFiles(loras)).filter(({ name }) => name === "lora-kohya");
  expect(kohya.map(({ path }) => path)).toEqual([join(loras!, "elsewhere", "lora-kohya.safetensors")]);
});

test("LoRAs of the folder act on prompts, and the chosen autoencoder decodes", {
  timeout: 180_000,
}, async () => {
  const source = goldenPath("models/tiny-sd1");
  const loraDir = await mkdtemp(join(tmpdir(), "loras-"));
  await symlink(goldenPath("adapters"), join(loraDir, "linked"));
  await symlink(loraDir, join(loraDir, "linked-to-itself"));
  const { parts } = await testServer({ loraDir, vaeDir: source });
  const { models } = parts;
  const info = await describeModel(source);
  const option = models.add({ name: "tiny", info, source, precision: "fp32", origin: "folder" });
  const picture = async (prompt: string) => {
    const request = { prompt, seed: 1, steps: 2, promptSyntax: "a1111" } as const;
    const [image] = (await models.generate(option, request)).images;
    return Buffer.from(image!.data).toString("base64");
  };
  try {
    const plain = await picture("a cat");
    expect((await models.files.loras()).map(({ name }) => name)).toContain("lora-kohya");
    expect(await picture("a cat <lora:lora-kohya:1>")).not.toBe(plain);
    await expect(picture("a cat <lora:nobody:1>")).rejects.toThrow(/nobody/);
    // The model's own autoencoder under another name makes the same picture; what is none is refused.
    await models.chooseVae("vae");
    expect(await picture("a cat")).toBe(plain);
    await models.chooseVae("unet");
    await expect(picture("a cat")).rejects.toThrow();
    await models.chooseVae(undefined);
    expect(await picture("a cat")).toBe(plain);
  } finally {
    await models.dispose();
  }
});
