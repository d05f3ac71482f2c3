import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { decodePng } from "../../../index.js";
import { goldenPath } from "../../../testing/golden.js";
import { base64Png, grey, type TestServer, testServer } from "../../fixture.js";
import type { StoredGenerate } from "../../requests/request.js";

// Models are loaded.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

let server: TestServer;
let model: string;
beforeAll(async () => {
  server = await testServer({ work: "library" });
  model = (await server.parts.models.addPath(goldenPath("models/tiny-sd1")))!;
});
afterAll(() => server.parts.models.dispose());

/** The upper half of a slope is to be repainted. */
function painted() {
  const image = grey(64, 64);
  image.data.forEach((_, i) => {
    image.data[i] = i % 256;
  });
  const mask = grey(64, 64, 0);
  mask.data.fill(255, 0, 64 * 32 * 3);
  return { init_images: [base64Png(image)], mask: base64Png(mask), mask_blur: 0, inpaint_full_res: false };
}

const sampled = { prompt: "a dog", seed: 5, width: 64, height: 64, sampler_name: "Euler" };

async function pictureOf(changes: object): Promise<{ picture: string; text: string }> {
  const answer = await server.send("POST", "/sdapi/v1/img2img", {
    ...{ ...sampled, ...painted(), override_settings: { sd_model_checkpoint: model } },
    ...changes,
  });
  const { images, info, detail } = (await answer.json()) as Record<"images" | "info" | "detail", string>;
  expect(detail).toBeUndefined();
  const { image } = decodePng(Buffer.from(images[0]!, "base64"));
  return { picture: image.data.join(), text: (JSON.parse(info) as { infotexts: string[] }).infotexts[0]! };
}

// As there: `sample_img2img` begins with x + noise * sigma_sched[0], whatever the strength.
test.each([
  { denoising_strength: 0.75, steps: 4 },
  { denoising_strength: 1, steps: 4 },
  { denoising_strength: 0.95, steps: 20 },
  { denoising_strength: 1, steps: 4, sampler_name: "DDIM" },
  { denoising_strength: 1, steps: 4, override_settings: { img2img_fix_steps: true } },
])("what is under the mask counts where all steps are run: $denoising_strength of $steps", async (asked) => {
  const override_settings = { sd_model_checkpoint: model, ...asked.override_settings };
  const made = [];
  for (const inpainting_fill of [0, 1, 2, 3])
    made.push(await pictureOf({ ...asked, override_settings, inpainting_fill }));
  expect(new Set(made.map(({ picture }) => picture)).size).toBe(4);
  for (const { text } of made) {
    expect(text).toContain(`Denoising strength: ${asked.denoising_strength},`);
    expect(text).toContain(`Steps: ${asked.steps},`);
  }
  expect((server.ran.at(-1) as StoredGenerate).strength).toBe(asked.denoising_strength);
});
