import * as tf from "@tensorflow/tfjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readConditions } from "../generation/conditioning.js";
import type { ControlNetConfig } from "../models/controlnet.js";
import { listFields, mapFields } from "../models/fields.js";
import { buildNetwork, type NetworkSpec } from "../models/registry.js";
import { Module } from "../nn/module.js";
import { eagerOps } from "../ops/eager.js";
import { elements, type Ops, type Tensor } from "../ops/ops.js";
import type { GenerateOptions } from "../options/options.js";
import { resolveOptions } from "../options/resolve.js";
import { readUpscaler } from "../runtime/networks/upscaler.js";
import { requirements } from "../runtime/requirements.js";
import { goldenExtra, goldenPath } from "../testing/golden.js";
import { load, type Opened } from "./load.js";
import { type Computed, enlargedBy, peakOf } from "./peak.js";

let opened: Opened;
let control: Computed["controls"][number];
let t2i: Computed["controls"][number];
beforeAll(async () => {
  opened = await load(goldenPath("models/tiny-sd1"), {});
  const open = async (name: string) => ({ net: (await opened.control(name)).net, guess: false });
  control = await open(goldenPath("models/tiny-controlnet"));
  t2i = await open(goldenExtra("t2i-adapter/full"));
});
afterAll(() => opened.engine.dispose());

const computed = (asked: GenerateOptions, beside: Partial<Computed> = {}): Computed => {
  const { loaded } = opened;
  const prompted = { prompt: "a cat", ...asked };
  const options = resolveOptions(prompted, loaded.traits, { seed: 1, variationSeed: 1 });
  const [{ rows } = { rows: [] }] = readConditions([loaded], options);
  return { loaded, options, rows, controls: [], pictures: [], ...beside };
};
const peak = (asked: GenerateOptions, beside?: Partial<Computed>) => peakOf(computed(asked, beside));

/** The same without the picture itself: 3 floats of 3 colours for each of its pixels. */
const PIXEL = 36;
const large = { width: 512, height: 512 };
const pixels = 512 * 512 * PIXEL;

/** Computes a network on zeros with tfjs, and counts the numbers that each of its larger operations is given and gives. */
function counted(spec: NetworkSpec): { largest: number; outputs: number } {
  return tf.tidy(() => {
    let largest = 0;
    const size = (x: unknown): number =>
      Array.isArray(x) ? x.reduce((sum, one) => sum + size(one), 0) : elements((x as Tensor).shape);
    const given: Partial<Record<keyof Ops, number>> = { linear: 1, conv2d: 1, attention: 3, concat: 1 };
    const ops = new Proxy(eagerOps(tf), {
      get(all, name: keyof Ops) {
        const operation = all[name] as (...args: unknown[]) => unknown;
        const inputs = given[name];
        if (inputs === undefined) return operation;
        return (...args: unknown[]) => {
          const result = operation(...args);
          largest = Math.max(largest, size(args.slice(0, inputs)) + size(result));
          return result;
        };
      },
    });
    const zeros = ({ shape, dtype }: Pick<Tensor, "shape"> & { dtype?: string }) =>
      tf.zeros([...shape], dtype === "int32" ? "int32" : "float32") as unknown as Tensor;
    const network = buildNetwork(spec as never) as ReturnType<typeof buildNetwork>;
    const module = new Module(ops, { get: (_name, shape) => zeros({ shape }) });
    const inputs = mapFields(network.inputs as never, zeros as never);
    const outputs = (network.forward as (m: Module, inputs: unknown) => object)(module, inputs);
    return { largest, outputs: size(listFields(outputs as never).map(([, tensor]) => tensor)) };
  });
}

describe("the largest operation of a dry run is that of the network as it is computed", () => {
  const unet = () => opened.loaded.model.unet as Extract<NetworkSpec, { kind: "unet" }>;
  const net = () => control.net.config as ControlNetConfig;
  const upscaler = (file: string) => readUpscaler(goldenExtra(`upscalers/${file}`)).config;
  const size = { batch: 2, height: 8, width: 12, tokens: 77 };
  it.each<[string, () => NetworkSpec]>([
    ["UNet", () => ({ ...unet(), size })],
    [
      "UNet with ControlNet and pictures",
      () => ({ ...unet(), size: { ...size, residuals: true, pictures: [4] } }),
    ],
    ["ControlNet", () => ({ kind: "controlnet", config: net(), size })],
    [
      "ESRGAN",
      () =>
        ({
          kind: "rrdb",
          config: upscaler("real-esrgan.pth"),
          size: { batch: 1, height: 8, width: 6 },
        }) as NetworkSpec,
    ],
    [
      "SRVGGNetCompact",
      () =>
        ({
          kind: "srvgg",
          config: upscaler("compact-x2.pth"),
          size: { batch: 1, height: 8, width: 6 },
        }) as NetworkSpec,
    ],
  ])("%s", (_name, spec) => {
    const { largest } = counted(spec());
    expect(largest).toBeGreaterThan(0);
    expect(requirements(spec()).largest).toBe(largest);
  });
});

describe("beside the UNet", () => {
  it("a ControlNet's residuals are held twice, those of two three times", () => {
    const { net } = control;
    const size = { batch: 2, height: 64, width: 64, tokens: 77 };
    // 16 and 24 channels: one residual after the first convolution, one a layer, one a halving, and the middle's.
    const cells = 64 * 64;
    const residuals =
      2 * (cells * (16 + 16) + (cells / 4) * (16 + 24) + (cells / 16) * (24 + 24) + (cells / 16) * 24);
    const small = { ...size, height: 8, width: 8 };
    expect(counted({ kind: "controlnet", config: net.config as ControlNetConfig, size: small }).outputs).toBe(
      residuals / 64,
    );
    const alone = peak(large);
    const one = peak(large, { controls: [control] });
    const two = peak(large, { controls: [control, control] });
    const picture = 2 * 512 * 512 * 3 * 4;
    const network =
      requirements({ kind: "controlnet", config: net.config as ControlNetConfig, size }).largest! * 32;
    expect(one - pixels).toBe(Math.max(alone - pixels, network + picture) + residuals * 4 * 2);
    expect(two - one).toBe(residuals * 4);
  });

  it("a ControlNet that guesses sees the prompt's rows alone", () => {
    const beside = { controls: [control], sideBySide: 1 };
    const guessing = { controls: [{ ...control, guess: true }], sideBySide: 1 };
    expect(peak(large, guessing)).toBeLessThan(peak(large, beside));
  });

  it("a T2I-Adapter's features are held, too", () => {
    expect(peak(large, { controls: [t2i] })).toBeGreaterThan(peak(large));
  });

  it("pictures of IP-Adapters are seen by all rows", () => {
    const many = peak(large, { pictures: [16, 65_536] });
    expect(many).toBeGreaterThan(peak(large, { pictures: [16] }));
  });
});

describe("rows of a batch", () => {
  const unet = (asked: GenerateOptions, beside?: Partial<Computed>) =>
    peak({ ...large, ...asked }, beside) - pixels;

  it("are counted: guidance has two, prompts that AND combines one each", () => {
    const one = unet({ guidance: 1 });
    expect(unet({ guidance: 7 })).toBe(2 * one);
    expect(unet({ prompt: "a cat AND a dog AND a bird", promptSyntax: "a1111" })).toBe(4 * one);
  });

  it("that are computed side by side are as many as there are threads", () => {
    const one = unet({ guidance: 1 });
    expect(unet({ guidance: 7 }, { sideBySide: 1 })).toBe(one);
    expect(unet({ guidance: 7 }, { sideBySide: 2 })).toBe(2 * one);
    expect(unet({ guidance: 7 }, { sideBySide: 8 })).toBe(2 * one);
    const three = { prompt: "a cat AND a dog AND a bird", promptSyntax: "a1111" } as const;
    expect(unet(three, { sideBySide: 2 })).toBe(2 * one);
  });
});

describe("passes", () => {
  it("count as the largest of them: the second of hires, or a first one that is larger", () => {
    const second = peak({ width: 64, height: 64, hires: { width: 512, height: 512 } });
    expect(second).toBe(peak(large));
    const first = peak({ ...large, hires: { width: 64, height: 64 } });
    expect(first).toBe(peak(large) - pixels + 64 * 64 * PIXEL);
  });

  it("of hires by a network hold what that makes between them", () => {
    const { config } = readUpscaler(goldenExtra("upscalers/real-esrgan.pth"));
    const small = { width: 64, height: 64 };
    const hires = { width: 128, height: 128 };
    const between = enlargedBy(config, small, hires);
    expect(peak({ ...small, hires }, { upscaler: config })).toBe(
      Math.max(peak({ ...small, hires }), between + 128 * 128 * PIXEL),
    );
  });
});

describe("a network that enlarges", () => {
  const { config } = readUpscaler(goldenExtra("upscalers/real-esrgan.pth"));
  const square = (side: number) => ({ width: side, height: side });

  it("holds the enlarged picture as floats and bytes, and its largest operation on one tile", () => {
    const { scale } = config;
    const goal = square(32 * scale);
    const tile = counted({ kind: "rrdb", config, size: { batch: 1, ...square(32) } } as NetworkSpec);
    expect(enlargedBy(config, square(32), goal)).toBe(tile.largest * 4 + (32 * scale) ** 2 * 15);
  });

  it("works in tiles that do not grow with the picture, and runs again for a goal that is larger", () => {
    const { scale } = config;
    const by = (side: number, goal = side * scale) => enlargedBy(config, square(side), square(goal));
    const growth = by(16384) - by(8192);
    expect(growth).toBe((16384 ** 2 - 8192 ** 2) * scale ** 2 * 15);
    expect(by(64, 64 * scale + 1)).toBe(by(64 * scale));
  });
});
