import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { decodePng, encodePng, generate } from "../../../index.js";
import { goldenPath } from "../../../testing/golden.js";
import { base64Png, grey, type TestServer, testServer } from "../../fixture.js";
import type { StoredGenerate } from "../../requests/request.js";

// Models are loaded.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const source = goldenPath("models/tiny-ip2p");
let server: TestServer;
let model: string;
let enlarging: string;
beforeAll(async () => {
  server = await testServer({ work: "library" });
  model = (await server.parts.models.addPath(source))!;
  enlarging = (await server.parts.models.addPath(goldenPath("models/tiny-x4-upscaler")))!;
});
afterAll(() => server.parts.models.dispose());

const image = grey(64, 64);
image.data.forEach((_, i) => {
  image.data[i] = i % 256;
});
const asked = { prompt: "make it night", seed: 5, steps: 2, width: 64, height: 64 };

async function edited(more: object, label = model) {
  const answer = await server.send("POST", "/sdapi/v1/img2img", {
    ...{ ...asked, sampler_name: "Euler", cfg_scale: 7, init_images: [base64Png(image)] },
    ...{ override_settings: { sd_model_checkpoint: label }, ...more },
  });
  const { images, info, detail } = (await answer.json()) as Record<"images" | "info" | "detail", string>;
  expect(detail).toBeUndefined();
  const { comments = [] } = JSON.parse(info) as { comments?: string[] };
  return { data: decodePng(Buffer.from(images[0]!, "base64")).image.data, comments };
}

test("AUTOMATIC1111: a model that follows instructions takes the picture without a strength", async () => {
  const options = { ...asked, model: source, image, guidance: 7, scheduler: { sampler: "Euler" } };
  // The web UI's combine without image_cfg_scale is that of 1.
  for (const [image_cfg_scale, imageGuidance] of [
    [undefined, 1],
    [2.5, 2.5],
  ] as const) {
    const { data, comments } = await edited({ image_cfg_scale });
    const expected = (await generate({ ...options, imageGuidance })).images[0]!;
    expect(Buffer.from(data).equals(Buffer.from(expected.data))).toBe(true);
    expect(comments).toEqual([]);
  }
  const { comments } = await edited({ denoising_strength: 0.4 });
  expect(comments).toEqual([
    expect.stringMatching(/^denoising_strength has no effect: .*ip2p starts from noise/),
  ]);
});

test("AUTOMATIC1111: nor does one that enlarges", async () => {
  const small = { init_images: [base64Png(grey(16, 16))] };
  const { data } = await edited(small, enlarging);
  expect(data).toHaveLength(64 * 64 * 3);
});

test("POST /jobs takes imageGuidance", async () => {
  const request = { ...asked, model, image: base64Png(image), imageGuidance: 3 };
  const answer = await server.send("POST", "/jobs", request);
  expect(answer.status).toBe(202);
  const { status } = await server.parts.jobs.ended(((await answer.json()) as { id: string }).id);
  expect([status, (server.ran.at(-1) as StoredGenerate).imageGuidance]).toEqual(["completed", 3]);
});

test("OpenAI: variations by it have no strength, unless the client says one", async () => {
  const vary = (more: object) => {
    const form = new FormData();
    form.append("image", new File([Uint8Array.from(encodePng(image))], "x.png", { type: "image/png" }));
    for (const [name, value] of Object.entries({ model, size: "64x64", steps: "1", ...more }))
      form.append(name, String(value));
    return server.send("POST", "/v1/images/variations", form);
  };
  expect((await vary({})).status).toBe(200);
  expect(server.ran.at(-1)).not.toHaveProperty("strength");
  const refused = await vary({ strength: 0.5 });
  expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining("strength")]);
});
