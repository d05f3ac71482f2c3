import { expect, test, vi } from "vitest";
import {
  decodePng,
  describeModel,
  encodePng,
  fitImage,
  type Image,
  preprocess,
  StableDiffusion,
} from "../../../index.js";
import { goldenPath } from "../../../testing/golden.js";
import { base64Png, grey, testServer } from "../../fixture.js";
import type { StoredGenerate } from "../../requests/request.js";

// The last test loads a model.
vi.setConfig({ testTimeout: 180_000 });

const controlDir = goldenPath("models");
const server = () => testServer({ controlDir });

/** A white square on black. */
function square(width: number, height: number): Image {
  const image = grey(width, height, 0);
  for (let y = height / 4; y < height / 2; y++)
    image.data.fill(255, 3 * (y * width + width / 4), 3 * (y * width + width / 2));
  return image;
}
const picture = base64Png(square(64, 64));
const body = { prompt: "a dog", width: 64, height: 64, steps: 2, seed: 5 };
const withUnits = (...args: unknown[]) => ({ ...body, alwayson_scripts: { ControlNet: { args } } });
const unit = { model: "tiny-controlnet", image: picture };

test("units become ControlNets, their pictures prepared as the unit says", async () => {
  const { send, ran, parts } = await server();
  const post = (...args: unknown[]) => send("POST", "/sdapi/v1/txt2img", withUnits(...args));
  const settings = { module: "canny", weight: 0.6, processor_res: 64, threshold_a: 50, threshold_b: 150 };
  const answer = await post(
    {
      ...unit,
      ...settings,
      guidance_start: 0.1,
      guidance_end: 0.9,
      control_mode: "ControlNet is more important",
    },
    { enabled: false },
    {
      model: "tiny-controlnet [abcdef01]",
      input_image: picture,
      module: "invert (from white bg & black line)",
    },
  );
  expect(answer.status).toBe(200);
  const { controlnet } = ran[0] as StoredGenerate;
  expect(controlnet).toMatchObject([
    { model: "tiny-controlnet", scale: 0.6, start: 0.1, end: 0.9, guess: true },
    { scale: 1, start: 0, end: 1, guess: false },
  ]);
  const stored = async (i: number) => decodePng((await parts.images.get(controlnet![i]!.image))!).image;
  expect(await stored(0)).toEqual(preprocess(square(64, 64), [{ name: "canny", low: 50, high: 150 }]));
  expect(await stored(1)).toEqual(preprocess(square(64, 64), ["invert"]));
});

test("fields of units that mean nothing here are named in the answer", async () => {
  const { send } = await server();
  const answer = await send(
    "POST",
    "/sdapi/v1/txt2img",
    withUnits(true, { ...unit, lowvram: true }, { enabled: false, other: 1 }),
  );
  const { info } = (await answer.json()) as { info: string };
  expect(JSON.parse(info)).toMatchObject({
    comments: ["alwayson_scripts.controlnet.args.1.lowvram means nothing here: ignored"],
  });
});

test("edges are found at processor_res, then brought to the size as resize_mode says", async () => {
  const { send, ran, parts } = await server();
  const wide = square(96, 48);
  for (const [resize_mode, mode] of [
    ["Just Resize", "stretch"],
    [1, "crop"],
    [2, "fill"],
    [undefined, "crop"],
  ] as const) {
    const args = [
      { ...unit, image: { image: base64Png(wide) }, module: "canny", processor_res: 24, resize_mode },
    ];
    await send("POST", "/sdapi/v1/txt2img", withUnits(...args));
    const { controlnet } = ran.at(-1) as StoredGenerate;
    const edges = preprocess(fitImage(wide, { width: 48, height: 24 }), [
      { name: "canny", low: 100, high: 200 },
    ]);
    const { image } = decodePng((await parts.images.get(controlnet![0]!.image))!);
    expect([mode, image]).toEqual([mode, fitImage(edges, { width: 64, height: 64 }, mode)]);
  }
});

test("image to image: a unit without a picture follows the one that it starts from", async () => {
  const { send, ran } = await server();
  await send("POST", "/sdapi/v1/img2img", { ...withUnits({ ...unit, image: null }), init_images: [picture] });
  const { image, controlnet } = ran[0] as StoredGenerate;
  expect(controlnet?.[0]?.image).toBe(image);
});

test("prepared pictures stand behind those of the answer, unless the unit or the setting says no", async () => {
  const { send } = await server();
  const post = async (units: object[], more: object = {}) => {
    const answer = await send("POST", "/sdapi/v1/txt2img", { ...withUnits(...units), ...more });
    const { images, info } = (await answer.json()) as { images: string[]; info: string };
    return { images, info: JSON.parse(info) as { all_seeds: number[]; infotexts: string[] } };
  };
  const edges = { ...unit, module: "canny", processor_res: 64 };
  const two = [edges, { enabled: false }, { ...unit, module: "invert", save_detected_map: true }];
  const { images, info } = await post(two, { batch_size: 2 });
  expect([images.length, info.all_seeds.length, info.infotexts.length]).toEqual([4, 2, 2]);
  const { image } = decodePng(Buffer.from(images[2]!, "base64"));
  expect(image).toEqual(preprocess(square(64, 64), [{ name: "canny", low: 100, high: 200 }]));
  expect(decodePng(Buffer.from(images[3]!, "base64")).image).toEqual(preprocess(square(64, 64), ["invert"]));
  const count = async (...request: Parameters<typeof post>) => (await post(...request)).images.length;
  const [first, , third] = two;
  expect(await count([first!, { ...third, save_detected_map: false }])).toBe(2);
  const off = { override_settings: { control_net_no_detectmap: true } };
  expect([await count(two, off), await count(two, { send_images: false })]).toEqual([1, 0]);
  expect((await send("POST", "/sdapi/v1/options", off.override_settings)).status).toBe(200);
  const options = await (await send("GET", "/sdapi/v1/options")).json();
  expect(options).toMatchObject(off.override_settings);
  const on = { override_settings: { control_net_no_detectmap: false } };
  expect([await count(two), await count(two, on)]).toEqual([1, 3]);
});

test("pixel_perfect looks at the picture at the size that it will be shown at", async () => {
  const { send, ran, parts } = await server();
  const wide = square(128, 64);
  for (const [resize_mode, height, mode] of [
    [1, 64, "crop"],
    [2, 32, "fill"],
  ] as const) {
    const perfect = { ...unit, module: "canny", pixel_perfect: true, processor_res: 512, resize_mode };
    await send("POST", "/sdapi/v1/txt2img", withUnits({ ...perfect, image: base64Png(wide) }));
    const { controlnet } = ran.at(-1) as StoredGenerate;
    const seen = fitImage(wide, { width: 2 * height, height });
    const edges = preprocess(seen, [{ name: "canny", low: 100, high: 200 }]);
    const { image } = decodePng((await parts.images.get(controlnet![0]!.image))!);
    expect(image).toEqual(fitImage(edges, { width: 64, height: 64 }, mode));
  }
});

test("what a unit cannot have is refused, with what is wrong", async () => {
  const { send, ran } = await server();
  for (const [changes, status, said] of [
    [{ model: "../../tiny-controlnet" }, 404, /there is no ControlNet/],
    [{ model: "None" }, 422, /args\.0\.model/],
    [{ module: "openpose" }, 422, /module openpose not found/],
    [{ image: undefined }, 422, /no input image/],
    [{ image: "http://example.org/a.png" }, 500, /not fetched/],
    [{ control_mode: 1 }, 422, /My prompt is more important/],
    [{ control_mode: "Anything" }, 422, /control_mode/],
    [{ mask: picture }, 422, /masks/],
    [{ weight: -1 }, 422, /weight/],
    [{ module: "canny", processor_res: 100_000 }, 422, /processor_res/],
  ] as const) {
    const answer = await send("POST", "/sdapi/v1/txt2img", withUnits({ ...unit, ...changes }));
    expect([changes, answer.status]).toEqual([changes, status]);
    expect(await answer.text()).toMatch(said);
  }
  const without = await testServer();
  const answer = await without.send("POST", "/sdapi/v1/txt2img", withUnits(unit));
  expect([answer.status, await answer.text()]).toEqual([404, expect.stringContaining("--control-dir")]);
  expect([...ran, ...without.ran]).toEqual([]);
});

test("the lists, and a picture preprocessed on its own", async () => {
  const { send } = await server();
  const get = async (path: string) => (await send("GET", path)).json();
  expect(await get("/controlnet/version")).toEqual({ version: 2 });
  expect(((await get("/controlnet/model_list")) as { model_list: string[] }).model_list).toContain(
    "tiny-controlnet",
  );
  expect(await get("/sdapi/v1/scripts")).toEqual({ txt2img: ["controlnet"], img2img: ["controlnet"] });
  expect(await get("/controlnet/control_types")).toMatchObject({
    control_types: { All: { model_list: expect.arrayContaining(["None", "tiny-controlnet"]) } },
  });
  expect(await get("/controlnet/module_list")).toMatchObject({ module_list: ["none", "canny", "invert"] });
  const none = await send("POST", "/controlnet/detect", { controlnet_module: "canny" });
  expect([none.status, await none.json()]).toMatchObject([422, { detail: "No image selected" }]);
  const detect = {
    controlnet_module: "canny",
    controlnet_input_images: [picture],
    controlnet_processor_res: 64,
  };
  const { images } = (await (await send("POST", "/controlnet/detect", detect)).json()) as {
    images: string[];
  };
  const edges = preprocess(square(64, 64), [{ name: "canny", low: 100, high: 200 }]);
  expect(decodePng(Buffer.from(images[0]!, "base64")).image).toEqual(edges);
});

test("several init_images are one batch, a picture from each", async () => {
  const { send, ran, parts } = await server();
  const init_images = [base64Png(grey(8, 8, 10)), base64Png(grey(8, 8, 20))];
  const post = (more: object) => send("POST", "/sdapi/v1/img2img", { ...body, init_images, ...more });
  const few = await post({ batch_size: 1 });
  expect([few.status, await few.text()]).toEqual([422, expect.stringContaining("expecting 1 or less")]);
  const answer = await post({ batch_size: 3, n_iter: 2 });
  expect(((await answer.json()) as { images: string[] }).images).toHaveLength(4);
  const { images = [], image, count } = ran[0] as StoredGenerate;
  expect([image, count]).toEqual([undefined, 4]);
  const values = await Promise.all(
    images.map(async (key) => decodePng((await parts.images.get(key))!).image.data[0]),
  );
  expect(values).toEqual([10, 20]);
});

test("both on a real model: the library's pictures", async () => {
  const source = goldenPath("models/tiny-sd1");
  const { send, parts } = await testServer({ controlDir, work: "library" });
  const { models } = parts;
  models.add({
    name: "tiny",
    info: await describeModel(source),
    source,
    precision: "fp32",
    origin: "folder",
  });
  const [one, two] = [square(64, 64), grey(64, 64, 200)];
  const answer = await send("POST", "/sdapi/v1/img2img", {
    ...withUnits({ ...unit, weight: 0.8 }),
    init_images: [base64Png(one), base64Png(two)],
    batch_size: 2,
    denoising_strength: 0.6,
    sampler_name: "DDIM",
    override_settings: { sd_model_checkpoint: "tiny" },
  });
  const made = (await answer.json()) as { images: string[]; detail?: string };
  expect(made.detail).toBeUndefined();
  await models.dispose();
  await using model = await StableDiffusion.load(source);
  for (const [i, image] of [one, two].entries()) {
    const controlnet = [{ model: goldenPath("models/tiny-controlnet"), image: square(64, 64), scale: 0.8 }];
    const options = { ...body, seed: 5 + i, guidance: 7, strength: 0.6, promptSyntax: "a1111" } as const;
    const expected = await model.generate({ ...options, image, controlnet, scheduler: { sampler: "DDIM" } });
    expect(decodePng(Buffer.from(made.images[i]!, "base64")).image).toEqual(
      decodePng(encodePng(expected.images[0]!)).image,
    );
  }
});

test("words of older versions mean what they meant, and what is not here is refused by name", async () => {
  const { send, ran } = await server();
  const post = (more: object, request: object = {}) =>
    send("POST", "/sdapi/v1/txt2img", { ...withUnits({ ...unit, ...more }), ...request });
  const wide = base64Png(square(96, 64));
  for (const [resize_mode, now] of [
    ["Scale to Fit (Inner Fit)", "Crop and Resize"],
    ["Inner Fit (Scale to Fit)", "Crop and Resize"],
    ["Envelope (Outer Fit)", "Resize and Fill"],
    ["Outer Fit (Shrink to Fit)", "Resize and Fill"],
  ]) {
    expect((await post({ image: wide, resize_mode })).status).toBe(200);
    expect((await post({ image: wide, resize_mode: now })).status).toBe(200);
    const [older, newer] = ran.slice(-2).map((request) => (request as StoredGenerate).controlnet![0]!.image);
    expect(older).toBe(newer);
  }
  for (const guess of [{ guess_mode: true }, { guessmode: true }, { control_mode: 2 }]) {
    await post(guess);
    expect((ran.at(-1) as StoredGenerate).controlnet![0]!.guess).toBe(true);
  }
  const left = {
    guessmode: false,
    lowvram: false,
    hr_option: "Both",
    advanced_weighting: null,
    batch_images: "",
  };
  expect((await post({ ...left, effective_region_mask: null, ipadapter_input: [] })).status).toBe(200);
  const hires = { enable_hr: true, denoising_strength: 0.5 };
  for (const [name, more, request] of [
    ["effective_region_mask", { effective_region_mask: picture }],
    ["advanced_weighting", { advanced_weighting: [1, 0.5] }],
    ["ipadapter_input", { ipadapter_input: ["tensor"] }],
    ["batch_images", { batch_images: "folder" }],
    ["invert_image", { invert_image: true }],
    ["rgbbgr_mode", { rgbbgr_mode: true }],
    ['hr_option "High res only"', { hr_option: "High res only" }, hires],
  ] as const) {
    const refused = await post(more, request);
    expect(refused.status, name).toBe(422);
    expect(await refused.json()).toMatchObject({ detail: expect.stringContaining(name) });
  }
});
