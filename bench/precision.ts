import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  folderBytes,
  least,
  median,
  type Ours,
  type OursSpec,
  progress,
  root,
  runOurs,
} from "./processes.js";
import { architectures, randomModel } from "./random-model.js";
import { megabytes, ms, type Table } from "./table.js";

const precisions = ["fp32", "fp16", "bf16"] as const;
type Precision = (typeof precisions)[number];

export interface PrecisionOptions {
  readonly quick: boolean;
  /** Random models are made here once, and caches of converted weights and results lie here while this runs. */
  readonly folder: string;
  readonly threads: number | undefined;
}

interface Measured {
  readonly precision: Precision;
  readonly diskBytes: number;
  /** Start to first step with nothing converted yet. */
  readonly conversionMs: number;
  readonly warm: Ours;
  readonly keep: string;
}

const picture = {
  prompt: "a smiling dog with sunglasses",
  negativePrompt: "blurry",
  seed: 1,
  steps: 20,
  width: 256,
  height: 256,
};

/** FP32, FP16 and, where the CPU has it, BF16: speed, memory, and how far the results are from FP32. */
export async function benchPrecision(options: PrecisionOptions): Promise<Table[]> {
  const tables = [await wholePictures(options)];
  if (!options.quick) tables.push(...(await networks(options)));
  return tables;
}

async function wholePictures(options: PrecisionOptions): Promise<Table> {
  const model = join(root, "weights", "emoji-diffusion-256");
  const rows: string[][] = [];
  let exact: Measured | undefined;
  for (const precision of precisions) {
    const spec = { model, generate: picture, runs: options.quick ? 2 : 4 };
    const measured = await measure("default", precision, spec, options);
    if (!measured) {
      rows.push([precision, "does not run on this CPU", ...Array<string>(10).fill("")]);
      continue;
    }
    exact ??= measured;
    const { warm } = measured;
    rows.push([
      precision,
      megabytes(measured.diskBytes),
      ms(measured.conversionMs),
      ms(warm.loadMs),
      ms(warm.startToFirstStepMs),
      ms(median(warm.steps)),
      ms(warm.first.ms),
      ms(least(warm.later.map((run) => run.ms))),
      megabytes(warm.peakBytes),
      megabytes(warm.residentBytes),
      `${megabytes(warm.privateBytes)} (${megabytes(warm.peakPrivateBytes)})`,
      measured === exact ? "-" : ms(psnr(measured.keep, exact.keep)),
      measured === exact ? "-" : difference(measured.keep, exact.keep, "latents").largest.toFixed(4),
    ]);
  }
  return {
    title: "Precision: the default model, 256x256, 20 steps with guidance",
    columns: [
      "",
      "disk MB",
      "first ever, to first step ms",
      "load ms",
      "start to first step ms",
      "step ms",
      "first picture ms",
      "later ms",
      "peak MB",
      "resident MB",
      "private (peak) MB",
      "PSNR dB",
      "latents differ by at most",
    ],
    rows: rows.map((row) => [...row, ...Array<string>(13 - row.length).fill("")]),
    notes: [
      "Memory is of the process that computes; private is what is not page cache (the weights are mapped files). PSNR and latents against fp32.",
    ],
  };
}

interface NetworkCase {
  readonly title: string;
  readonly spec: Pick<OursSpec, "network" | "batch" | "side" | "context">;
}

const context = architectures.sd15.unet.cross_attention_dim;
const networkCases: readonly NetworkCase[] = [
  { title: "UNet, 64x64 latents, batch 2", spec: { network: "unet", batch: 2, side: 64, context } },
  { title: "UNet, 32x32 latents, batch 2", spec: { network: "unet", batch: 2, side: 32, context } },
  { title: "VAE decode, 512x512", spec: { network: "vae", batch: 1, side: 64 } },
  { title: "CLIP, 77 tokens", spec: { network: "text", batch: 1, side: 8 } },
];

async function networks(options: PrecisionOptions): Promise<Table[]> {
  progress("making a model of Stable Diffusion 1.5's size, unless it is there");
  const model = randomModel(options.folder, "sd15");
  const tables: Table[] = [];
  for (const { title, spec } of networkCases) {
    const rows: string[][] = [];
    let exact: Measured | undefined;
    for (const precision of precisions) {
      const measured = await measure("sd15", precision, { model, ...spec, seconds: 20, least: 2 }, options);
      if (!measured) {
        rows.push([precision, "does not run on this CPU", ...Array<string>(8).fill("")]);
        continue;
      }
      exact ??= measured;
      const { warm } = measured;
      const { largest, decibels } = difference(measured.keep, exact.keep, "output");
      rows.push([
        precision,
        megabytes(measured.diskBytes),
        ms(warm.loadMs),
        ms(warm.first.ms),
        ms(least(warm.later.map((run) => run.ms))),
        ms(least(warm.later.map((run) => run.cpuMs))),
        megabytes(warm.peakBytes),
        megabytes(warm.residentBytes),
        `${megabytes(warm.privateBytes)} (${megabytes(warm.peakPrivateBytes)})`,
        measured === exact ? "-" : `${largest.toExponential(1)} (${ms(decibels)} dB)`,
      ]);
    }
    tables.push({
      title: `Precision: Stable Diffusion 1.5's size, random weights, ${title}`,
      columns: [
        "",
        "disk MB",
        "load ms",
        "first run ms",
        "later ms",
        "CPU ms",
        "peak MB",
        "resident MB",
        "private (peak) MB",
        "differs by at most",
      ],
      rows,
    });
  }
  return tables;
}

/** Two processes: the first finds nothing converted, the second everything. Nothing where the CPU cannot. */
async function measure(
  name: string,
  precision: Precision,
  spec: Omit<OursSpec, "load">,
  { folder, threads }: PrecisionOptions,
): Promise<Measured | undefined> {
  const label = [name, spec.network, spec.side, precision].filter((part) => part !== undefined).join("-");
  const cacheDir = join(folder, "caches", label);
  rmSync(cacheDir, { recursive: true, force: true });
  mkdirSync(cacheDir, { recursive: true });
  const keep = join(folder, "caches", `${label}.result`);
  const load = { precision, cacheDir, ...(threads !== undefined && { threads }) };
  try {
    progress(`${label}: converting`);
    const once = { load, runs: 1, seconds: 0, least: 1 };
    // Two steps convert as much as twenty.
    const cold = await runOurs({
      ...spec,
      ...once,
      ...(spec.generate && { generate: { ...spec.generate, steps: 2 } }),
    });
    const diskBytes = folderBytes(cacheDir);
    progress(`${label}: measuring`);
    const warm = await runOurs({ ...spec, load, keep });
    return { precision, diskBytes, conversionMs: cold.startToFirstStepMs, warm, keep };
  } catch (error) {
    if (error instanceof Error && error.message.startsWith("UNSUPPORTED")) return undefined;
    throw error;
  } finally {
    // Several gigabytes of converted weights at Stable Diffusion 1.5's size.
    rmSync(cacheDir, { recursive: true, force: true });
  }
}

const floats = (path: string): Float32Array => new Float32Array(Uint8Array.from(readFileSync(path)).buffer);

/** Largest difference, and PSNR against the largest value of the exact one. */
function difference(keep: string, exact: string, part: string): { largest: number; decibels: number } {
  const [got, want] = [floats(`${keep}.${part}`), floats(`${exact}.${part}`)];
  let [largest, square, peak] = [0, 0, 0];
  for (let i = 0; i < want.length; i++) {
    const off = got[i]! - want[i]!;
    largest = Math.max(largest, Math.abs(off));
    square += off * off;
    peak = Math.max(peak, Math.abs(want[i]!));
  }
  return { largest, decibels: 10 * Math.log10((peak * peak * want.length) / square) };
}

/** Of the pictures, in decibels. */
function psnr(keep: string, exact: string): number {
  const [got, want] = [readFileSync(`${keep}.image`), readFileSync(`${exact}.image`)];
  let square = 0;
  for (let i = 0; i < want.length; i++) square += (got[i]! - want[i]!) ** 2;
  return 10 * Math.log10((255 * 255 * want.length) / square);
}
