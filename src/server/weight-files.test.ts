import { expect, test } from "vitest";
import { describeModel } from "../index.js";
import { goldenPath } from "../testing/golden.js";
import { testServer } from "./fixture.js";

test("LoRAs of the folder act on prompts, and the chosen autoencoder decodes", {
  timeout: 180_000,
}, async () => {
  const source = goldenPath("models/tiny-sd1");
  const { parts } = await testServer({ loraDir: goldenPath("adapters"), vaeDir: source });
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
    expect((await models.loras()).map(({ name }) => name)).toContain("lora-kohya");
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
