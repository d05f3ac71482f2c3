import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { decodePng, describeModel, parseParameters, StableDiffusion } from "../../../index.js";
import { goldenPath } from "../../../testing/golden.js";
import { type TestServer, testServer } from "../../fixture.js";

// Models are loaded.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const wildcards = { colour: ["red", "green", "blue", "white"], other: ["x"] };
const prompt = "a __colour__ {dog|cat|bird}";
const source = goldenPath("models/tiny-sd1");
let server: TestServer;
beforeAll(async () => {
  server = await testServer({ wildcards, work: "library" });
  const { models } = server.parts;
  models.add({
    name: "tiny",
    info: await describeModel(source),
    source,
    precision: "fp32",
    origin: "folder",
  });
});
afterAll(() => server.parts.models.dispose());

/** The library's picture, with its text. */
async function byLibrary(seed: number, guidance: number, scheduler?: string) {
  await using model = await StableDiffusion.load(source);
  const size = { width: 64, height: 64 };
  const { images, options } = await model.generate({
    ...{ prompt, wildcards, seed, guidance, steps: 2, promptSyntax: "a1111", ...size },
    ...(scheduler !== undefined && { scheduler: { sampler: scheduler } }),
  });
  return { image: images[0]!, options };
}

test("AUTOMATIC1111: with lists, prompts are drawn by the seed of each picture and written out", async () => {
  const answer = await server.send("POST", "/sdapi/v1/txt2img", {
    ...{ prompt, negative_prompt: "{ugly|dull}", seed: 5, steps: 2, width: 64, height: 64, batch_size: 2 },
    ...{ sampler_name: "Euler", cfg_scale: 1, override_settings: { sd_model_checkpoint: "tiny" } },
  });
  const made = (await answer.json()) as { images: string[]; info: string };
  const info = JSON.parse(made.info) as Record<string, string[]>;
  expect(info.prompt).toBe(info.all_prompts![0]);
  const prompts = info.infotexts!.map((text) => parseParameters(text).prompt);
  expect(info.all_prompts).toEqual(prompts);
  for (const drawn of prompts) expect(drawn).toMatch(/^a (red|green|blue|white) (dog|cat|bird)$/);
  for (const drawn of info.all_negative_prompts!) expect(drawn).toMatch(/^(ugly|dull)$/);
  for (const [i, base64] of made.images.entries()) {
    const { image, text } = decodePng(Buffer.from(base64, "base64"));
    expect(parseParameters(text.parameters!).prompt).toBe(prompts[i]);
    expect(image).toEqual((await byLibrary(5 + i, 1, "Euler")).image);
  }
});

test("OpenAI: the same", async () => {
  const body = { model: "tiny", prompt, seed: 6, steps: 2, size: "64x64", guidance: 1, scheduler: "euler" };
  const answer = await server.send("POST", "/v1/images/generations", body);
  const { data } = (await answer.json()) as { data: { b64_json: string }[] };
  const { image, text } = decodePng(Buffer.from(data[0]!.b64_json, "base64"));
  expect(parseParameters(text.parameters!).prompt).toMatch(/^a (red|green|blue|white) (dog|cat|bird)$/);
  expect(image).toEqual((await byLibrary(6, 1, "euler")).image);
});

test("a list that there is not is refused by name; without lists prompts are plain text", async () => {
  const plain = await testServer();
  for (const [path, body] of [
    ["/sdapi/v1/txt2img", { prompt: "a __color__ dog", width: 8, height: 8 }],
    ["/v1/images/generations", { prompt: "a __color__ dog", size: "8x8" }],
  ] as const) {
    const refused = await server.send("POST", path, body);
    expect([400, 422]).toContain(refused.status);
    expect(await refused.text()).toContain("there is no wildcard color");
    expect((await plain.send("POST", path, body)).status).toBe(200);
    expect(plain.ran.at(-1)).toMatchObject({ prompt: "a __color__ dog" });
    expect(plain.ran.at(-1)).not.toHaveProperty("wildcards");
  }
});
