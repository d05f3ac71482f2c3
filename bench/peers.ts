import { cpSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { jsonLine, least, type OursSpec, progress, root, runOurs } from "./processes.js";
import { architectures, randomModel, randomTaesd } from "./random-model.js";
import { ms, ratio, type Table } from "./table.js";

export interface PeersOptions {
  readonly quick: boolean;
  readonly folder: string;
  readonly threads: number;
  /** Compares CPU time, which stays comparable on a busy machine with one thread. */
  readonly cpuTime: boolean;
  readonly cases: readonly string[];
  readonly peers: readonly string[];
  readonly rounds: number | undefined;
}

/** Where the peers' programs are, and where what they load is kept (some ten gigabytes). */
const programs = process.env.PEERS_PROGRAMS ?? join(root, "..", "shared", "peers");
const artefacts = process.env.PEERS_ART ?? join(root, "..", "peers-art");

const context = architectures.sd15.unet.cross_attention_dim;
type Ours = Pick<OursSpec, "network" | "batch" | "side" | "context" | "generate">;

/** A whole picture of 512x512 with a distilled model: no guidance, and TAESD decodes. */
const fewSteps = (steps: number): Ours => ({
  generate: {
    prompt: "a photo of a cat on a mat",
    steps,
    guidance: 1,
    scheduler: steps === 1 ? "euler" : "lcm",
    width: 512,
    height: 512,
    seed: 1,
  },
});

const cases: Readonly<Record<string, { part: string; title: string; ours: Ours }>> = {
  unet64b2: {
    part: "unet",
    title: "UNet, 64x64 latents, batch 2",
    ours: { network: "unet", batch: 2, side: 64, context },
  },
  unet32b2: {
    part: "unet",
    title: "UNet, 32x32 latents, batch 2",
    ours: { network: "unet", batch: 2, side: 32, context },
  },
  vae64: { part: "vae", title: "VAE decode, 512x512", ours: { network: "vae", batch: 1, side: 64 } },
  vae32: { part: "vae", title: "VAE decode, 256x256", ours: { network: "vae", batch: 1, side: 32 } },
  text: { part: "text", title: "CLIP, 77 tokens", ours: { network: "text", batch: 1, side: 8 } },
  lcm4: { part: "unet", title: "a picture of 512x512 in 4 steps without guidance, TAESD", ours: fewSteps(4) },
  turbo1: {
    part: "unet",
    title: "a picture of 512x512 in 1 step without guidance, TAESD",
    ours: fewSteps(1),
  },
};

/** What each peer needs beside the weights: Python packages, and files among the artefacts. */
const peers: Readonly<
  Record<
    string,
    { packages: readonly string[]; files: (part: string, name: string) => string[]; prepare: string }
  >
> = {
  openvino: {
    packages: ["openvino", "torch"],
    files: (part) => [`${part}_ov32.xml`, `${part}_ov32.bin`],
    prepare: "ov",
  },
  "ort-node": {
    packages: ["torch"],
    files: (_part, name) => [
      `onnx/${name}/model.onnx`,
      "programs/js/ort/node_modules/onnxruntime-node/package.json",
    ],
    prepare: "onnx",
  },
  ort: {
    packages: ["onnxruntime", "torch"],
    files: (_part, name) => [`onnx/${name}/model.onnx`],
    prepare: "onnx",
  },
  "torch-cl": { packages: ["torch", "diffusers"], files: () => [], prepare: "weights" },
  "torch-freeze": { packages: ["torch", "diffusers"], files: () => [], prepare: "weights" },
};

interface Result {
  readonly ms: number;
  readonly cpuMs: number;
  readonly firstMs: number;
  readonly loadMs: number;
  readonly peakBytes: number;
  readonly version: string;
}

/** A Python that has all these packages: PEERS_PYTHON, else python3. */
export async function findPython(packages: readonly string[]): Promise<string | undefined> {
  const python = process.env.PEERS_PYTHON ?? "python3";
  const test = `import importlib.util as u, json; print(json.dumps({"all": all(u.find_spec(p) for p in ${JSON.stringify(packages)})}))`;
  try {
    const { all } = await jsonLine(python, ["-c", test]);
    return all ? python : undefined;
  } catch {
    return undefined;
  }
}

/** Our networks against the same ones in other engines, one process a measurement, in turn. */
export async function benchPeers(options: PeersOptions): Promise<Table[]> {
  if (!existsSync(join(programs, "bench_peers.py"))) {
    console.log(`skipped: no bench_peers.py in ${programs} (PEERS_PROGRAMS names the folder)`);
    return [];
  }
  // A copy, because one of them looks for its package beside itself.
  const copy = join(artefacts, "programs");
  mkdirSync(copy, { recursive: true });
  for (const name of readdirSync(programs).filter((file) => /\.(py|mjs)$/.test(file)))
    cpSync(join(programs, name), join(copy, name), { force: true });
  const rounds = options.rounds ?? (options.quick ? 1 : 3);
  const names = options.cases.length > 0 ? options.cases : options.quick ? ["text"] : Object.keys(cases);
  const tables: Table[] = [];
  const bests = new Map<string, Map<string, Result>>();
  for (const name of names) {
    const here = cases[name];
    if (!here) throw new Error(`no case ${name}; there are ${Object.keys(cases).join(", ")}`);
    const runnable = await whichRun(name, here.part, options);
    const results = new Map<string, Result[]>();
    // In turn: machines drift by more than engines differ.
    for (let round = 1; round <= rounds; round++)
      for (const peer of ["tfjs-diffusion", ...runnable]) {
        progress(`${name}, round ${round} of ${rounds}: ${peer}`);
        const result =
          peer === "tfjs-diffusion"
            ? await ourResult(here.ours, options)
            : await peerResult(peer, name, options);
        if (result) results.set(peer, [...(results.get(peer) ?? []), result]);
      }
    const best = new Map([...results].map(([peer, all]) => [peer, bestOf(all)] as const));
    bests.set(name, best);
    tables.push(caseTable(here.title, best, options, rounds));
  }
  const whole = wholePicture(bests, options);
  return whole ? [...tables, whole] : tables;
}

async function whichRun(
  name: string,
  part: string,
  { peers: chosen, quick }: PeersOptions,
): Promise<string[]> {
  const all = cases[name]!.ours.generate ? ["openvino", "torch-cl"] : Object.keys(peers);
  const wanted = (chosen.length > 0 ? chosen : quick ? ["openvino", "ort-node"] : all).filter(
    (peer) => all.includes(peer) || !(peer in peers),
  );
  const runnable: string[] = [];
  for (const peer of wanted) {
    const needs = peers[peer];
    if (!needs) throw new Error(`no peer ${peer}; there are ${Object.keys(peers).join(", ")}`);
    if (!(await findPython(needs.packages))) {
      console.log(
        `skipped ${peer}: no Python with ${needs.packages.join(", ")} (PEERS_PYTHON names the interpreter)`,
      );
      continue;
    }
    const missing = [`${part}.safetensors`, ...needs.files(part, name)].find(
      (file) => !existsSync(join(artefacts, file)),
    );
    if (missing) {
      const hint = missing.endsWith("package.json")
        ? `npm install onnxruntime-node --ignore-scripts, in ${join(artefacts, "programs", "js", "ort")}`
        : `prep_peers.py ${missing.endsWith(".safetensors") ? "weights" : `${needs.prepare}${needs.prepare === "onnx" ? ` ${name}` : ""}`}`;
      console.log(
        `skipped ${peer} for ${name}: no ${missing} in ${artefacts} (PEERS_ART); make it with: ${hint}`,
      );
      continue;
    }
    runnable.push(peer);
  }
  return runnable;
}

async function ourResult(spec: Ours, { folder, threads, quick }: PeersOptions): Promise<Result> {
  const model = randomModel(folder, "sd15");
  const load = { precision: "fp32", threads, cacheDir: join(folder, "peers-cache") } as const;
  const vae = spec.generate && { vae: randomTaesd(folder) };
  const repeats = spec.generate ? { runs: quick ? 2 : 4 } : { seconds: quick ? 5 : 20, least: 2 };
  const run = await runOurs({ model, load: { ...load, ...vae }, ...spec, ...repeats });
  return {
    ms: least(run.later.map((later) => later.ms)),
    cpuMs: least(run.later.map((later) => later.cpuMs)),
    firstMs: run.first.ms,
    loadMs: run.loadMs,
    peakBytes: run.peakBytes,
    version: `TensorFlow ${run.tensorflow}`,
  };
}

async function peerResult(peer: string, name: string, options: PeersOptions): Promise<Result | undefined> {
  const { threads, quick, cpuTime } = options;
  const python = process.env.PEERS_PYTHON ?? "python3";
  const patience = cpuTime || quick ? "0" : "60";
  const args = ["--peer", peer, "--what", name, "--threads", `${threads}`];
  const program = cases[name]!.ours.generate
    ? [join(root, "bench", "few_steps.py"), ...args, "--rounds", quick ? "1" : "3"]
    : [
        ...[join(artefacts, "programs", "bench_peers.py"), ...args],
        ...["--patience", patience, "--seconds", quick ? "5" : "20"],
      ];
  const line = await jsonLine(
    python,
    program,
    // One would be written beside the program, the other in the user's cache.
    {
      PEERS_ART: artefacts,
      TORCHINDUCTOR_CACHE_DIR: join(artefacts, "inductor"),
      PYTHONDONTWRITEBYTECODE: "1",
    },
  );
  if (line.error) {
    console.log(`${peer} failed on ${name}: ${line.error}`);
    return undefined;
  }
  return {
    ms: Number(line.min_ms),
    cpuMs: Number(line.cpu_ms ?? Number.NaN),
    firstMs: Number(line.first_ms),
    loadMs: 1000 * Number(line.load_s),
    peakBytes: Number(line.peak_rss_mb) * 2 ** 20,
    version: String(line.version),
  };
}

const bestOf = (all: readonly Result[]): Result => ({
  ...all[0]!,
  ms: least(all.map((result) => result.ms)),
  cpuMs: least(all.map((result) => result.cpuMs)),
  firstMs: least(all.map((result) => result.firstMs)),
  loadMs: least(all.map((result) => result.loadMs)),
  peakBytes: Math.max(...all.map((result) => result.peakBytes)),
});

const titleOf = ({ cpuTime, threads }: PeersOptions): string =>
  cpuTime ? "CPU time, one thread" : `${threads} thread${threads > 1 ? "s" : ""}`;

function caseTable(
  title: string,
  best: ReadonlyMap<string, Result>,
  options: PeersOptions,
  rounds: number,
): Table {
  const time = options.cpuTime ? "cpuMs" : "ms";
  const own = best.get("tfjs-diffusion")!;
  const rows = [...best].sort(([, a], [, b]) => a[time] - b[time]);
  return {
    title: `Engines: ${title}, ${titleOf(options)}`,
    columns: [
      "",
      ...(options.cpuTime ? ["CPU ms"] : ["ms", "CPU ms"]),
      "our speed against it",
      "first run ms",
      "load ms",
      "peak MB",
      "version",
    ],
    rows: rows.map(([peer, result]) => [
      peer,
      ...(options.cpuTime ? [] : [ms(result.ms)]),
      ms(result.cpuMs),
      peer === "tfjs-diffusion" ? "" : ratio(result[time] / own[time]),
      ms(result.firstMs),
      ms(result.loadMs),
      `${Math.round(result.peakBytes / 1e6)}`,
      result.version,
    ]),
    notes: [`Random weights, float32; least of ${rounds} processes each, in turn.`],
  };
}

/** 512x512 in 20 steps from the networks' times, where all three were measured. */
function wholePicture(
  bests: ReadonlyMap<string, ReadonlyMap<string, Result>>,
  options: PeersOptions,
): Table | undefined {
  const [text, unet, vae] = ["text", "unet64b2", "vae64"].map((name) => bests.get(name));
  if (!text || !unet || !vae) return undefined;
  const time = options.cpuTime ? "cpuMs" : "ms";
  const whole = (peer: string) =>
    2 * text.get(peer)![time] + 20 * unet.get(peer)![time] + vae.get(peer)![time];
  const all = [...unet.keys()].filter((peer) => text.has(peer) && vae.has(peer));
  const own = whole("tfjs-diffusion");
  return {
    title: `Engines: 512x512 in 20 steps with guidance, from the figures above, ${titleOf(options)}`,
    columns: ["", "s", "our speed against it"],
    rows: all
      .sort((a, b) => whole(a) - whole(b))
      .map((peer) => [
        peer,
        (whole(peer) / 1000).toFixed(1),
        peer === "tfjs-diffusion" ? "" : ratio(whole(peer) / own),
      ]),
  };
}
