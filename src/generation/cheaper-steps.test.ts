import { afterAll, describe, expect, it } from "vitest";
import type { ProgressEvent } from "../events.js";
import { extraCases, goldenExtra, goldenPath } from "../testing/golden.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

interface Case {
  readonly id: string;
  readonly model: string;
  readonly scheduler: "ddim" | "euler";
  readonly steps: number;
  readonly interval?: [number, number];
  readonly every?: number;
  readonly merge?: number;
  readonly size?: [height: number, width: number];
}

const { about, expected } = extraCases<{
  prompt: string;
  negativePrompt: string;
  seed: number;
  size: number;
  guidance: number;
  cases: Case[];
}>("cheaper-steps");

const optionsOf = ({ scheduler, steps, interval, every, merge, size = [about.size, about.size] }: Case) => ({
  prompt: about.prompt,
  negativePrompt: about.negativePrompt,
  seed: about.seed,
  guidance: about.guidance,
  ...{ height: size[0], width: size[1], output: "latents" as const, scheduler, steps },
  ...(interval && { guidanceInterval: interval }),
  ...(every !== undefined && { deepCache: { interval: every } }),
  ...(merge !== undefined && { tokenMerging: merge }),
});

describe("fewer and cheaper calls, against torch", () => {
  it.each(about.cases.map((c) => [c.id, c] as const))("%s", async (id, c) => {
    const model = await tinyModel(c.model);
    const { latents, options } = await model.generate(optionsOf(c));
    const want = expected(id);
    expect(latents.shape).toEqual(want.shape);
    expect(latents.data).toBeCloseTo32(want.data, { abs: 1e-3, rel: 1e-3 });
    expect(options.guidanceInterval).toEqual(c.interval);
  });

  it("is not the exact run", async () => {
    const [c] = about.cases;
    const model = await tinyModel(c!.model);
    const { guidanceInterval: _, ...exact } = optionsOf(c!);
    const { latents } = await model.generate(exact);
    const want = expected(c!.id);
    expect(Math.max(...latents.data.map((x, i) => Math.abs(x - want.data[i]!)))).toBeGreaterThan(0.1);
  });
});

describe("guidance interval", () => {
  const [c] = about.cases;
  const base = { ...optionsOf(c!), steps: 3 };

  it("the whole run is no interval", async () => {
    const model = await tinyModel(c!.model);
    const { guidanceInterval: _, ...exact } = base;
    const whole = await model.generate({ ...base, guidanceInterval: [0, 1] });
    expect(whole.latents).toEqual((await model.generate(exact)).latents);
  });

  it("one that holds no step is noted", async () => {
    const model = await tinyModel(c!.model);
    const run = async (guidanceInterval: [number, number]) =>
      (await model.generate({ ...base, steps: 4, guidanceInterval })).notes;
    expect(await run([0.3, 0.45])).toEqual(["guidanceInterval 0.3 to 0.45 guides at none of the 4 steps"]);
    expect(await run([0.3, 0.5])).toEqual([]);
  });

  it("outside of it prompts that AND combines are still told apart", async () => {
    const model = await tinyModel(c!.model);
    const prompt = "a fox :0.6 AND the moon :0.9";
    const { guidanceInterval: _, ...exact } = { ...base, prompt, promptSyntax: "a1111" as const };
    const never = await model.generate({ ...exact, guidanceInterval: [0, 0.1] });
    const off = await model.generate({ ...exact, guidance: 1 });
    expect(never.latents.data).toBeCloseTo32(off.latents.data, { abs: 1e-5 });
  });

  it.each([
    [{ guidanceInterval: [0.7, 0.3] }, /0.7 is not before 0.3/],
    [{ guidanceInterval: [0, 1.5] }, /guidanceInterval.1/],
    [{ guidanceInterval: [0, 0.5], guidance: 1 }, /guidance 1 is off/],
    [{ guidanceInterval: [0, 0.5], scheduler: "dpm_adaptive" }, /dpm_adaptive finds its steps/],
  ] as const)("refuses %o", async (wrong, message) => {
    const model = await tinyModel(c!.model);
    await expect(model.generate({ ...base, ...wrong } as never)).rejects.toThrow(message);
  });
});

describe("graphs", () => {
  it.each(["deep-cache", "deep-cache-sdxl", "merging-most", "merging-sdxl", "all"])(
    "%s: graphs give what eager layers give",
    async (id) => {
      const c = about.cases.find((one) => one.id === id)!;
      const eager = await (await tinyModel(c.model)).generate(optionsOf(c));
      const graph = await (await tinyModel(c.model, { runtime: "graph" })).generate(optionsOf(c));
      expect(graph.latents.data).toBeCloseTo32(eager.latents.data, { abs: 1e-4, rel: 1e-4 });
    },
  );
});

describe("token merging", () => {
  it.each([0, 0.8, "half"])("refuses a share of %s", async (tokenMerging) => {
    const model = await tinyModel("models/tiny-sd1");
    const call = model.generate({ prompt: "a", steps: 1, tokenMerging: tokenMerging as number });
    await expect(call).rejects.toThrow(/^tokenMerging: /);
  });
});

describe("DeepCache", () => {
  it("the first call is a whole one, so an interval of all calls changes nothing before the second", async () => {
    const c = about.cases.find(({ id }) => id === "deep-cache")!;
    const model = await tinyModel(c.model);
    const { deepCache: _, ...exact } = { ...optionsOf(c), steps: 1 };
    const cached = await model.generate({ ...exact, deepCache: { interval: 4 } });
    expect(cached.latents.data).toBeCloseTo32((await model.generate(exact)).latents.data, { abs: 1e-6 });
  });

  it("ControlNets are asked at whole calls, and act at those between", async () => {
    const c = about.cases.find(({ id }) => id === "deep-cache")!;
    const model = await tinyModel(c.model);
    const image = { width: 48, height: 48, data: new Uint8Array(48 * 48 * 3).map((_, i) => (i * 37) % 256) };
    const controlnet = (scale: number) => [{ model: goldenPath("models/tiny-controlnet"), image, scale }];
    const base = { ...optionsOf(c), steps: 4 };
    const plain = await model.generate(base);
    const followed = await model.generate({ ...base, controlnet: controlnet(1) });
    const ignored = await model.generate({ ...base, controlnet: controlnet(0) });
    expect(ignored.latents.data).toBeCloseTo32(plain.latents.data, { abs: 1e-5 });
    expect(followed.latents.data).not.toEqual(plain.latents.data);
  });

  // Of four steps the second and the fourth are in between.
  it.each([
    { start: 0.25, end: 0.5 },
    { start: 0, end: 0.25 },
  ])("a ControlNet and an IP-Adapter act between $start and $end alone, as without it", async (window) => {
    const c = about.cases.find(({ id }) => id === "deep-cache")!;
    const model = await tinyModel(c.model);
    const picture = {
      width: 48,
      height: 48,
      data: new Uint8Array(48 * 48 * 3).map((_, i) => (i * 37) % 256),
    };
    const latentsAfter = async (options: object) => {
      const steps: Float32Array[] = [];
      const onProgress = (event: ProgressEvent) => {
        if (event.type === "step") steps.push(event.latents.data);
      };
      await model.generate({ ...optionsOf(c), steps: 4, deepCache: { interval: 2 }, ...options, onProgress });
      return steps;
    };
    const plain = await latentsAfter({});
    for (const control of [
      { controlnet: [{ model: goldenPath("models/tiny-controlnet"), image: picture, scale: 2, ...window }] },
      { ipAdapter: { model: goldenExtra("ip-adapter/plain.safetensors"), image: picture, ...window } },
    ]) {
      const cached = await latentsAfter(control);
      const exact = await latentsAfter({ ...control, deepCache: undefined });
      // The second step is evaluated wholly, as others act than in the first; the third one is anyway.
      for (const step of [0, 1, 2])
        expect(cached[step]!).toBeCloseTo32(exact[step]!, { abs: 1e-4, rel: 1e-4 });
      const first = cached.findIndex((latents, i) => latents.some((value, k) => value !== plain[i]![k]));
      expect(first).toBe(window.start * 4);
    }
  });

  it("is for models with a prompt that draw the whole picture", async () => {
    const run = async (name: string, options: object) =>
      (await tinyModel(name)).generate({ steps: 1, deepCache: { interval: 2 }, ...options });
    await expect(run("models/tiny-ddpm-google", {})).rejects.toThrow(/no text encoder, so deepCache/);
    const image = { width: 16, height: 16, data: new Uint8Array(16 * 16 * 3) };
    await expect(run("models/tiny-x4-upscaler", { prompt: "a", image })).rejects.toThrow(
      /takes no deepCache/,
    );
    await expect(run("models/tiny-sd1", { prompt: "a", deepCache: { interval: 1 } })).rejects.toThrow(
      /deepCache.interval/,
    );
  });
});
