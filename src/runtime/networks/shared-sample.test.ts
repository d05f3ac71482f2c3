import { describe, expect, test } from "vitest";
import { parseUNetConfig } from "../../models/unet-config.js";
import { goldenPath } from "../../testing/golden.js";
import { inProcess } from "../../testing/in-process.js";
import { pseudoRandom } from "../../testing/tiny.js";
import { openComponentFolder } from "../../weights/folder.js";
import type { Run, RuntimeName } from "../runner.js";
import type { UNetInput } from "./inputs.js";
import { referenceTo, runnerOf } from "./network-runner.js";
import { unetOf } from "./unet.js";

const drawn = (seed: number, ...shape: number[]) => ({
  shape,
  data: pseudoRandom(
    shape.reduce((a, b) => a * b, 1),
    seed,
  ),
});

/** Two samples, then the same two, or others. */
function samples(isSame: boolean) {
  const [first, second] = [drawn(1, 2, 8, 8, 4), drawn(isSame ? 1 : 2, 2, 8, 8, 4)];
  return { shape: [4, 8, 8, 4], data: Float32Array.from([...first.data, ...second.data]) };
}

const input = (width: number, isSame = true): UNetInput => ({
  sample: samples(isSame),
  context: drawn(3, 4, 77, width),
  timestep: 500,
});

/** The UNet, and at each of its runs whether half of the samples was given. */
function open(runtime: RuntimeName) {
  const { engine, options } = inProcess(runtime);
  const component = openComponentFolder(goldenPath("models/tiny-sd1/unet"));
  const config = parseUNetConfig(component.config, "config.json");
  const run = runnerOf(referenceTo(component), "unet", engine, options);
  const shared: boolean[] = [];
  const watched: Run = (spec, given, ...more) => {
    shared.push("sharedSample" in spec.size);
    return run(spec, given, ...more);
  };
  const unetThat = (isApart: boolean) =>
    unetOf({ kind: "unet", config }, watched, () => new Float32Array(), isApart);
  return { config, unetThat, shared };
}

describe.each<RuntimeName>(["eager", "graph"])("both halves of guidance, %s", (runtime) => {
  const { config, unetThat, shared } = open(runtime);

  test.each<[string, Partial<UNetInput>]>([
    ["as they are", {}],
    ["with merged tokens", { mergeTokens: 0.5 }],
  ])("what they share is computed once, with the same result: %s", async (_, changed) => {
    shared.length = 0;
    const x = { ...input(config.crossAttentionDim), ...changed };
    const want = await unetThat(true).run(x);
    const got = await unetThat(false).run(x);
    expect(shared).toEqual([false, true]);
    expect(got.shape).toEqual(want.shape);
    expect(got.data).toBeCloseTo32(want.data, { abs: 1e-5, rel: 1e-5 });
  });

  test("nor is anything left out of what DeepCache begins with", async () => {
    const x = input(config.crossAttentionDim);
    const [want, got] = [await unetThat(true).runDeep(x), await unetThat(false).runDeep(x)];
    expect(got.deep.data).toBeCloseTo32(want.deep.data, { abs: 1e-5, rel: 1e-5 });
    const again = await unetThat(false).runDeep(x, got.deep);
    expect(again.sample.data).toBeCloseTo32(want.sample.data, { abs: 1e-5, rel: 1e-5 });
  });
});

test("other samples, other times, or one sample share nothing", async () => {
  const { config, unetThat, shared } = open("graph");
  const x = input(config.crossAttentionDim);
  await unetThat(false).run(input(config.crossAttentionDim, false));
  await unetThat(false).run({ ...x, timestep: [500, 500, 400, 500] });
  await unetThat(false).run({
    sample: drawn(1, 1, 8, 8, 4),
    context: drawn(3, 1, 77, config.crossAttentionDim),
    timestep: 500,
  });
  expect(shared).toEqual([false, false, false]);
});
