import { mkdirSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { goldenPath } from "../../../testing/golden.js";
import { writeTinyRefiner } from "../../../testing/tiny-refiner.js";
import { base64Png, grey, type TestServer, testServer } from "../../fixture.js";
import type { StoredGenerate } from "../../requests/request.js";
import { optionsBody } from "./sdapi-schema.js";
import { fixedSettings } from "./sdapi-settings.js";

const body = {
  prompt: "a dog # not this\nand a cat",
  width: 64,
  height: 64,
  steps: 4,
  sampler_name: "Euler a",
};
const start = { init_images: [base64Png(grey(64, 64))] };

interface Case {
  readonly value: unknown;
  /** What a request without settings of its own becomes. */
  readonly job?: object;
  /** Of which kind. */
  readonly route?: "txt2img" | "img2img";
  readonly request?: object;
  readonly isRefiner?: true;
}

/** Each setting with a value that is not its default, and what a job has of it. */
const cases: Readonly<Record<string, Case>> = {
  sd_model_checkpoint: { value: "emoji-diffusion-256-inpaint", job: { model: /inpaint/ } },
  CLIP_stop_at_last_layers: { value: 3, job: { clipSkip: 2 } },
  randn_source: { value: "NV", job: { rng: "philox" } },
  sd_vae: { value: "Automatic", job: {} },
  control_net_no_detectmap: { value: true },
  samples_format: { value: "webp" },
  emphasis: { value: "Ignore", job: { emphasis: "ignore" } },
  pad_cond_uncond: { value: true, job: { padPrompts: true } },
  eta_ancestral: { value: 0.5, job: { eta: 0.5 } },
  eta_ddim: { value: 0.25, job: { eta: 0.25 }, request: { sampler_name: "DDIM" } },
  token_merging_ratio: { value: 0.5, job: { tokenMerging: 0.5 } },
  token_merging_ratio_img2img: { value: 0.25, job: { tokenMerging: 0.25 }, route: "img2img" },
  img2img_fix_steps: { value: true, job: { exactSteps: true, webuiSteps: false }, route: "img2img" },
  enable_prompt_comments: { value: false, job: { prompt: body.prompt } },
  sdxl_refiner_high_aesthetic_score: {
    value: 8,
    job: { aestheticScore: 8 },
    ...{ route: "img2img", isRefiner: true },
  },
  sdxl_refiner_low_aesthetic_score: {
    value: 1,
    job: { negativeAestheticScore: 1 },
    ...{ route: "img2img", isRefiner: true },
  },
};

async function jobOf({ send, ran }: TestServer, { route = "txt2img", request }: Case, more: object = {}) {
  const asked = { ...body, ...(route === "img2img" && start), ...request, ...more };
  const answer = await send("POST", `/sdapi/v1/${route}`, asked);
  expect([answer.status, await answer.text()]).toEqual([200, expect.any(String)]);
  const job = ran.at(-1)!;
  return "model" in job ? { ...job, model: String(job.model) } : job;
}

const matching = (job: object): object =>
  Object.fromEntries(
    Object.entries(job).map(([name, value]) => [
      name,
      value instanceof RegExp ? expect.stringMatching(value) : value,
    ]),
  );

test("every setting that is known holds for a request, and for later ones once it is set", async () => {
  expect(Object.keys(cases).toSorted()).toEqual(Object.keys(optionsBody.shape).toSorted());
  const server = await testServer();
  const folder = await mkdtemp(join(tmpdir(), "refiner-"));
  const refiner = await server.parts.models.addPath(writeTinyRefiner(join(folder, "refiner")));
  const before = (await (await server.send("GET", "/sdapi/v1/options")).json()) as Record<string, unknown>;
  for (const [name, one] of Object.entries(cases)) {
    if (one.isRefiner) await server.parts.models.choose(refiner!);
    const set = { [name]: one.value };
    if (one.job) {
      const job = await jobOf(server, one, { override_settings: set });
      expect([name, job]).toEqual([name, expect.objectContaining(matching(one.job))]);
      // For that one only.
      if (Object.keys(one.job).length > 0)
        expect(await jobOf(server, one)).not.toMatchObject(matching(one.job));
    }
    expect((await server.send("POST", "/sdapi/v1/options", set)).status).toBe(200);
    const shown = (await (await server.send("GET", "/sdapi/v1/options")).json()) as Record<string, unknown>;
    expect([name, shown[name]]).toEqual([
      name,
      name === "sd_model_checkpoint" ? expect.stringContaining(String(one.value)) : one.value,
    ]);
    if (one.job) expect(await jobOf(server, one)).toMatchObject(matching(one.job));
    expect((await server.send("POST", "/sdapi/v1/options", before)).status).toBe(200);
  }
});

test("settings that would change pictures and cannot be had are refused by name, and nothing is set then", async () => {
  const { send, parts, ran } = await testServer();
  const before = parts.settings.data;
  for (const [name, value] of Object.entries(fixedSettings)) {
    const other = typeof value === "boolean" ? !value : typeof value === "number" ? value + 1 : "something";
    const set = await send("POST", "/sdapi/v1/options", { [name]: other, CLIP_stop_at_last_layers: 2 });
    expect([name, set.status, await set.text()]).toEqual([name, 422, expect.stringContaining(name)]);
    const asked = await send("POST", "/sdapi/v1/txt2img", { ...body, override_settings: { [name]: other } });
    expect([name, asked.status, await asked.text()]).toEqual([
      name,
      422,
      expect.stringContaining(`override_settings.${name}`),
    ]);
  }
  expect(parts.settings.data).toEqual(before);
  expect(ran).toEqual([]);
});

test("clip skip is Stable Diffusion 1's alone, as in the web UI; the library's own option goes on", async () => {
  const server = await testServer();
  const { send, parts, ran } = server;
  const folder = goldenPath("models/tiny-sdxl");
  const xl = await parts.models.addPath(folder);
  const asked = async (model: string, more: object = {}) => {
    const override_settings = { sd_model_checkpoint: model, ...more };
    const answer = await send("POST", "/sdapi/v1/txt2img", { ...body, override_settings });
    const { comments = [] } = JSON.parse(((await answer.json()) as { info: string }).info);
    return [(ran.at(-1) as StoredGenerate).clipSkip, comments];
  };
  const skip = { CLIP_stop_at_last_layers: 3 };
  expect(await asked("emoji-diffusion-256", skip)).toEqual([2, []]);
  expect(await asked(xl!, skip)).toEqual([
    undefined,
    ["tiny-sdxl takes no clip skip, as in the web UI: ignored"],
  ]);
  await send("POST", "/sdapi/v1/options", skip);
  expect(await asked("emoji-diffusion-256")).toEqual([2, []]);
  expect(await asked(xl!)).toEqual([undefined, []]);
  const job = { prompt: "a", width: 64, height: 64, model: xl, clipSkip: 1 };
  const { id } = (await (await send("POST", "/jobs", job)).json()) as { id: string };
  await parts.jobs.ended(id);
  expect(ran.at(-1)).toMatchObject({ clipSkip: 1 });
});

test("what GET options says can be posted back", async () => {
  const { send } = await testServer();
  const options = (await (await send("GET", "/sdapi/v1/options")).json()) as object;
  const asText = { tiling: "False", s_churn: "0.0", sd_unet: null, upscaler_for_img2img: "", sd_lora: "" };
  for (const given of [options, asText])
    expect((await send("POST", "/sdapi/v1/options", given)).status).toBe(200);
  const override_settings = { upscaler_for_img2img: "" };
  expect((await send("POST", "/sdapi/v1/txt2img", { ...body, override_settings })).status).toBe(200);
  expect(await (await send("GET", "/sdapi/v1/options")).json()).toEqual({
    ...options,
    sd_checkpoint_hash: expect.any(String), // found meanwhile
  });
});

test("the web UI's names of emphasis are all taken, others are refused by the same table", async () => {
  const server = await testServer();
  const names = { Original: "original", "No norm": "no-norm", Ignore: "ignore", None: "none" };
  for (const [emphasis, own] of Object.entries(names)) {
    expect(await jobOf(server, { value: 0 }, { override_settings: { emphasis } })).toMatchObject({
      emphasis: own,
    });
    expect((await server.send("POST", "/sdapi/v1/options", { emphasis })).status).toBe(200);
    expect(await jobOf(server, { value: 0 })).toMatchObject({ emphasis: own });
  }
  for (const [route, given] of [
    ["options", { emphasis: "Strong" }],
    ["txt2img", { ...body, override_settings: { emphasis: "Strong" } }],
  ] as const) {
    const refused = await server.send("POST", `/sdapi/v1/${route}`, given);
    expect([refused.status, await refused.text()]).toEqual([422, expect.stringContaining("emphasis")]);
  }
});

test("settings of a request that mean nothing here are named in its info", async () => {
  const { send } = await testServer();
  const override_settings = { samples_save: false, emphasis: "Original", tiling: false };
  const answer = await send("POST", "/sdapi/v1/txt2img", { ...body, override_settings });
  const { info } = (await answer.json()) as { info: string };
  expect((JSON.parse(info) as { comments: string[] }).comments).toEqual([
    "override_settings.samples_save means nothing here: ignored",
  ]);
});

test("what stands behind # in a prompt is left out, as the web UI does", async () => {
  const server = await testServer();
  expect(await jobOf(server, { value: 0 })).toMatchObject({ prompt: "a dog \nand a cat" });
});

test("a client whose settings cannot be kept has its place in the queue again", async () => {
  const { send, folder } = await testServer({ limits: { queuedPerClient: 2 } });
  const settings = join(folder, "settings.json");
  rmSync(settings, { force: true });
  mkdirSync(join(settings, "no file"), { recursive: true });
  const kept = {
    ...{ prompt: "", steps: 1, width: 64, height: 64 },
    override_settings: { samples_format: "webp" },
    override_settings_restore_afterwards: false,
  };
  for (let i = 0; i < 3; i++)
    expect((await send("POST", "/sdapi/v1/txt2img", kept)).status).toBeGreaterThanOrEqual(500);
  rmSync(settings, { recursive: true });
  expect((await send("POST", "/sdapi/v1/txt2img", kept)).status).toBe(200);
});
