import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type GenerateOptions, type LoadOptions, StableDiffusion } from "../src/index.js";
import { least, progress, root } from "./processes.js";
import { randomModel, randomTaesd } from "./random-model.js";
import { megabytes, ms, ratio, type Table } from "./table.js";

export interface CheaperOptions {
  readonly quick: boolean;
  readonly folder: string;
  readonly threads: number;
  /** Of pictures with and without an option in turn. */
  readonly rounds?: number | undefined;
  /** "default", "unet32", "unet64", "taesd", "memory"; all without any. */
  readonly cases: readonly string[];
}

interface Variant {
  readonly name: string;
  readonly options: GenerateOptions;
}

const [prompt, negativePrompt] = ["a smiling dog with sunglasses", "blurry"];

/** What leaves out or cheapens network calls, against all of them at full price. */
const variants: readonly Variant[] = [
  { name: "`guidanceInterval: [0.2, 0.8]`", options: { guidanceInterval: [0.2, 0.8] } },
  { name: "`guidanceInterval: [0, 0.5]`", options: { guidanceInterval: [0, 0.5] } },
  { name: "`deepCache: { interval: 2 }`", options: { deepCache: { interval: 2 } } },
  { name: "`deepCache: { interval: 3 }`", options: { deepCache: { interval: 3 } } },
  { name: "`deepCache: { interval: 5 }`", options: { deepCache: { interval: 5 } } },
  { name: "`tokenMerging: 0.5`", options: { tokenMerging: 0.5 } },
  {
    name: "interval [0.2, 0.8] and DeepCache 3",
    options: { guidanceInterval: [0.2, 0.8], deepCache: { interval: 3 } },
  },
  { name: "10 steps in place of 20", options: { steps: 10 } },
];

export async function benchCheaper(options: CheaperOptions): Promise<Table[]> {
  const { quick, cases } = options;
  const isAsked = (name: string, byDefault: boolean) => (cases.length > 0 ? cases.includes(name) : byDefault);
  return [
    ...(isAsked("default", true) ? [await defaultModel(options)] : []),
    ...(isAsked("unet32", !quick) ? await passes(options, 32) : []),
    ...(isAsked("unet64", !quick) ? await passes(options, 64) : []),
    ...(isAsked("taesd", !quick) ? [await decoders(options)] : []),
    ...(isAsked("memory", !quick) ? [await memory(options)] : []),
  ];
}

/** Milliseconds on the clock, and CPU time of all threads of the process that computes. */
interface Took {
  readonly ms: number;
  readonly cpuMs: number;
}

const cpuMs = (pid: number): number =>
  readdirSync(`/proc/${pid}/task`)
    .map((id) => Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, "utf8").split(" ")[0]))
    .reduce((a, b) => a + b, 0) / 1e6;

/** The newest child process that computes. */
function workerPid(): number {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim().split(" ");
  const found = children.findLast(
    (pid) => pid && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("worker"),
  );
  if (!found) throw new Error("no process computes: run a network first");
  return Number(found);
}

async function timed<T>(pid: number, work: () => Promise<T>): Promise<{ result: T; took: Took }> {
  const [cpu, began] = [cpuMs(pid), performance.now()];
  const result = await work();
  return { result, took: { ms: performance.now() - began, cpuMs: cpuMs(pid) - cpu } };
}

const best = (all: readonly Took[]): Took => ({
  ms: least(all.map((one) => one.ms)),
  cpuMs: least(all.map((one) => one.cpuMs)),
});

/** Alternates two pieces of work, so that what else the machine does meets both; each has run once before. */
async function inTurn(
  pid: number,
  rounds: number,
  exact: () => Promise<unknown>,
  other: () => Promise<unknown>,
) {
  const [first, second]: [Took[], Took[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    first.push((await timed(pid, exact)).took);
    second.push((await timed(pid, other)).took);
  }
  return { exact: best(first), other: best(second) };
}

const loadOptions = ({ folder, threads }: CheaperOptions, name: string): LoadOptions => {
  const cacheDir = join(folder, `${name}-cache`);
  mkdirSync(cacheDir, { recursive: true });
  return { cacheDir, threads };
};

const gains = ({ exact, other }: { exact: Took; other: Took }): string[] => [
  ms(other.ms),
  ratio(exact.ms / other.ms),
  ms(other.cpuMs),
  ratio(exact.cpuMs / other.cpuMs),
];

const gainColumns = ["ms", "gain", "CPU ms", "gain in CPU time"];

/** Pictures of the default model: what is gained, and how far the pictures are from the exact ones. */
async function defaultModel(options: CheaperOptions): Promise<Table> {
  const { quick, rounds = quick ? 1 : 4 } = options;
  const model = await StableDiffusion.load(
    join(root, "weights", "emoji-diffusion-256"),
    loadOptions(options, "default"),
  );
  const base = { prompt, negativePrompt, seed: 1, steps: 20, scheduler: "dpmpp_2m" } as const;
  const paint = (given: GenerateOptions, seed = 1) => model.generate({ ...base, ...given, seed });
  const seeds = quick ? [1] : [1, 2, 3, 4];
  const exact = new Map<number, Uint8Array>();
  for (const seed of seeds) exact.set(seed, (await paint({}, seed)).images[0]!.data);
  const pid = workerPid();
  const rows: string[][] = [];
  for (const { name, options: given } of variants) {
    progress(`default model: ${name}`);
    const differences: number[] = [];
    for (const seed of seeds)
      differences.push(psnr((await paint(given, seed)).images[0]!.data, exact.get(seed)!));
    const took = await inTurn(
      pid,
      rounds,
      () => paint({}),
      () => paint(given),
    );
    if (rows.length === 0) rows.push(["exact", ms(took.exact.ms), "", ms(took.exact.cpuMs), "", ""]);
    rows.push([name, ...gains(took), differences.map((d) => d.toFixed(1)).join(", ")]);
  }
  await model.dispose();
  return {
    title: `Cheaper pictures: the default model, 256x256, 20 steps of dpmpp_2m with guidance, ${options.threads} threads`,
    columns: ["", ...gainColumns, "PSNR against exact, dB"],
    rows,
    notes: [
      `Least of ${rounds} pictures each, alternating with exact ones. PSNR for seeds ${seeds.join(", ")}.`,
      "This small network computes the two halves of guidance on a core each: half the work is not half the time.",
    ],
  };
}

/** What each form of the network takes at Stable Diffusion 1.5's size, and what 20 steps come to. */
async function passes(options: CheaperOptions, side: number): Promise<Table[]> {
  const { rounds = 3 } = options;
  progress("making a model of Stable Diffusion 1.5's size, unless it is there");
  const folder = randomModel(options.folder, "sd15");
  const model = await StableDiffusion.load(folder, loadOptions(options, "sd15"));
  const { unet } = model;
  const two = { sample: tensor(2, side, side, 4), timestep: 500, context: tensor(2, 77, 768) };
  const one = { sample: tensor(1, side, side, 4), timestep: 500, context: tensor(1, 77, 768) };
  const [deepTwo, deepOne] = [tensor(2, side, side, 320), tensor(1, side, side, 320)];
  const forms: Readonly<Record<string, () => Promise<unknown>>> = {
    "both halves": () => unet.run(two),
    "the prompt alone": () => unet.run(one),
    "both, half of the tokens merged": () => unet.run({ ...two, mergeTokens: 0.5 }),
    "both, whole, for DeepCache": () => unet.runDeep(two),
    "both, shallow": () => unet.runDeep(two, deepTwo),
    "the prompt alone, shallow": () => unet.runDeep(one, deepOne),
  };
  const names = Object.keys(forms);
  const all: Took[][] = names.map(() => []);
  for (let round = 0; round <= rounds; round++)
    for (const [i, name] of names.entries()) {
      progress(`${side}x${side} latents, round ${round} of ${rounds}: ${name}`);
      if (round === 0) await forms[name]!();
      else all[i]!.push((await timed(workerPid(), forms[name]!)).took);
    }
  await model.dispose();
  const took = all.map(best);
  const [exact, alone, merged, whole, shallow, shallowAlone] = took.map((t) => t.cpuMs) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const size = `Stable Diffusion 1.5's size, random weights, ${side}x${side} latents, ${options.threads} threads`;
  const calls = Array.from({ length: 20 }, (_, call) => call);
  const sum = (cost: (call: number) => number) => calls.map(cost).reduce((a, b) => a + b);
  const isGuided = (call: number) => call >= 4 && call < 16;
  const every = (n: number) => sum((call) => (call % n === 0 ? whole : shallow));
  // From the fourth call on there are two rows; what was kept of one does not do.
  const both = sum((call) => {
    if (!isGuided(call)) return call % 3 === 0 ? alone : shallowAlone;
    return call % 3 === 0 || call === 4 ? whole : shallow;
  });
  const reckoned: [string, number][] = [
    ["`guidanceInterval: [0.2, 0.8]`", sum((call) => (isGuided(call) ? exact : alone))],
    ["`guidanceInterval: [0, 0.5]`", sum((call) => (call < 10 ? exact : alone))],
    ...[2, 3, 5].map((n): [string, number] => [`\`deepCache: { interval: ${n} }\``, every(n)]),
    ["`tokenMerging: 0.5`", sum(() => merged)],
    ["interval [0.2, 0.8] and DeepCache 3", both],
  ];
  return [
    {
      title: `Cheaper calls: ${size}`,
      columns: ["UNet", "ms", "CPU ms", "of both halves"],
      rows: names.map((name, i) => {
        const { ms: wall, cpuMs: cpu } = took[i]!;
        return [name, ms(wall), ms(cpu), `${((100 * cpu) / exact).toFixed(1)} %`];
      }),
      notes: [`Least of ${rounds} rounds in turn.`],
    },
    {
      title: `Cheaper pictures, reckoned from these: 20 calls with guidance, ${size}`,
      columns: ["", "CPU s", "gain"],
      rows: [
        ["exact", ((20 * exact) / 1000).toFixed(1), ""],
        ...reckoned.map(([name, cost]) => [name, (cost / 1000).toFixed(1), ratio((20 * exact) / cost)]),
      ],
    },
  ];
}

const tensor = (...shape: number[]) => ({
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i * 12.9898) * 1.5),
});

/** Decoding by a TAESD of the published size. */
async function decoders(options: CheaperOptions): Promise<Table> {
  const { rounds = 3 } = options;
  const [folder, taesd] = [randomModel(options.folder, "sd15"), randomTaesd(options.folder)];
  const latents = tensor(1, 64, 64, 4);
  const took: Took[] = [];
  for (const vae of [undefined, taesd]) {
    progress(`decoding 64x64 latents: ${vae ? "a TAESD" : "the VAE"}`);
    const load = { ...loadOptions(options, "sd15"), ...(vae && { vae }) };
    const model = await StableDiffusion.load(folder, load);
    const decode = () => model.vae.decode(latents, { tiling: false });
    await decode();
    const all: Took[] = [];
    for (let round = 0; round < rounds; round++) all.push((await timed(workerPid(), decode)).took);
    took.push(best(all));
    await model.dispose();
  }
  const [exact, other] = took as [Took, Took];
  return {
    title: `Cheaper decoding: Stable Diffusion 1.5's size, random weights, 512x512, ${options.threads} threads`,
    columns: ["", ...gainColumns],
    rows: [
      ["the VAE", ms(exact.ms), "", ms(exact.cpuMs), ""],
      ["a TAESD", ...gains({ exact, other })],
    ],
    notes: [`Least of ${rounds}.`],
  };
}

const privateBytes = (pid: number): number => {
  const line = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line?.[1] ?? 0) * 1024;
};

/** What a picture takes, with every network kept and with one stage at a time. */
async function memory(options: CheaperOptions): Promise<Table> {
  const folder = randomModel(options.folder, "sd15");
  const rows: string[][] = [];
  const base = { prompt, negativePrompt, seed: 1, steps: 2, width: 256, height: 256 };
  for (const keepLoaded of [true, false]) {
    progress(`memory with keepLoaded: ${keepLoaded}`);
    const model = await StableDiffusion.load(folder, { ...loadOptions(options, "sd15"), keepLoaded });
    // Without keepLoaded there is another process after each stage, or none.
    const now = () => {
      try {
        return privateBytes(workerPid());
      } catch {
        return 0;
      }
    };
    let peak = 0;
    const timer = setInterval(() => {
      peak = Math.max(peak, now());
    }, 20);
    const paint = async () => {
      const began = performance.now();
      await model.generate(base);
      return performance.now() - began;
    };
    const [first, second] = [await paint(), await paint()];
    clearInterval(timer);
    rows.push([`keepLoaded: ${keepLoaded}`, megabytes(peak), megabytes(now()), ms(first), ms(second)]);
    await model.dispose();
  }
  return {
    title: `Memory: Stable Diffusion 1.5's size, fp32, 256x256, 2 steps, ${options.threads} threads`,
    columns: ["", "private peak MB", "private after MB", "first picture ms", "second ms"],
    rows,
    notes: ["Private is what is not page cache; the weights are mapped files."],
  };
}

/** In decibels, of RGB bytes. */
function psnr(got: Uint8Array, want: Uint8Array): number {
  let square = 0;
  for (let i = 0; i < want.length; i++) square += (got[i]! - want[i]!) ** 2;
  return 10 * Math.log10((255 * 255 * want.length) / square);
}
