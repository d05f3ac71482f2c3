import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodePng, type GenerateOptions } from "../src/index.js";
import { least, type Ours, progress, root, runOurs } from "./processes.js";
import { randomModel } from "./random-model.js";
import { megabytes, ms, seconds, type Table } from "./table.js";

export interface ModesOptions {
  readonly quick: boolean;
  readonly folder: string;
  readonly threads: number;
  /** Of `cases`; none for all. */
  readonly cases: readonly string[];
}

/** What the modes may cost at most. */
const bars = { tiling: 0.15, memoryBytes: 3e9, masks: 0.01 };

/**
 * What image to image, masks and tiles cost. Times are CPU time of all threads, so that they hold on busy machines;
 * memory is the most that the process that computes had, mapped weights included.
 */
export async function benchModes(options: ModesOptions): Promise<Table[]> {
  const inputs = writeInputs(options.folder);
  const cases = { img2img: imageToImage, masks: maskWork, decode: tiledDecoding, upscale: upscaling };
  const unknown = options.cases.find((name) => !Object.hasOwn(cases, name));
  if (unknown !== undefined)
    throw new Error(`no case ${unknown}; there are ${Object.keys(cases).join(", ")}`);
  const tables: Table[] = [];
  for (const [name, measure] of Object.entries(cases))
    if (options.cases.length === 0 || options.cases.includes(name))
      tables.push(await measure(options, inputs));
  return tables;
}

interface Inputs {
  /** 256x256, and 512x512. */
  readonly image: string;
  readonly large: string;
  /** 256x256, white in its middle. */
  readonly mask: string;
}

function writeInputs(folder: string): Inputs {
  mkdirSync(folder, { recursive: true });
  const picture = (name: string, side: number, pixel: (x: number, y: number) => number[]): string => {
    const data = Uint8Array.from({ length: side * side * 3 }, (_, i) => {
      const at = Math.floor(i / 3);
      return pixel(at % side, Math.floor(at / side))[i % 3]!;
    });
    const path = join(folder, `${name}.png`);
    writeFileSync(path, encodePng({ width: side, height: side, data }));
    return path;
  };
  const waves = (x: number, y: number) =>
    [x / 9, y / 13, (x + y) / 17].map((angle) => 128 + 100 * Math.sin(angle));
  const middle = (v: number) => v >= 64 && v < 192;
  return {
    image: picture("modes-image", 256, waves),
    large: picture("modes-large", 512, waves),
    mask: picture("modes-mask", 256, (x, y) => Array<number>(3).fill(middle(x) && middle(y) ? 255 : 0)),
  };
}

/** The default model, or its inpainting variant, with DDIM: as many network calls as steps. */
async function picture(name: string, generate: GenerateOptions, options: ModesOptions): Promise<Ours> {
  const cacheDir = join(options.folder, "modes-cache");
  const common = {
    prompt: "a dog with glasses",
    seed: 1,
    scheduler: "ddim",
    width: 256,
    height: 256,
  } as const;
  return runOurs({
    model: join(root, "weights", name),
    load: { precision: "fp32", cacheDir, threads: options.threads },
    generate: { ...common, ...generate },
    runs: options.quick ? 2 : 4,
  });
}

const cpu = (run: Ours): number => least(run.later.map(({ cpuMs }) => cpuMs));

async function imageToImage(options: ModesOptions, { image }: Inputs): Promise<Table> {
  const model = "emoji-diffusion-256";
  const [few, many] = [10, 20];
  progress("image to image: what a step costs, and the rest");
  const [short, long] = [
    cpu(await picture(model, { steps: few }, options)),
    cpu(await picture(model, { steps: many }, options)),
  ];
  const step = (long - short) / (many - few);
  const rest = long - many * step;
  const rows: string[][] = [
    ["txt2img", `${few}`, ms(short), "", "", ""],
    ["txt2img", `${many}`, ms(long), "", "", ""],
  ];
  for (const strength of options.quick ? [0.5] : [0.25, 0.5, 0.75, 1]) {
    progress(`image to image: strength ${strength}`);
    const run = await picture(model, { image, strength, steps: many }, options);
    const calls = many * strength;
    const encode = cpu(run) - rest - calls * step;
    const wallEncode = least(run.later.map(({ parts }) => parts!.encode));
    rows.push([
      `strength ${strength}`,
      `${calls}`,
      ms(cpu(run)),
      ms(encode),
      ms(encode / step),
      ms(wallEncode),
    ]);
  }
  return {
    title: "Image to image, default model, 256x256, DDIM",
    columns: [
      "",
      "network calls",
      "CPU ms",
      "more than the calls and decoding, CPU ms",
      "in steps",
      "encoding prompt and image, ms",
    ],
    rows,
    notes: [
      `A step takes ${ms(step)} ms of CPU time, prompt and decoding ${ms(rest)} ms. What is more is one encoding of the image, whatever the strength.`,
    ],
  };
}

/** Everything around the networks: in text to image, and in the modes that have more of it. */
async function maskWork(options: ModesOptions, { image, mask }: Inputs): Promise<Table> {
  const steps = 20;
  const cases: [string, string, GenerateOptions][] = [
    ["image to image", "emoji-diffusion-256", { image, strength: 1 }],
    ["inpainting, four channels", "emoji-diffusion-256", { image, mask, strength: 1 }],
    ["inpainting, nine channels", "emoji-diffusion-256-inpaint", { image, mask }],
  ];
  const rows: string[][] = [];
  let without: number | undefined;
  for (const [name, model, generate] of cases) {
    progress(name);
    const run = await picture(model, { steps, ...generate }, options);
    const own = least(run.later.map(({ ownCpuMs }) => ownCpuMs));
    without ??= own;
    const share = Math.max(0, own - without) / cpu(run);
    rows.push([name, ms(cpu(run)), ms(own), percent(share), share < bars.masks ? "yes" : "NO"]);
  }
  return {
    title: `Masks, default models, 256x256, ${steps} steps`,
    columns: ["", "CPU ms", "outside of the networks, CPU ms", "mask work", "below 1%"],
    rows,
    notes: ["Mask work is what is done outside of the networks beyond image to image with as many steps."],
  };
}

/** A VAE of Stable Diffusion's size. Whole pictures of 2048x2048 take too much memory: four of 1024x1024 stand for one. */
async function tiledDecoding(options: ModesOptions): Promise<Table> {
  progress("making a model of Stable Diffusion 1.5's size, unless it is there");
  const model = randomModel(options.folder, "sd15");
  const decode = async (side: number, tiles: boolean) => {
    progress(`decoding ${8 * side}x${8 * side}`);
    const load = {
      precision: "fp32",
      cacheDir: join(options.folder, "modes-cache"),
      threads: options.threads,
    } as const;
    return runOurs({ model, load, network: "vae", batch: 1, side, tiles, least: 0, seconds: 0 });
  };
  await decode(8, false); // converts the weights
  const whole = await decode(128, false);
  const tiled = await decode(256, true);
  const more = cpu(tiled) / (4 * cpu(whole)) - 1;
  const row = (name: string, run: Ours, added: string, good: string) => [
    name,
    seconds(cpu(run)),
    added,
    megabytes(run.peakBytes),
    megabytes(run.peakPrivateBytes),
    megabytes(run.ownPeakBytes),
    good,
  ];
  const isGood = more < bars.tiling && tiled.peakBytes < bars.memoryBytes;
  return {
    title: "VAE of Stable Diffusion's size: large pictures in tiles",
    columns: [
      "",
      "CPU s",
      "than four of the first",
      "peak MB",
      "private peak MB",
      "caller's peak MB",
      "below 15% and 3 GB",
    ],
    rows: [
      row("1024x1024, whole", whole, "", ""),
      row("2048x2048, in tiles", tiled, `${more >= 0 ? "+" : ""}${percent(more)}`, isGood ? "yes" : "NO"),
    ],
  };
}

async function upscaling(options: ModesOptions, { image, large }: Inputs): Promise<Table> {
  progress("making a model of the x4 upscaler's size, unless it is there");
  const model = randomModel(options.folder, "x4");
  const steps = 2;
  const sizes = options.quick ? ([[256, image]] as const) : ([[512, large]] as const);
  const rows: string[][] = [];
  for (const [side, source] of sizes) {
    progress(`upscaling ${side} to ${4 * side}`);
    const load = {
      precision: "fp32",
      cacheDir: join(options.folder, "modes-cache"),
      threads: options.threads,
    } as const;
    const generate = { prompt: "a dog", image: source, steps, seed: 1, scheduler: "ddim" } as const;
    const run = await runOurs({ model, load, generate, runs: 1 });
    rows.push([
      `${side} to ${4 * side}`,
      seconds(run.first.cpuMs),
      megabytes(run.peakBytes),
      megabytes(run.peakPrivateBytes),
      megabytes(run.ownPeakBytes),
      run.peakBytes < bars.memoryBytes ? "yes" : "NO",
    ]);
  }
  return {
    title: `Upscaling, a model of the x4 upscaler's size, ${steps} steps with guidance`,
    columns: ["", "CPU s", "peak MB", "private peak MB", "caller's peak MB", "below 3 GB"],
    rows,
  };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;
