import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { adaptedModel } from "../src/adapters/adapted-checkpoint.js";
import type { StableDiffusion as Model } from "../src/index.js";
import { openFolder } from "../src/weights/folder.js";
import { float32ToFloat16 } from "../src/weights/formats/float16.js";
import { writeSafetensors } from "../src/weights/formats/safetensors.js";
import { folderBytes, library, progress } from "./processes.js";
import { randomModel } from "./random-model.js";
import { megabytes, ms, type Table } from "./table.js";

export interface AdaptersOptions {
  /** Random models, adapters and converted weights lie here. */
  readonly folder: string;
  readonly threads: number;
  /** "lora", "sdxl"; all of them if empty. */
  readonly cases: readonly string[];
}

/** What switching a LoRA costs on Stable Diffusion 1.5's size, and whether SDXL's size fits into memory. */
export async function benchAdapters(options: AdaptersOptions): Promise<Table[]> {
  const { cases } = options;
  const wanted = (name: string) => cases.length === 0 || cases.includes(name);
  const tables: Table[] = [];
  if (wanted("lora")) tables.push(await switching(options));
  if (wanted("sdxl")) tables.push(await large(options));
  return tables;
}

const load = async (model: string, precision: "fp32" | "fp16", { folder, threads }: AdaptersOptions) => {
  const { StableDiffusion } = (await import(pathToFileURL(library().path).href)) as {
    StableDiffusion: typeof Model;
  };
  return StableDiffusion.load(model, { precision, threads, cacheDir: join(folder, "converted") });
};

/** Milliseconds of CPU time of this process and its child, which on a busy machine says more than the clock. */
function cpuMs(): number {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim().split(" ");
  const tasks = children.filter(Boolean).flatMap((pid) => {
    const folder = `/proc/${pid}/task`;
    return readdirSync(folder).map((id) => readFileSync(`${folder}/${id}/schedstat`, "utf8"));
  });
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000 + tasks.reduce((sum, text) => sum + Number(text.split(" ")[0]), 0) / 1e6;
}

async function timed(work: () => Promise<unknown>): Promise<{ wall: number; cpu: number }> {
  const [began, cpu] = [performance.now(), cpuMs()];
  await work();
  return { wall: performance.now() - began, cpu: cpuMs() - cpu };
}

const rank = 16;
/** What kohya's scripts train: attention, its feed-forward layers and projections; q, k, v and out of the text encoder. */
const all =
  /attentions\..*(to_[qkv]|to_out\.0|ff\.net\.0\.proj|ff\.net\.2|proj_in|proj_out)\.weight$|self_attn\.\w+_proj\.weight$|mlp\.fc\d\.weight$/;

/** What diffusers' scripts train. */
const attentionOfUNet = /attn[12]\.(to_[qkv]|to_out\.0)\.weight$/;

/** A LoRA in kohya's layout over a model, and the bytes of float32 weights that it changes. */
function randomLora(model: string, path: string, seed: number, touched: RegExp): number {
  const tensors = new Map<string, { dtype: "F16"; shape: number[]; data: () => Uint8Array<ArrayBuffer> }>();
  let state = seed;
  const factor = (shape: number[]) => ({
    dtype: "F16" as const,
    shape,
    data: () => {
      const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
        state = (state * 16_807) % 2_147_483_647;
        return (state / 2_147_483_647 - 0.5) * 0.05;
      });
      return new Uint8Array(float32ToFloat16(values).buffer as ArrayBuffer);
    },
  });
  let bytes = 0;
  for (const [network, weights] of Object.entries(adaptedModel(openFolder(model))))
    for (const [name, { shape }] of weights) {
      if (!touched.test(name)) continue;
      const [out = 0, inside = 0, ...kernel] = shape;
      bytes += 4 * shape.reduce((a, b) => a * b, 1);
      const prefix = network === "unet" ? "lora_unet" : "lora_te";
      const key = `${prefix}_${name.replace(/\.weight$/, "").replaceAll(".", "_")}`;
      tensors.set(`${key}.lora_down.weight`, factor([rank, inside, ...kernel]));
      tensors.set(`${key}.lora_up.weight`, factor([out, rank, ...kernel.map(() => 1)]));
    }
  writeSafetensors(path, tensors);
  return bytes;
}

async function switching(options: AdaptersOptions): Promise<Table> {
  const { folder } = options;
  progress("making a model of Stable Diffusion 1.5's size and two LoRAs");
  const model = randomModel(folder, "sd15");
  const [a, b] = ["a", "b"].map((name) => join(folder, `${name}.safetensors`)) as [string, string];
  const bytes = randomLora(model, a, 1, all);
  randomLora(model, b, 2, all);
  const small = join(folder, "small.safetensors");
  const smallBytes = randomLora(model, small, 3, attentionOfUNet);
  const rows: string[][] = [];
  for (const precision of ["fp32", "fp16"] as const) {
    const sd = await load(model, precision, options);
    try {
      const step = () =>
        sd.generate({
          prompt: "a",
          seed: 1,
          steps: 1,
          width: 64,
          height: 64,
          guidance: 1,
          output: "latents",
        });
      const disk = () => folderBytes(join(folder, "converted"));
      progress(`${precision}: converting, first steps`);
      await step();
      const plain = await timed(step);
      await sd.loadLora(a, { name: "a", scale: 0 });
      await sd.loadLora(b, { name: "b", scale: 0 });
      await sd.loadLora(small, { name: "small", scale: 0 });
      const row = async (what: string, uses: { name: string; scale?: number }[]) => {
        const [before, { residentBytes }] = [disk(), await sd.status()];
        progress(`${precision}: ${what}`);
        const took = await timed(async () => {
          sd.setLoras(uses);
          await step();
        });
        const after = await sd.status();
        rows.push([
          `${precision}: ${what}`,
          ms(took.wall - plain.wall),
          ms(took.cpu - plain.cpu),
          megabytes(disk() - before),
          megabytes(after.residentBytes - residentBytes),
        ]);
      };
      await row("first LoRA", [{ name: "a" }]);
      await row("to another one", [{ name: "b" }]);
      await row("its scale", [{ name: "b", scale: 0.7 }]);
      await row("both", [
        { name: "a", scale: 0.5 },
        { name: "b", scale: 0.5 },
      ]);
      await row("attention alone", [{ name: "small" }]);
      await row("back to the first", [{ name: "a" }]);
      await row("off", []);
    } finally {
      await sd.dispose();
    }
  }
  return {
    title: "Switching a LoRA: Stable Diffusion 1.5's size, random weights",
    columns: ["", "ms", "CPU ms", "disk MB more", "resident MB more"],
    rows,
    notes: [
      `Rank ${rank} on attention, feed-forward layers and projections of the UNet and the text encoder: ${megabytes(bytes)} MB of float32 weights are touched. "Attention alone": q, k, v and out of the UNet, ${megabytes(smallBytes)} MB. Times are of the switch and a step at 64x64 pixels, less such a step without a switch (${options.threads} threads).`,
    ],
  };
}

async function large(options: AdaptersOptions): Promise<Table> {
  progress("making a model of SDXL's size (2.6 G parameters in the UNet, 5 GB)");
  const model = randomModel(options.folder, "sdxl");
  const [batch, side] = [2, 128];
  const values = (...shape: number[]) => ({
    shape,
    data: Float32Array.from({ length: shape.reduce((x, y) => x * y, 1) }, (_, i) => Math.sin(i)),
  });
  const rows: string[][] = [];
  for (const what of ["converting", "converted"]) {
    progress(`SDXL's size, ${what}: load and one step`);
    const sd = await load(model, "fp16", options);
    try {
      const took = await timed(() =>
        sd.unet.run({
          sample: values(batch, side, side, 4),
          timestep: 500,
          context: values(batch, 77, 2048),
          added: { textEmbeds: values(batch, 1280), timeIds: values(batch, 6) },
        }),
      );
      const { peakBytes, residentBytes } = await sd.status();
      const own = process.resourceUsage().maxRSS * 1024;
      rows.push([
        what,
        ms(took.wall),
        ms(took.cpu),
        megabytes(residentBytes),
        megabytes(peakBytes),
        megabytes(own),
      ]);
    } finally {
      await sd.dispose();
    }
  }
  return {
    title:
      "SDXL's size, fp16: loading the UNet and one step of 1024x1024 with guidance (batch 2), random weights",
    columns: ["", "ms", "CPU ms", "resident MB", "peak MB", "caller's peak MB"],
    rows,
    notes: ["Memory is of the process that computes, mapped weights (page cache) included."],
  };
}
