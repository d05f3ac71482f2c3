import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { createScheduler, schedulerConfig, schedulerEntries } from "../../index.js";
import { defaultLimits } from "../requests/limits.js";
import { openSettings } from "../storage/settings.js";
import type { ModelOption } from "./model-option.js";
import { Models } from "./models.js";
import { checkPlan, type Starts } from "./plan.js";

const sd1 = schedulerConfig("pndm");
let models: Models;
let option: ModelOption;
beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), "plan-"));
  models = await Models.open(await openSettings(join(folder, "settings.json")));
  const { current } = models;
  const traits = { ...current.info.traits, size: 512, scheduler: sd1 };
  option = { ...current, info: { ...current.info, traits } };
});

const check = (more: object, starts: Starts = {}, limits = defaultLimits) =>
  checkPlan(
    { kind: "generate", model: "sd1", count: 1, prompt: "", ...more },
    { option, models, starts },
    limits,
  );
const square = (side: number) => ({ width: side, height: side });

test("what no run could finish is refused, with the words of a run", async () => {
  await expect(check({ scheduler: "lcm", steps: 51 })).rejects.toThrow("at most 50");
  await expect(check({ scheduler: { sampler: "LCM" }, steps: 51 })).rejects.toThrow("at most 50");
  const start = { image: square(512) };
  await expect(check({ image: "key", strength: 0.3, steps: 3 }, start)).rejects.toThrow("leaves none");
  await expect(check({ steps: 1001 })).rejects.toThrow();
});

test("every scheduler either takes as many steps as the model was trained with, or is refused", async () => {
  for (const { name } of schedulerEntries) {
    const accepted = await isAccepted(() => check({ scheduler: name, steps: 1000 }));
    expect([name, await isAccepted(async () => run(name, 1000))]).toEqual([name, accepted]);
  }
});

test("what is accepted runs to its end", async () => {
  for (const scheduler of ["pndm", "ddim", "dpmpp_2m", "euler", "heun", "unipc"])
    for (const steps of [1, 20, 999]) {
      await check({ scheduler, steps });
      expect(Number.isFinite(run(scheduler, steps))).toBe(true);
    }
});

test("every pass has its size and its steps checked as the library resolves them", async () => {
  const limits = { ...defaultLimits, resultPixels: 2 ** 20, work: 2 ** 24 };
  const small = { width: 512, height: 512, steps: 20 };
  const refused = (more: object, starts?: Starts) =>
    expect(check(more, starts, limits), JSON.stringify(more)).rejects.toMatchObject({ code: "TOO_LARGE" });
  const accepted = (more: object, starts?: Starts) => check(more, starts, limits);
  await accepted(small);
  await accepted({ ...small, hires: { ...square(1024), steps: 5, strength: 0.5 } });
  // A small second pass does not stand in for the first one, nor the other way round.
  await refused({ ...small, ...square(1032), hires: { ...square(64), strength: 0.5 } });
  await refused({ ...small, hires: { ...square(1032), strength: 0.5 } });
  await refused({ ...small, hires: { scale: 4, strength: 0.5 } });
  await refused({ ...small, hires: { ...square(1024), steps: 500, strength: 0.5 } });
  // Exact steps run all of them, whatever the strength.
  const key = "0".repeat(64);
  await accepted({ image: key, strength: 0.5, steps: 80 }, { image: square(512) });
  await refused({ image: key, strength: 0.5, steps: 80, exactSteps: true }, { image: square(512) });
  // Without a size the picture's own counts, not the model's.
  await accepted({ image: key, steps: 4 }, { image: square(1024) });
  await refused({ image: key, steps: 4 }, { image: square(1040) });
  await refused({ count: 3, images: [key, key, key], steps: 4 }, { images: [512, 512, 1040].map(square) });
  // Outpainting grows in several passes.
  await refused({ image: key, expand: { left: 600 }, steps: 4 }, { image: square(1024) });
  await refused({ image: key, expand: { left: 256, top: 256 }, steps: 60 }, { image: square(512) });
  // The noise of another size is drawn, too.
  await refused({ ...small, seedSize: square(16_384) });
  const most = { ...small, scheduler: "euler", steps: 2 ** 24 / (512 * 512) / 2, count: 2 };
  await accepted(most);
  await refused({ ...most, seedSize: square(512) });
  await refused({ ...most, count: 3 });
  // Each cell of a grid as it is.
  await refused({ ...small, grid: { x: { option: "steps", values: [1, 2, 70] } } });
});

test("models that enlarge are checked by the size of what they make", async () => {
  const { traits } = option.info;
  const info = { ...option.info, traits: { ...traits, sees: "lowres" as const, factor: 4, mostNoise: 350 } };
  const enlarge = (side: number) =>
    checkPlan(
      { kind: "generate", model: "x4", count: 1, prompt: "", image: "0".repeat(64), steps: 2 },
      { option: { ...option, info }, models, starts: { image: square(side) } },
      defaultLimits,
    );
  await enlarge(512);
  await expect(enlarge(2048)).rejects.toMatchObject({
    code: "TOO_LARGE",
    message: "8192 x 8192 are more pixels than this server makes",
  });
});

function run(scheduler: string, steps: number): number {
  const rule = createScheduler(schedulerConfig(scheduler, sd1), { steps });
  let sample: Float32Array = Float32Array.of(rule.initNoiseSigma);
  for (let i = 0; i < rule.timesteps.length; i++)
    sample = rule.step(Float32Array.of(0.1), i, sample, () => Float32Array.of(0.5));
  return sample[0]!;
}

async function isAccepted(attempt: () => Promise<unknown>): Promise<boolean> {
  try {
    await attempt();
    return true;
  } catch {
    return false;
  }
}
