/** A scheduler of your own, DDIM for velocities: npx tsx examples/custom-scheduler.ts "a green apple" apple.png 20 */
import { writeFileSync } from "node:fs";
import { encodePng, formatParameters, generate, type SchedulerFactory } from "tfjs-diffusion";

const [prompt = "a green apple", file = "custom-scheduler.png", stepsText = "20"] = process.argv.slice(2);

const ddim: SchedulerFactory = ({ steps = 20 }) => {
  const timesteps = Array.from({ length: steps }, (_, i) => Math.round((999 * (steps - i)) / steps));
  // The share of signal at timestep t, from the noise schedule of Stable Diffusion: sqrt(beta) grows linearly.
  const betas = Array.from({ length: 1000 }, (_, t) => (0.0292 + (0.1095 - 0.0292) * (t / 999)) ** 2);
  const angle = (t = 0) => Math.acos(Math.sqrt(betas.slice(0, t + 1).reduce((a, beta) => a * (1 - beta), 1)));
  const turn = (x: Float32Array, y: Float32Array, by: number) =>
    x.map((value, i) => Math.cos(by) * value + Math.sin(by) * y[i]!);
  return {
    timesteps,
    initNoiseSigma: 1,
    scaleInput: (sample) => sample,
    step: (velocity, i, sample) => turn(sample, velocity, angle(timesteps[i + 1]) - angle(timesteps[i])),
    addNoise: (clean, noise, i) => turn(clean, noise, angle(timesteps[i])),
  };
};
const { images, seeds } = await generate({ prompt, seed: 5, steps: Number(stepsText), scheduler: ddim });
const parameters = formatParameters({ prompt, steps: Number(stepsText), sampler: "mine", seed: seeds[0]! });
writeFileSync(file, encodePng(images[0]!, { parameters }));
