/**
 * One measurement of this library in a process of its own, as its users run it: `node bench/ours.mjs '<spec>'` prints
 * one JSON line. spec: { library, model, load, keep?, generate?, runs } or { …, network: "unet" | "vae" | "text",
 * batch, side, seconds, least, tiles }. JavaScript, because a TypeScript loader would count in start-up time and memory.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const spec = JSON.parse(process.argv[2]);
const { StableDiffusion } = await import(pathToFileURL(spec.library).href);

/** The process that computes, once it runs. */
const workerOf = () => {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim().split(" ");
  return children.find((pid) => pid && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("worker"));
};

/** Bytes of memory that belong to the process alone; mapped files (the weights) are page cache. */
const privateBytes = (pid) => {
  const line = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line?.[1] ?? 0) * 1024;
};

/** Milliseconds of CPU time of this process and of the one that computes. */
const cpuMs = () => {
  const pid = workerOf();
  const threads = pid ? readdirSync(`/proc/${pid}/task`) : [];
  const nanoseconds = threads.map((id) =>
    Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, "utf8").split(" ")[0]),
  );
  return ownCpuMs() + nanoseconds.reduce((a, b) => a + b, 0) / 1e6;
};

/** Looks at this event loop every few milliseconds, and at the other process's memory now and then. */
function watch() {
  const seen = { longestGapMs: 0, peakPrivateBytes: 0 };
  let last = performance.now();
  let ticks = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    seen.longestGapMs = Math.max(seen.longestGapMs, now - last);
    last = now;
    if (ticks++ % 8 === 0) {
      try {
        seen.peakPrivateBytes = Math.max(seen.peakPrivateBytes, privateBytes(workerOf()));
      } catch {
        // not started yet, or just gone
      }
    }
  }, 4);
  // A run that fails must not be kept alive by being watched.
  timer.unref();
  return { seen, stop: () => clearInterval(timer) };
}

const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** Milliseconds of CPU time of this process alone: everything but the networks. */
const ownCpuMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

async function timed(work) {
  const [cpu, own, began] = [cpuMs(), ownCpuMs(), performance.now()];
  const result = await work();
  return { result, ms: performance.now() - began, cpuMs: cpuMs() - cpu, ownCpuMs: ownCpuMs() - own };
}

/** Whole pictures: the first run, then the others. */
async function pictures(model) {
  let firstStepAt;
  const steps = [];
  const runs = [];
  for (let run = 0; run < spec.runs; run++) {
    const onProgress = (event) => {
      if (event.type !== "step") return;
      firstStepAt ??= performance.timeOrigin + performance.now();
      // The first run's steps load the network.
      if (run > 0 || spec.runs === 1) steps.push(event.ms);
    };
    const { result, ...times } = await timed(() => model.generate({ ...spec.generate, onProgress }));
    runs.push({ ...times, parts: result.ms });
    if (spec.keep) {
      writeFileSync(`${spec.keep}.latents`, bytesOf(result.latents.data));
      writeFileSync(`${spec.keep}.image`, bytesOf(result.images[0].data));
    }
  }
  return { firstStepAt, steps, runs };
}

/** The same numbers in every process, with the spread of a normal distribution. */
const noise = (shape) => {
  let state = 12_345;
  const next = () => {
    state = (state * 16_807) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  const length = shape.reduce((a, b) => a * b, 1);
  return { shape, data: Float32Array.from({ length }, () => (2 * next() - 1) * Math.sqrt(3)) };
};

/** One network on noise, again and again for `seconds`, at least `least` times after the first. */
async function passes(model) {
  const { network, batch, side, seconds, least } = spec;
  const sample = noise([batch, side, side, 4]);
  const ids = [Array.from({ length: 77 }, (_, i) => i * 600 + 1)];
  const context = spec.context && noise([batch, 77, spec.context]);
  const run = {
    unet: () => model.unet.run({ sample, timestep: 500, context }),
    vae: () => model.vae.decode(sample, spec.tiles ? {} : { tiling: false }),
    text: async () => (await model.textEncoder.run({ ids })).last,
  }[network];
  const runs = [];
  const began = performance.now();
  let firstStepAt;
  while (runs.length <= least || performance.now() - began < seconds * 1000) {
    const { result, ...times } = await timed(run);
    firstStepAt ??= performance.timeOrigin + performance.now();
    runs.push(times);
    if (spec.keep && runs.length === 1) writeFileSync(`${spec.keep}.output`, bytesOf(result.data));
  }
  return { firstStepAt, steps: [], runs };
}

try {
  const watching = watch();
  const began = performance.now();
  const model = await StableDiffusion.load(spec.model, spec.load);
  const loadMs = performance.now() - began;
  // What reading configs, weights' headers and tokenizers takes of the event loop is not generating.
  await new Promise((resolve) => setTimeout(resolve, 10));
  watching.seen.longestGapMs = 0;
  const { firstStepAt, steps, runs } = await (spec.network ? passes(model) : pictures(model));
  watching.stop();
  const status = await model.status();
  console.log(
    JSON.stringify({
      loadMs,
      firstStepAt,
      steps,
      runs,
      ...watching.seen,
      privateBytes: privateBytes(workerOf()),
      residentBytes: status.residentBytes,
      peakBytes: status.peakBytes,
      ownPeakBytes: process.resourceUsage().maxRSS * 1024,
      tensorflow: status.tensorflow,
    }),
  );
  await model.dispose();
} catch (error) {
  console.log(JSON.stringify({ error: { code: error.code, message: error.message } }));
}
