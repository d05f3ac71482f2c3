import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { expect, test } from "vitest";
import { createScheduler, decodePng, encodePng, readImage, samplerPair } from "../../../index.js";
import { goldenPath } from "../../../testing/golden.js";
import { base64Png, grey, plainWork, testServer, untilAborted } from "../../fixture.js";
import { generateOptions } from "../../jobs/library-options.js";
import type { StoredGenerate } from "../../requests/request.js";

interface Answer {
  images: string[];
  parameters: Record<string, unknown>;
  info: string;
}
const body = { prompt: "a dog", width: 64, height: 64, steps: 4 };

test("txt2img answers pictures, the request as understood, and the info of the web UI", async () => {
  const { send, ran } = await testServer();
  const answer = await send("POST", "/sdapi/v1/txt2img", {
    ...body,
    negative_prompt: "blurry",
    sampler_name: "DPM++ 2M Karras",
    cfg_scale: 5,
    seed: 3,
    batch_size: 2,
    n_iter: 2,
    override_settings: { CLIP_stop_at_last_layers: 2, randn_source: "NV", emphasis: "No norm" },
    force_task_id: "task(1)",
  });
  expect(answer.status).toBe(200);
  expect(Number(answer.headers.get("x-process-time"))).toBeGreaterThanOrEqual(0);
  const { images, parameters, info } = (await answer.json()) as Answer;
  expect(images).toHaveLength(4);
  expect(decodePng(Buffer.from(images[0]!, "base64")).text.parameters).toContain("grey");
  expect(parameters).toMatchObject({
    ...body,
    cfg_scale: 5,
    styles: null,
    sampler_index: "Euler",
    eta: null,
  });
  expect(JSON.parse(info)).toMatchObject({
    prompt: "a dog",
    all_prompts: Array(4).fill("a dog"),
    negative_prompt: "blurry",
    seed: 7,
    all_seeds: [7, 8, 9, 10],
    sampler_name: "DPM++ 2M Karras",
    cfg_scale: 5,
    steps: 4,
    batch_size: 2,
    sd_model_name: "emoji-diffusion-256",
    index_of_first_image: 0,
    clip_skip: 2,
    infotexts: expect.any(Array),
    job_timestamp: expect.stringMatching(/^\d{14}$/),
    is_using_inpainting_conditioning: false,
  });
  expect(ran[0]).toMatchObject({
    prompt: "a dog",
    negativePrompt: "blurry",
    steps: 4,
    guidance: 5,
    count: 4,
    seed: 3,
    clipSkip: 1,
    rng: "philox",
    emphasis: "no-norm",
    scheduler: { sampler: "DPM++ 2M Karras" },
  });
});

test("what a request leaves open is the model's own default, under the library's names", async () => {
  const { send, ran, parts } = await testServer();
  const { info } = parts.models.current;
  const { scheduler, steps, guidance } = info.generationDefaults!;
  const answer = (await (await send("POST", "/sdapi/v1/txt2img", {})).json()) as Answer;
  // The scheduler is left to the library.
  expect(ran[0]).toMatchObject({ steps, guidance, width: 256, height: 256 });
  expect(ran[0]).not.toHaveProperty("scheduler");
  const { sampler } = samplerPair(scheduler as string);
  const told = { steps, cfg_scale: guidance, width: 256, height: 256, sampler_index: sampler };
  expect(answer.parameters).toMatchObject(told);
  expect(JSON.parse(answer.info)).toMatchObject({ steps, cfg_scale: guidance, sampler_name: sampler });
  await send("POST", "/sdapi/v1/txt2img", { ...body, sampler_name: "Euler", cfg_scale: 7 });
  expect(ran[1]).toMatchObject({ ...body, guidance: 7, scheduler: { sampler: "Euler" } });
  await send("POST", "/sdapi/v1/txt2img", { sampler_index: "DDIM", steps: null, negative_prompt: "" });
  expect(ran[2]).toMatchObject({ steps, guidance, scheduler: { sampler: "DDIM" } });
});

test("a default negative prompt is used when none is sent, and not when an empty one is", async () => {
  const { send, ran, parts } = await testServer();
  const { info, ...option } = parts.models.current;
  parts.models.add({ ...option, info: { ...info, generationDefaults: { negativePrompt: "blurry" } } });
  await send("POST", "/sdapi/v1/txt2img", body);
  await send("POST", "/sdapi/v1/txt2img", { ...body, negative_prompt: "" });
  await send("POST", "/sdapi/v1/txt2img", { ...body, negative_prompt: "red" });
  expect(ran.map((job) => (job as StoredGenerate).negativePrompt)).toEqual(["blurry", "", "red"]);
});

test("defaults are the web UI's where the model has none", async () => {
  const { send, ran, parts } = await testServer();
  const label = await parts.models.addPath(goldenPath("models/tiny-sd1"));
  const override_settings = { sd_model_checkpoint: label };
  await send("POST", "/sdapi/v1/txt2img", { override_settings });
  expect(ran[0]).toEqual({
    kind: "generate",
    model: label,
    prompt: "",
    promptSyntax: "a1111",
    missingLoras: "ignore",
    width: 512,
    height: 512,
    steps: 50,
    guidance: 7,
    count: 1,
    rng: "torch",
    scheduler: { sampler: "Euler" },
  });
});

test("hires fix, variations and seed resize are passed on", async () => {
  const { send, ran } = await testServer();
  const answer = await send("POST", "/sdapi/v1/txt2img", {
    ...body,
    enable_hr: true,
    hr_scale: 1.5,
    hr_upscaler: "Latent (bicubic)",
    hr_second_pass_steps: 3,
    denoising_strength: 0.6,
    subseed: 5,
    subseed_strength: 0.25,
    seed_resize_from_w: 32,
    seed_resize_from_h: 32,
  });
  expect(answer.status).toBe(200);
  expect(ran[0]).toMatchObject({
    hires: { scale: 1.5, upscaler: "latent-bicubic", steps: 3, strength: 0.6 },
    variation: { seed: 5, strength: 0.25 },
    seedSize: { width: 32, height: 32 },
  });
});

test("img2img with a mask: what the web UI calls things, and what it means by a mask", async () => {
  const { send, ran, parts } = await testServer();
  const half = grey(64, 64, 0, 4);
  for (let i = 0; i < half.data.length / 2; i += 4) half.data[i + 3] = 255; // black, but painted: opaque
  const answer = await send("POST", "/sdapi/v1/img2img", {
    ...body,
    init_images: [`data:image/png;base64,${base64Png(grey(64, 64))}`],
    mask: base64Png(half),
    mask_blur: 6,
    inpainting_fill: 2,
    inpaint_full_res_padding: 16,
    denoising_strength: 0.5,
    resize_mode: 1,
    inpainting_mask_invert: 1,
  });
  expect(answer.status).toBe(200);
  const [request] = ran;
  expect(request).toMatchObject({
    model: "emoji-diffusion-256-inpaint CPU FP32",
    strength: 0.5,
    maskBlur: 6,
    maskBlurSide: "both",
    maskedContent: "noise",
    resizeMode: "crop",
    onlyMasked: { padding: 16 },
  });
  const mask = await readImage((await parts.images.get((request as { mask: string }).mask))!);
  // Turned round already: what was painted stays.
  expect([mask.data[0], mask.data.at(-1)]).toEqual([0, 255]);
  const { parameters, info } = (await answer.json()) as Answer;
  expect(parameters).toMatchObject({ init_images: null, mask: null });
  expect(JSON.parse(info).is_using_inpainting_conditioning).toBe(true);
});

test("mask_round: false is a soft mask, on a model that does not see it, from the image itself", async () => {
  const { send, ran } = await testServer();
  const half = { width: 64, height: 64, data: new Uint8Array(64 * 64 * 3).fill(128) };
  const soft = {
    ...body,
    init_images: [base64Png(grey(64, 64))],
    mask: base64Png(half),
    mask_round: false,
  };
  const refused = await send("POST", "/sdapi/v1/img2img", soft);
  expect([refused.status, JSON.stringify(await refused.json())]).toEqual([
    422,
    expect.stringContaining("mask_round: false with an inpainting_fill other than 1"),
  ]);
  const blurred = { ...soft, inpainting_fill: 1, mask_blur_x: 2, mask_blur_y: 6 };
  const other = await send("POST", "/sdapi/v1/img2img", blurred);
  expect([other.status, await other.text()]).toEqual([
    422,
    expect.stringContaining("mask_round: false with a mask_blur_y other than mask_blur_x"),
  ]);
  expect((await send("POST", "/sdapi/v1/img2img", { ...soft, inpainting_fill: 1 })).status).toBe(200);
  expect(ran).toMatchObject([{ softMask: true, model: "emoji-diffusion-256 CPU FP32" }]);
  expect(ran[0]).not.toHaveProperty("maskedContent");
});

test("errors have the API's own form and numbers", async () => {
  const { send } = await testServer();
  const post = async (path: string, request: object) => {
    const answer = await send("POST", `/sdapi/v1/${path}`, request);
    return [answer.status, ((await answer.json()) as { detail: unknown }).detail];
  };
  expect(await post("txt2img", { ...body, sampler_name: "Eulr" })).toEqual([404, "Sampler not found"]);
  expect(await post("txt2img", { ...body, sampler_name: "Euler", scheduler: "odd" })).toEqual([
    404,
    expect.stringContaining("Sampler not found"),
  ]);
  expect(await post("img2img", body)).toEqual([404, "Init image not found"]);
  expect(await post("train/embedding", {})).toEqual([404, "Not Found"]);
  expect(await post("img2img", { ...body, init_images: ["%%%"] })).toEqual([500, "Invalid encoded image"]);
  const bitmap = Buffer.from("BM6\0\0\0").toString("base64");
  expect(await post("img2img", { ...body, init_images: [bitmap] })).toEqual([
    500,
    expect.stringMatching(/^Invalid encoded image: .*it is a BMP file, which is not read$/),
  ]);
  expect(await post("txt2img", { ...body, script_name: "X/Y/Z plot" })).toEqual([
    422,
    "Script 'X/Y/Z plot' not found",
  ]);
  expect(await post("txt2img", { steps: "many" })).toEqual([
    422,
    [{ loc: ["body", "steps"], msg: expect.any(String), type: expect.any(String) }],
  ]);
  expect(await post("interrogate", { image: "" })).toEqual([404, "Image not found"]);
});

test("interrogate says what is missing, and what to do", async () => {
  const { send } = await testServer();
  const answer = await send("POST", "/sdapi/v1/interrogate", { image: base64Png(grey(8, 8)), model: "clip" });
  expect(answer.status).toBe(501);
  expect(await answer.json()).toEqual({
    error: "HTTPException",
    detail: expect.stringContaining("no model that describes pictures"),
    body: "",
    errors: expect.stringContaining("/sdapi/v1/png-info"),
  });
});

test("what would change the picture and is not there is refused, not ignored", async () => {
  const { send, ran } = await testServer();
  for (const [name, value] of Object.entries({
    restore_faces: true,
    tiling: true,
    s_churn: 1,
    s_noise: 0.5,
    refiner_checkpoint: "x",
    refiner_switch_at: 0.8,
    alwayson_scripts: { controlnet: { args: [{ enabled: true, model: "canny" }] } },
    override_settings: { eta_noise_seed_delta: 31337 },
    firstphase_width: 64,
    infotext: "x",
  })) {
    if (name === "refiner_switch_at") continue;
    const extra = name === "refiner_checkpoint" ? { refiner_switch_at: 0.8 } : {};
    const answer = await send("POST", "/sdapi/v1/txt2img", { ...body, [name]: value, ...extra });
    expect([name, answer.status]).toEqual([name, name === "refiner_checkpoint" ? 404 : 422]);
  }
  const override_settings = { emphasis: "Strong" };
  const answer = await send("POST", "/sdapi/v1/txt2img", { ...body, override_settings });
  expect([answer.status, await answer.text()]).toEqual([
    422,
    expect.stringContaining("override_settings.emphasis"),
  ]);
  expect(ran).toEqual([]);
  // What clients send as a matter of course does not disturb.
  const harmless = {
    restore_faces: false,
    tiling: false,
    styles: [],
    s_churn: 0,
    s_noise: 1,
    alwayson_scripts: { controlnet: { args: [{ enabled: false }] }, ADetailer: { args: [false] }, x: {} },
    script_name: null,
    script_args: [],
    eta: null,
    override_settings: { sd_vae: "Automatic", samples_save: false, eta_noise_seed_delta: 0 },
    override_settings_restore_afterwards: true,
    save_images: true,
    do_not_save_grid: true,
    enable_hr: true,
    hr_scale: 2,
    hr_checkpoint_name: "Use same checkpoint",
    hr_sampler_name: "Use same sampler",
    hr_scheduler: "Automatic",
    hr_prompt: "",
    refiner_checkpoint: "None",
    refiner_switch_at: 0,
    s_tmax: 0,
    s_min_uncond: 0,
    comments: {},
  };
  const accepted = await send("POST", "/sdapi/v1/txt2img", { ...body, ...harmless });
  expect([accepted.status, await accepted.text()]).toEqual([200, expect.any(String)]);
  await send("POST", "/sdapi/v1/txt2img", { prompt: "a <lora:x:1> dog", disable_extra_networks: true });
  expect(ran.at(-1)).toMatchObject({ prompt: "a  dog" });
  const wrong = { override_settings: { CLIP_stop_at_last_layers: "many" } };
  const refused = await send("POST", "/sdapi/v1/txt2img", { ...body, ...wrong });
  expect([refused.status, await refused.text()]).toEqual([
    422,
    expect.stringContaining("CLIP_stop_at_last_layers"),
  ]);
});

test("progress with preview; interrupt keeps what is finished, and the state says so", async () => {
  let drawn = () => {};
  const busy = new Promise<void>((resolve) => {
    drawn = resolve;
  });
  const server = await testServer({
    work: async (job, hooks) => {
      await plainWork(server.parts.images)(job, hooks);
      drawn();
      return untilAborted(hooks.finish);
    },
  });
  const { send } = server;
  const idle = await (await send("GET", "/sdapi/v1/progress")).json();
  expect(idle).toMatchObject({ progress: 0, eta_relative: 0, current_image: null, textinfo: null });
  const waiting = send("POST", "/sdapi/v1/txt2img", { ...body, force_task_id: "task(9)" });
  await busy;
  const running = await (await send("GET", "/sdapi/v1/progress")).json();
  expect(running).toMatchObject({
    progress: 1,
    eta_relative: 1,
    state: { job: "task(9)", job_count: 1, job_no: 0, sampling_step: 2, sampling_steps: 2 },
    current_image: expect.stringMatching(/^iVBOR/),
  });
  const without = await (await send("GET", "/sdapi/v1/progress?skip_current_image=true")).json();
  expect(without).toMatchObject({ current_image: null });
  const task = await (await send("POST", "/internal/progress", { id_task: "task(9)" })).json();
  expect(task).toMatchObject({ active: true, queued: false, completed: false, progress: 1 });
  const state = async () => {
    const { state } = (await (await send("GET", "/sdapi/v1/progress")).json()) as { state: object };
    return state;
  };
  expect(await state()).toMatchObject({ skipped: false, interrupted: false });
  expect(await (await send("POST", "/sdapi/v1/skip")).json()).toBeNull();
  expect(await state()).toMatchObject({ skipped: true, interrupted: false });
  expect(await (await send("POST", "/sdapi/v1/interrupt")).json()).toEqual({});
  const answer = await waiting;
  expect(await state()).toMatchObject({ interrupted: true });
  expect(answer.status).toBe(200);
  expect(((await answer.json()) as Answer).images).toHaveLength(1);
});

test("options are read and set, and remembered", async () => {
  const { send, ran } = await testServer();
  const options = await (await send("GET", "/sdapi/v1/options")).json();
  expect(options).toMatchObject({
    sd_model_checkpoint: "emoji-diffusion-256 CPU FP32",
    CLIP_stop_at_last_layers: 1,
    randn_source: "CPU",
  });
  const set = await send("POST", "/sdapi/v1/options", {
    CLIP_stop_at_last_layers: 2,
    randn_source: "NV",
    samples_format: "webp",
    unknown_to_us: 1,
    sd_model_checkpoint: "emoji-diffusion-256",
  });
  expect([set.status, await set.json()]).toEqual([200, null]);
  const { images } = (await (await send("POST", "/sdapi/v1/txt2img", body)).json()) as Answer;
  expect(ran[0]).toMatchObject({ clipSkip: 1, rng: "philox" });
  expect(Buffer.from(images[0]!, "base64").subarray(8, 12).toString()).toBe("WEBP");
  expect((await send("POST", "/sdapi/v1/options", { sd_model_checkpoint: "nobody" })).status).toBe(404);
});

test("png-info takes the text apart", async () => {
  const { send } = await testServer();
  const parameters =
    "a dog\nNegative prompt: cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 64x32";
  const image = Buffer.from(encodePng(grey(4, 4), { parameters })).toString("base64");
  expect(await (await send("POST", "/sdapi/v1/png-info", { image })).json()).toEqual({
    info: parameters,
    items: { parameters },
    parameters: {
      Prompt: "a dog",
      "Negative prompt": "cat",
      Steps: "20",
      Sampler: "Euler a",
      "CFG scale": "7",
      Seed: "5",
      "Size-1": "64",
      "Size-2": "32",
    },
  });
  const plain = await send("POST", "/sdapi/v1/png-info", { image: base64Png(grey(4, 4)) });
  expect(await plain.json()).toEqual({ info: "", items: {}, parameters: {} });
});

test("extra-single-image enlarges, and says what it cannot do", async () => {
  const { send, ran } = await testServer();
  const image = base64Png(grey(8, 4));
  const post = (request: object) => send("POST", "/sdapi/v1/extra-single-image", { image, ...request });
  const answer = await post({ upscaler_1: "Lanczos", upscaling_resize: 3 });
  expect(answer.status).toBe(200);
  expect(Object.keys((await answer.json()) as object)).toEqual(["html_info", "image"]);
  expect(ran[0]).toMatchObject({ kind: "upscale", width: 24, height: 12, upscaler: "Lanczos" });
  const fit = { upscaler_1: "Nearest", resize_mode: 1, upscaling_resize_w: 32, upscaling_resize_h: 32 };
  expect((await post({ ...fit, upscaling_crop: false })).status).toBe(200);
  expect(ran[1]).toMatchObject({ width: 64, height: 32 });
  expect(ran[1]).not.toHaveProperty("crop");
  expect((await post(fit)).status).toBe(200);
  expect(ran[2]).toMatchObject({ width: 64, height: 32, crop: { width: 32, height: 32 } });
  expect((await post({ upscaler_1: "ESRGAN_4x" })).status).toBe(501);
  expect((await post({ upscaler_1: "Lanczos", gfpgan_visibility: 1 })).status).toBe(501);
  expect(await (await post({})).json()).toEqual({ html_info: "", image });
});

test("extra-batch-images enlarges each, and cuts to the size from the middle", async () => {
  const { send } = await testServer({ work: "library" });
  // Black, grey, grey, white from left to right: what is cut off at both sides alike.
  const wide = grey(8, 2, 128);
  for (const y of [0, 1]) {
    wide.data.fill(0, 24 * y, 24 * y + 6);
    wide.data.fill(255, 24 * y + 18, 24 * y + 24);
  }
  const imageList = [wide, grey(3, 3, 7)].map((image, i) => ({ data: base64Png(image), name: `${i}.png` }));
  const size = { resize_mode: 1, upscaling_resize_w: 8, upscaling_resize_h: 4, upscaling_crop: true };
  const body = { ...size, upscaler_1: "Nearest", imageList };
  const answer = await send("POST", "/sdapi/v1/extra-batch-images", body);
  expect(answer.status).toBe(200);
  const { images } = (await answer.json()) as { images: string[] };
  const [first, second] = images.map((image) => decodePng(Buffer.from(image, "base64")).image);
  expect([first?.width, first?.height, second?.width, second?.height]).toEqual([8, 4, 8, 4]);
  expect(new Set(first!.data)).toEqual(new Set([128]));
  expect(new Set(second!.data)).toEqual(new Set([7]));
  expect((await send("POST", "/sdapi/v1/extra-batch-images", { imageList: [] })).status).toBe(200);
});

test("numbers and flags are read as laxly as there", async () => {
  const { parts, send, ran } = await testServer();
  const image = base64Png(grey(8, 8));
  const half = { ...grey(8, 8), data: grey(8, 8).data.map((_, at) => (at < 96 ? 0 : 255)) };
  const lax = {
    inpaint_full_res: 1,
    inpainting_mask_invert: true,
    inpaint_full_res_padding: "8",
    steps: "3",
  };
  const answer = await send("POST", "/sdapi/v1/img2img", {
    ...body,
    ...lax,
    init_images: [image],
    mask: base64Png(half),
  });
  expect(answer.status).toBe(200);
  expect(ran[0]).toMatchObject({ steps: 3, onlyMasked: { padding: 8 } });
  const mask = await readImage((await parts.images.get((ran[0] as { mask: string }).mask))!);
  expect([mask.data[0], mask.data.at(-1)]).toEqual([255, 0]);
  for (const wrong of [{ steps: "3x" }, { steps: [] }, { send_images: "perhaps" }, { enable_hr: 2 }])
    expect((await send("POST", "/sdapi/v1/txt2img", { ...body, ...wrong })).status).toBe(422);
});

test("a second pass without steps of its own runs as many as the first; no upscaler is Lanczos", async () => {
  const { send, ran } = await testServer();
  const hires = { enable_hr: true, hr_upscaler: "None", denoising_strength: 0.5 };
  await send("POST", "/sdapi/v1/txt2img", { ...body, steps: 9, ...hires });
  expect(ran[0]).toMatchObject({ hires: { upscaler: "lanczos", steps: 9, strength: 0.5 } });
});

test("on a picture, samplers on noise levels run a step more than the library would", async () => {
  const { send, ran, parts } = await testServer();
  const init_images = [base64Png(grey(8, 8))];
  const runs: unknown[] = [];
  for (const [sampler_name, steps, denoising_strength] of [
    ["Euler", 20, 0.5],
    ["DPM++ 2M Karras", 20, 0.75],
    ["Euler", 10, 0.3],
    ["Euler a", 1, 0.75],
    ["Euler", 20, 1],
    ["DDIM", 20, 0.5],
  ] as const) {
    const request = { ...body, sampler_name, steps, denoising_strength, init_images };
    expect((await send("POST", "/sdapi/v1/img2img", request)).status).toBe(200);
    const stored = ran.at(-1) as StoredGenerate;
    // The record keeps what was asked for.
    expect(stored.strength).toBe(denoising_strength);
    const { strength } = await generateOptions(stored, parts.images.get, {
      control: () => Promise.reject(),
      ipAdapter: () => Promise.reject(),
    });
    const { timesteps } = createScheduler("euler", { steps, strength: strength! });
    runs.push(timesteps.length);
  }
  expect(runs).toEqual([11, 16, 4, 1, 20, 10]);
});

test("override_settings hold for one request, or from then on when they are not to be restored", async () => {
  const { send, parts } = await testServer();
  const override_settings = {
    CLIP_stop_at_last_layers: 2,
    sd_model_checkpoint: "emoji-diffusion-256-inpaint",
  };
  const post = (more: object) => send("POST", "/sdapi/v1/txt2img", { ...body, override_settings, ...more });
  expect((await post({})).status).toBe(200);
  expect(parts.settings.data.clipSkip).toBe(1);
  expect((await post({ override_settings_restore_afterwards: false })).status).toBe(200);
  expect([parts.settings.data.clipSkip, parts.models.current.name]).toEqual([
    2,
    "emoji-diffusion-256-inpaint",
  ]);
});

test("lists have the fields that clients read", async () => {
  const { send } = await testServer();
  const list = async (name: string) => (await send("GET", `/sdapi/v1/${name}`)).json() as Promise<object[]>;
  expect(await list("samplers")).toContainEqual({
    name: "Euler a",
    aliases: ["k_euler_a", "k_euler_ancestral", "euler_a"],
    options: {},
  });
  expect(await list("schedulers")).toContainEqual({
    name: "karras",
    label: "Karras",
    aliases: [],
    default_rho: 7,
    need_inner_model: false,
  });
  expect((await list("sd-models"))[0]).toEqual({
    title: "emoji-diffusion-256 CPU FP32",
    model_name: "emoji-diffusion-256 CPU FP32",
    hash: expect.any(String),
    sha256: expect.any(String),
    filename: "emoji-diffusion-256",
    config: "",
  });
  expect((await list("upscalers")).map((upscaler) => Object.keys(upscaler))[0]).toEqual([
    "name",
    "model_name",
    "model_path",
    "model_url",
    "scale",
  ]);
  expect(await list("latent-upscale-modes")).toContainEqual({ name: "Latent (nearest-exact)" });
  expect(await list("memory")).toMatchObject({ ram: { total: expect.any(Number) }, cuda: {} });
  expect(await list("embeddings")).toEqual({ loaded: {}, skipped: {} });
  for (const none of ["sd-vae", "loras", "hypernetworks", "face-restorers", "prompt-styles", "extensions"])
    expect([none, await list(none)]).toEqual([none, []]);
  for (const done of ["refresh-checkpoints", "refresh-vae", "refresh-loras", "unload-checkpoint"])
    expect([done, (await send("POST", `/sdapi/v1/${done}`)).status]).toEqual([done, 200]);
});

test("LoRAs and autoencoders are listed by name; one that is chosen is remembered, others are refused", async () => {
  const folder = await mkdtemp(join(tmpdir(), "weights-"));
  await mkdir(join(folder, "people"));
  await mkdir(join(folder, "sharp"));
  for (const file of ["ink.safetensors", "people/dog.safetensors", "readme.txt", "sharp/config.json"])
    await writeFile(join(folder, file), "");
  const { send, parts, ran } = await testServer({ loraDir: folder, vaeDir: folder });
  const list = async (name: string) => (await send("GET", `/sdapi/v1/${name}`)).json();
  const lora = (name: string) => ({ name, alias: name, path: `${name}.safetensors`, metadata: {} });
  expect(await list("loras")).toEqual([lora("ink"), lora("dog")]);
  expect(await list("sd-vae")).toEqual([
    { model_name: "ink", filename: "ink.safetensors" },
    { model_name: "dog", filename: "dog.safetensors" },
    { model_name: "sharp", filename: "sharp" },
  ]);
  const choose = async (sd_vae: string) => (await send("POST", "/sdapi/v1/options", { sd_vae })).status;
  expect(await choose("nobody")).toBe(404);
  expect(await choose("../../etc/passwd")).toBe(404);
  expect(await choose("ink.safetensors")).toBe(200);
  expect(await list("options")).toMatchObject({ sd_vae: "ink" });
  expect(parts.settings.data.vae).toBe("ink");
  const asked = async (sd_vae: string) =>
    (await send("POST", "/sdapi/v1/txt2img", { ...body, override_settings: { sd_vae } })).status;
  expect([await asked("ink"), await asked("dog"), await asked("None"), await asked("cat")]).toEqual([
    200, 200, 200, 404,
  ]);
  expect(ran.map((request) => (request as StoredGenerate).vae)).toEqual(["ink", "dog", undefined]);
  expect(await choose("Automatic")).toBe(200);
  expect(await list("options")).toMatchObject({ sd_vae: "Automatic" });
});

test("mask_blur of rows and columns, resize_mode 3, and a blank mask, which is image to image", async () => {
  const { send, ran } = await testServer();
  const picture = { init_images: [base64Png(grey(64, 64))], inpainting_fill: 1 };
  const post = async (more: object) => {
    const answer = await send("POST", "/sdapi/v1/img2img", { ...body, ...picture, ...more });
    expect(answer.status).toBe(200);
    return JSON.parse(((await answer.json()) as Answer).info) as { comments?: string[] };
  };
  const mask = base64Png(grey(64, 64, 255));
  await post({ mask, mask_blur_x: 3, mask_blur_y: 7 });
  expect(ran.at(-1)).toMatchObject({ maskBlur: 3, maskBlurY: 7, maskBlurSide: "both" });
  await post({ mask, mask_blur_x: 3, mask_blur_y: 7, mask_blur: 2 });
  expect(ran.at(-1)).toMatchObject({ maskBlur: 2 });
  expect(ran.at(-1)).not.toHaveProperty("maskBlurY");
  await post({ resize_mode: 3 });
  expect(ran.at(-1)).toMatchObject({ resizeMode: "latent" });
  for (const blank of [
    { mask: base64Png(grey(64, 64, 0)) },
    { mask, inpainting_mask_invert: 1 },
    { mask: base64Png(grey(64, 64, 0, 4)) },
  ]) {
    const { comments } = await post(blank);
    expect(comments).toEqual(["the mask is blank: image to image"]);
    expect(ran.at(-1)).not.toHaveProperty("mask");
    expect(ran.at(-1)).not.toHaveProperty("maskBlur");
  }
});

test("extras without an upscaler give the picture as it is seen, not the bytes that came", async () => {
  const { send } = await testServer();
  const extras = (image: string) =>
    send("POST", "/sdapi/v1/extra-single-image", { image, upscaler_1: "None" });
  const jpeg = await sharp(Buffer.from(base64Png(grey(8, 16)), "base64"))
    .jpeg()
    .withMetadata({ orientation: 6 })
    .toBuffer();
  const { image } = (await (await extras(jpeg.toString("base64"))).json()) as { image: string };
  expect(decodePng(Buffer.from(image, "base64")).image).toMatchObject({ width: 16, height: 8 });
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>';
  expect((await extras(Buffer.from(svg).toString("base64"))).status).toBe(500);
});

test("fields that this API does not have are ignored as there, and named", async () => {
  const { send, ran } = await testServer();
  const answer = await send("POST", "/sdapi/v1/txt2img", {
    ...{ prompt: "a dog", width: 64, height: 64, steps: 2 },
    ...{ hr_cfg: 3, controlnet_units: [{ model: "x" }] },
  });
  const { info } = (await answer.json()) as { info: string };
  expect(JSON.parse(info)).toMatchObject({
    comments: ["hr_cfg means nothing here: ignored", "controlnet_units means nothing here: ignored"],
  });
  expect(ran).toHaveLength(1);
});

test("a cfg_scale below 1 acts as 1, and the info says so", async () => {
  const { send, ran } = await testServer();
  const commentsOf = async (more: object) => {
    const answer = await send("POST", "/sdapi/v1/txt2img", { ...body, ...more });
    return (JSON.parse(((await answer.json()) as Answer).info) as { comments?: string[] }).comments;
  };
  expect(await commentsOf({ cfg_scale: 0.5 })).toEqual([
    "cfg_scale 0.5 acts as 1: the picture is made from the prompt alone",
  ]);
  expect(ran[0]).toMatchObject({ guidance: 0.5 });
  expect(await commentsOf({ cfg_scale: 0 })).toEqual([expect.stringContaining("cfg_scale 0 acts as 1")]);
  expect(await commentsOf({ cfg_scale: 1 })).toBeUndefined();
  expect(await commentsOf({ cfg_scale: 0.5, prompt: "a dog AND a cat" })).toBeUndefined();
});

test("a model without a text encoder draws without a prompt, and refuses words", async () => {
  const { send, ran, parts } = await testServer();
  const { label } = parts.models.resolve("butterflies-64");
  // Settings of the server about prompts mean nothing to it, either.
  await send("POST", "/sdapi/v1/options", { emphasis: "No norm", pad_cond_uncond: true });
  const post = (more: object) =>
    send("POST", "/sdapi/v1/txt2img", {
      ...{ steps: 2, width: 64, height: 64, sampler_name: "DDIM" },
      ...{ override_settings: { sd_model_checkpoint: label, CLIP_stop_at_last_layers: 1 }, ...more },
    });
  for (const empty of [{}, { prompt: "", negative_prompt: "" }]) expect((await post(empty)).status).toBe(200);
  const [, asked] = ran;
  expect(asked).toMatchObject({ model: label, steps: 2, scheduler: { sampler: "DDIM" } });
  for (const name of ["prompt", "negativePrompt", "guidance", "clipSkip"])
    expect(asked).not.toHaveProperty(name);
  const { info } = (await (await post({ cfg_scale: 7 })).json()) as Answer;
  const comment = expect.stringMatching(/^cfg_scale has no effect: butterflies-64/);
  expect(JSON.parse(info)).toMatchObject({ prompt: "", comments: [comment] });
  for (const words of [{ prompt: "a dog" }, { negative_prompt: "red" }]) {
    const refused = await post(words);
    expect([refused.status, await refused.text()]).toEqual([422, expect.stringContaining("no text encoder")]);
  }
});

test("extra-single-image that is interrupted is no fault of the server", async () => {
  const server = await testServer({
    work: async (_job, hooks) => {
      void server.send("POST", "/sdapi/v1/interrupt");
      return untilAborted(hooks.finish);
    },
  });
  const request = { image: base64Png(grey(8, 4)), upscaler_1: "Lanczos" };
  const answer = await server.send("POST", "/sdapi/v1/extra-single-image", request);
  expect([answer.status, await answer.json()]).toEqual([
    409,
    expect.objectContaining({ detail: expect.stringContaining("the job was interrupted") }),
  ]);
});
