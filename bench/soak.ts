import { readdirSync, readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type * as api from "../src/index.js";
import { library, progress } from "./processes.js";
import { ms, type Table } from "./table.js";

export interface SoakOptions {
  readonly pictures: number;
  /** Of the pictures, in pixels. */
  readonly size: number;
  /** So many sizes in a row, in place of pictures of one size. */
  readonly sizes?: number;
  readonly steps: number;
  readonly folder: string;
  readonly threads: number;
}

/** What is held after so many pictures; megabytes that no file backs. */
interface Sample {
  readonly pictures: number;
  readonly own: number;
  readonly engine: number;
  readonly tensors: number;
  readonly graphs: number;
}

/** Growth over the second half that counts as none: what allocators and garbage leave lying about. */
const tolerance = { share: 0.03, megabytes: 12, megabytesOfSize: 1.5 };

const things = [
  "a dog",
  "a red car",
  "a strawberry",
  "a lighthouse at sunset",
  "a cat with glasses",
  "a house",
];

/**
 * Many pictures in one process on the default model, every one of another prompt and seed, every 50th run aborted
 * after its first step, and what both processes hold meanwhile. With `sizes`, each picture is of another size.
 *
 * @throws Error when memory, tensors or graphs grow
 */
export async function benchSoak(options: SoakOptions): Promise<Table[]> {
  const { sizes, steps, folder, threads } = options;
  const pictures = sizes ?? options.pictures;
  const { StableDiffusion } = (await import(library().path)) as typeof api;
  const model = await StableDiffusion.load(undefined, { cacheDir: folder, threads });
  const samples: Sample[] = [];
  const began = performance.now();
  const every = Math.max(1, Math.floor(pictures / 20));
  try {
    for (let i = 1; i <= pictures; i++) {
      const picture = {
        prompt: things[i % things.length]!,
        seed: i,
        steps,
        ...sizeOf(i, options),
        output: "image",
      } as const;
      if (i % 50 === 0) await aborted(model, picture);
      await model.generate(picture);
      if (i % every !== 0 && i !== 1) continue;
      samples.push(await sample(i, model));
      progress(`${i} of ${pictures} pictures`);
    }
  } finally {
    await model.dispose();
  }
  const each = (performance.now() - began) / pictures;
  const table = tableOf(samples, each, options);
  const grown = growth(samples, sizes);
  if (grown.length > 0) throw new Error(`not flat: ${grown.join("; ")}\n${JSON.stringify(samples)}`);
  return [table];
}

/** Small sizes, none twice, and neither from small to large nor the other way round. */
function sizeOf(picture: number, { size, sizes }: SoakOptions): { width: number; height: number } {
  if (sizes === undefined) return { width: size, height: size };
  const columns = Math.ceil(Math.sqrt(sizes));
  const mixed = (picture * 37) % (columns * columns);
  return { width: size + 8 * (mixed % columns), height: size + 8 * Math.floor(mixed / columns) };
}

async function aborted(model: api.StableDiffusion, picture: api.GenerateOptions): Promise<void> {
  const stop = new AbortController();
  const enough = new Error("enough");
  const onProgress = ({ type }: api.ProgressEvent) => {
    if (type === "step") stop.abort(enough);
  };
  await model.generate({ ...picture, signal: stop.signal, onProgress }).catch((error: unknown) => {
    if (error !== enough) throw error;
  });
}

async function sample(pictures: number, model: api.StableDiffusion): Promise<Sample> {
  collectGarbage();
  const { tensors, graphs } = await model.status();
  const engine = engineProcess();
  const held = engine ? privateMegabytes(engine) : 0;
  return { pictures, own: privateMegabytes("self"), engine: held, tensors, graphs };
}

const collectGarbage: () => void = (() => {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
})();

/** The child that computes, on Linux. */
function engineProcess(): string | undefined {
  const threads = readdirSync("/proc/self/task");
  const children = threads.flatMap((id) =>
    readFileSync(`/proc/self/task/${id}/children`, "utf8").trim().split(" "),
  );
  return children.find(
    (pid) => pid && /runtime\/worker\./.test(readFileSync(`/proc/${pid}/cmdline`, "utf8")),
  );
}

const privateMegabytes = (pid: string): number =>
  Number(/^RssAnon:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * What grew, in words: the last quarter of the samples against the second one. Each of `sizes` may leave something of the
 * code that oneDNN makes for it, of which a certain number is kept.
 */
function growth(samples: readonly Sample[], sizes = 0): string[] {
  const quarter = Math.ceil(samples.length / 4);
  const [early, late] = [samples.slice(quarter, 2 * quarter), samples.slice(-quarter)];
  const grown = (["own", "engine"] as const).flatMap((which) => {
    const [before, after] = [early, late].map((part) => mean(part.map((one) => one[which]))) as [
      number,
      number,
    ];
    const ofSizes = which === "engine" ? (sizes / 2) * tolerance.megabytesOfSize : 0;
    const allowed = Math.max(tolerance.megabytes, tolerance.share * before) + ofSizes;
    return after - before > allowed
      ? [`${which} memory from ${before.toFixed(0)} to ${after.toFixed(0)} MB`]
      : [];
  });
  const tensors = new Set(samples.map((one) => one.tensors));
  if (tensors.size > 1) grown.push(`tensors ${[...tensors].join(", ")}`);
  const [before, after] = [early, late].map((part) => Math.max(...part.map((one) => one.graphs)));
  if (after! > before!) grown.push(`graphs from ${before} to ${after}`);
  return grown;
}

function tableOf(
  samples: readonly Sample[],
  each: number,
  { size, sizes, steps, pictures }: SoakOptions,
): Table {
  const shown = samples.filter((_, i) => i === 0 || (i + 1) % Math.ceil(samples.length / 10) === 0);
  return {
    title: sizes
      ? `Soak: ${sizes} sizes one after the other, ${steps} steps, in one process`
      : `Soak: ${pictures} pictures of ${size}x${size}, ${steps} steps, in one process`,
    columns: [
      "pictures",
      "caller, private MB",
      "process that computes, private MB",
      "tensors held",
      "graphs",
    ],
    rows: shown.map((one) => [
      `${one.pictures}`,
      one.own.toFixed(0),
      one.engine.toFixed(0),
      `${one.tensors}`,
      `${one.graphs}`,
    ]),
    notes: [`${ms(each)} ms a picture, with loading. Every 50th picture was begun, aborted and made anew.`],
  };
}
