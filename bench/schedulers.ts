import { schedulerEntries } from "../src/schedulers/catalog.js";
import { createScheduler, type Scheduler } from "../src/schedulers/scheduler.js";

/** The latents of one picture of 512 x 512: 4 x 64 x 64. */
const size = 16_384;
const limit = 0.5;
const [steps, rounds] = [30, 12];

const normals = (seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => Math.sin((i + 1) * 12.9898 + seed * 78.233) * 1.4);

const noise = normals(2);
const output = normals(3).map((x) => x * 0.7);

/** Milliseconds of every step of one run, scaling of the input included, drawing of noise not. */
function timesOf(scheduler: Scheduler): number[] {
  let sample: Float32Array = normals(1).map((x) => x * scheduler.initNoiseSigma);
  const times: number[] = [];
  for (let i = 0; i < scheduler.timesteps.length; i++) {
    const began = performance.now();
    scheduler.scaleInput(sample, i);
    sample = scheduler.step(output, i, sample, () => noise);
    times.push(performance.now() - began);
  }
  return times;
}

const variants: [label: string, config: Parameters<typeof createScheduler>[0]][] = [
  ...schedulerEntries.map((s): [string, string] => [s.name, s.name]),
  ["dpm_single, order 3", { _class_name: "DPMSolverSinglestepScheduler", solver_order: 3 }],
  ["deis, order 3", { _class_name: "DEISMultistepScheduler", solver_order: 3 }],
  ["unipc, order 3", { _class_name: "UniPCMultistepScheduler", solver_order: 3 }],
  ["ddim, thresholding", { _class_name: "DDIMScheduler", thresholding: true, sample_max_value: 2 }],
];

console.log(
  `one step on ${size} numbers, ms; the median's limit is ${limit}; all steps of ${rounds} runs of ${steps}`,
);
console.log("".padEnd(22), ...["10 %", "median", "95 %"].map((title) => title.padStart(8)));
let slow = 0;
for (const [label, config] of variants) {
  const times: number[] = [];
  for (let round = -4; round < rounds; round++) {
    const measured = timesOf(createScheduler(config, { steps }));
    if (round >= 0) times.push(...measured);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(times.length * share)]!;
  if (at(0.5) > limit) slow++;
  console.log(label.padEnd(22), ...[0.1, 0.5, 0.95].map((share) => at(share).toFixed(3).padStart(8)));
}
if (slow > 0) process.exitCode = 1;
