import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { IpAdapterInput } from "../options/control-options.js";
import type { GenerateOptions } from "../options/options.js";
import { StableDiffusion } from "../pipeline/stable-diffusion.js";
import type { RuntimeName } from "../runtime/runner.js";
import { goldenExtra, goldenPath, readTensors, toNhwc } from "../testing/golden.js";
import { startHub } from "../testing/hub-server.js";

const at = (file: string) => goldenExtra(`ip-adapter/${file}`);
const tensors = readTensors(at("ip-adapter.safetensors"));
const latents = (key: string) => toNhwc(tensors.get(key)!).data;

interface Case {
  readonly name: string;
  readonly latents: string;
  readonly ipAdapter: readonly { model: string; image: string[]; scale: number }[];
  readonly guidance?: number;
}
const { pipeline, pipelines } = JSON.parse(readFileSync(at("cases.json"), "utf8")) as {
  pipeline: GenerateOptions;
  pipelines: readonly Case[];
};
const options: GenerateOptions = { ...pipeline, output: "latents" };

const difference = (a: Float32Array, b: Float32Array) =>
  Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));

describe.each<RuntimeName>(["eager", "graph"])("IP-Adapter, against diffusers, %s", (runtime) => {
  let model: StableDiffusion;
  let cacheDir: string;
  beforeAll(async () => {
    cacheDir = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
    model = await StableDiffusion.load(goldenPath("models/tiny-sd1"), { runtime, threads: 1, cacheDir });
  });
  afterAll(async () => {
    await model.dispose();
    rmSync(cacheDir, { recursive: true, force: true });
  });

  // Graphs take their time to be written; the networks are compared in both runtimes (clip-vision.test.ts).
  const cases = runtime === "eager" ? pipelines : pipelines.filter(({ name }) => name === "several");
  it.each(cases.map((c) => [c.name, c] as const))("%s", async (_, c) => {
    const ipAdapter = c.ipAdapter.map(({ model: file, image, scale }): IpAdapterInput => {
      return { model: at(file), image: image.map(at), scale };
    });
    const { guidance = options.guidance! } = c;
    const { latents: got } = await model.generate({ ...options, guidance, ipAdapter });
    const want = latents(c.latents);
    const largest = Math.max(...want.map(Math.abs));
    expect(got.data).toBeCloseTo32(want, { abs: 1e-4 * largest });
  });

  it("its scale is changed from call to call; without pictures it is as if there was none", async () => {
    const before = (await model.generate(options)).latents.data;
    await model.loadIpAdapter(at("plain.safetensors"), { name: "style" });
    expect(model.ipAdapters.find(({ name }) => name === "style")).toMatchObject({
      path: at("plain.safetensors"),
      imageEncoder: at("image_encoder"),
    });
    const { tensors: loaded } = await model.status();
    const run = async (ipAdapter: object) =>
      (
        await model.generate({
          ...options,
          ipAdapter: { model: "style", image: at("wide.png"), ...ipAdapter },
        })
      ).latents.data;
    const [full, half, none] = [await run({ scale: 1 }), await run({ scale: 0.5 }), await run({ scale: 0 })];
    expect(none).toBeCloseTo32(before, { abs: 1e-4 });
    for (const [a, b] of [[full, half], [half, none], [full, none]] as const) // biome-ignore format: pairs
      expect(difference(a, b)).toBeGreaterThan(0.01);
    expect(await run({ end: 0.2 })).toBeCloseTo32(before, { abs: 1e-4 });
    expect(difference(await run({ end: 0.5 }), full)).toBeGreaterThan(0.01);
    expect((await model.generate(options)).latents.data).toEqual(before);
    if (runtime === "graph") expect((await model.status()).tensors).toBe(loaded);
    const { tensors: held } = await model.status();
    await model.removeIpAdapter("style");
    // Graphs hold mapped weights, which are no tensors.
    if (runtime === "eager") expect((await model.status()).tensors).toBeLessThan(held);
    await expect(run({})).rejects.toThrow(/no IP-Adapter style/);
  });

  it.runIf(runtime === "eager")("reads the same from a pickle", async () => {
    const run = async (file: string) => {
      const ipAdapter = { model: at(file), image: at("wide.png"), scale: 0.6 };
      return (await model.generate({ ...options, ipAdapter })).latents.data;
    };
    expect(await run("plain.bin")).toEqual(await run("plain.safetensors"));
  });

  it.runIf(runtime === "eager")("goes together with a LoRA, and leaves nothing behind", async () => {
    const before = (await model.generate(options)).latents.data;
    const ipAdapter = { model: at("plain.safetensors"), image: at("wide.png") };
    const alone = (await model.generate({ ...options, ipAdapter })).latents.data;
    await model.loadLora(goldenPath("adapters/lora-peft.safetensors"), { name: "lora" });
    const both = (await model.generate({ ...options, ipAdapter })).latents.data;
    const lora = (await model.generate(options)).latents.data;
    for (const other of [before, alone, lora]) expect(difference(both, other)).toBeGreaterThan(0.01);
    model.removeLora("lora");
    expect((await model.generate({ ...options, ipAdapter })).latents.data).toEqual(alone);
    expect((await model.generate(options)).latents.data).toEqual(before);
  });
});

it("IP-Adapter for Stable Diffusion XL, against diffusers", async () => {
  const cacheDir = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
  const given = { runtime: "eager", threads: 1, cacheDir } as const;
  const model = await StableDiffusion.load(goldenPath("models/tiny-sdxl"), given);
  try {
    await model.loadIpAdapter(goldenExtra("ip-adapter-xl/plain.safetensors"), {
      name: "xl",
      imageEncoder: at("image_encoder"),
    });
    const ipAdapter = { model: "xl", image: at("wide.png"), scale: 0.6 };
    const { latents: got } = await model.generate({ ...options, ipAdapter });
    const want = toNhwc(readTensors(goldenExtra("ip-adapter-xl/latents.safetensors")).get("latents")!).data;
    expect(got.data).toBeCloseTo32(want, { abs: 1e-4 * Math.max(...want.map(Math.abs)) });
  } finally {
    await model.dispose();
    rmSync(cacheDir, { recursive: true, force: true });
  }
});

describe("IP-Adapter: what does not fit", () => {
  let model: StableDiffusion;
  beforeAll(async () => {
    model = await StableDiffusion.load(goldenPath("models/tiny-sd1"), { runtime: "eager", threads: 1 });
  });
  afterAll(() => model.dispose());

  it("is refused when it is loaded", async () => {
    await expect(model.loadIpAdapter(at("ip-adapter.safetensors"))).rejects.toThrow(/is no IP-Adapter/);
    await expect(model.loadIpAdapter(goldenExtra("ip-adapter"))).rejects.toThrow(/is a folder/);
    await expect(model.loadIpAdapter("nothing.safetensors")).rejects.toThrow(/there is no adapter/);
    const folder = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
    try {
      copyFileSync(at("plain.safetensors"), join(folder, "plain.safetensors"));
      await expect(model.loadIpAdapter(join(folder, "plain.safetensors"))).rejects.toThrow(
        /no image encoder/,
      );
      const imageEncoder = join(folder, "other");
      mkdirSync(imageEncoder);
      for (const name of ["config.json", "diffusion_pytorch_model.safetensors"])
        copyFileSync(goldenPath(`models/tiny-sd1/vae/${name}`), join(imageEncoder, name));
      await expect(model.loadIpAdapter(at("plain.safetensors"), { imageEncoder })).rejects.toThrow(
        /holds a AutoencoderKL, not a CLIPVisionModelWithProjection/,
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("what its image encoder's config holds and is not used is named, and a wrong value refused", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
    const encoder = (name: string, more: object) => {
      const imageEncoder = join(folder, name);
      cpSync(at("image_encoder"), imageEncoder, { recursive: true });
      const path = join(imageEncoder, "config.json");
      writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...more }));
      return imageEncoder;
    };
    const ipAdapter = { model: at("plain.safetensors"), image: at("wide.png") };
    try {
      const given = {
        ...ipAdapter,
        imageEncoder: encoder("more", { rope_theta: 1, torch_dtype: "float16" }),
      };
      const { notes } = await model.generate({ ...options, steps: 1, ipAdapter: given });
      expect(notes).toContain("more/config.json holds what is not known and not used: rope_theta");
      const wrong = { imageEncoder: encoder("wrong", { hidden_act: "relu" }) };
      await expect(model.loadIpAdapter(at("plain.safetensors"), wrong)).rejects.toThrow(
        /wrong.config\.json cannot be used: hidden_act/,
      );
    } finally {
      for (const { name } of model.ipAdapters) await model.removeIpAdapter(name);
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("comes from the hub with the image encoder beside it, or one that is named", async () => {
    const file = (name: string) => readFileSync(at(name));
    const config = file("image_encoder/config.json").toString();
    const weights = file("image_encoder/model.safetensors");
    const files = {
      "models/plain.safetensors": file("plain.safetensors"),
      "models/image_encoder/config.json": config,
      "models/image_encoder/model.safetensors": weights,
    };
    const hub = await startHub({
      "owner/ip": { files },
      "owner/encoder": { files: { "config.json": config, "model.safetensors": weights } },
    });
    const home = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
    vi.stubEnv("HF_ENDPOINT", hub.url);
    vi.stubEnv("HF_HOME", home);
    try {
      const name = "owner/ip:models/plain.safetensors";
      const { imageEncoder } = await model.loadIpAdapter(name, { name: "a" });
      expect(imageEncoder).toMatch(/snapshots.*models.image_encoder$/);
      const ipAdapter = { image: at("wide.png"), scale: 0.6 };
      const run = async (own: object) =>
        (await model.generate({ ...options, ipAdapter: { ...ipAdapter, ...own } })).latents.data;
      const want = latents(pipelines.find((c) => c.name === "plain")!.latents);
      expect(await run({ model: "a" })).toBeCloseTo32(want, { abs: 0.003 });
      await model.loadIpAdapter(name, { name: "b", imageEncoder: "owner/encoder" });
      expect(await run({ model: "b" })).toEqual(await run({ model: "a" }));
      await expect(model.loadIpAdapter("owner/ip:models/other.safetensors")).rejects.toThrow(
        /other\.safetensors/,
      );
    } finally {
      for (const { name } of model.ipAdapters) await model.removeIpAdapter(name);
      vi.unstubAllEnvs();
      await hub.close();
      rmSync(home, { recursive: true, force: true });
    }
  });

  it("says what a call lacks", async () => {
    const image = at("wide.png");
    await expect(model.generate({ ...options, ipAdapter: { image } })).rejects.toThrow(
      /no IP-Adapter is loaded/,
    );
    await model.loadIpAdapter(at("plain.safetensors"));
    await model.loadIpAdapter(at("plus.safetensors"));
    await expect(model.generate({ ...options, ipAdapter: { image } })).rejects.toThrow(/needs a model/);
    await expect(model.generate({ ...options, ipAdapter: { model: "plan", image } })).rejects.toThrow(
      /there is no IP-Adapter plan/,
    );
    await expect(
      model.generate({ ...options, ipAdapter: { image, scale: "1" as unknown as number } }),
    ).rejects.toThrow(/ipAdapter/);
  });

  it("another base is refused", async () => {
    const other = await StableDiffusion.load("butterflies-64", { runtime: "eager", threads: 1 });
    try {
      await expect(other.loadIpAdapter(at("plain.safetensors"))).rejects.toThrow(/does not look at a prompt/);
    } finally {
      await other.dispose();
    }
    const emoji = await StableDiffusion.load(undefined, { runtime: "eager", threads: 1 });
    try {
      await expect(emoji.loadIpAdapter(at("plain.safetensors"))).rejects.toThrow(/to_k/);
    } finally {
      await emoji.dispose();
    }
  });
});
