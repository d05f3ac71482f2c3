/** The loop of generate() by hand, for changes of your own: npx tsx examples/own-loop.ts "a red car" car.png 20 */
import { writeFileSync } from "node:fs";
import { createScheduler, encodePng, StableDiffusion } from "tfjs-diffusion";

const [prompt = "a red car", file = "own-loop.png", steps = "20"] = process.argv.slice(2);
await using model = await StableDiffusion.load();
const scheduler = createScheduler(model.schedulerConfig, { steps: Number(steps) });
const { context } = await model.encodePrompt(prompt);
const { context: empty } = await model.encodePrompt("");

const { shape, data: noise } = model.noise(3);
let data: Float32Array = noise.map((value) => value * scheduler.initNoiseSigma);
for (const [step, timestep] of scheduler.timesteps.entries()) {
  const sample = { shape, data: scheduler.scaleInput(data, step) };
  const away = (await model.unet.run({ sample, timestep, context: empty })).data;
  const towards = (await model.unet.run({ sample, timestep, context })).data;
  const guided = away.map((value, i) => value + 5 * (towards[i]! - value)); // guidance, to be changed
  data = scheduler.step(guided, step, data);
}
const { scalingFactor } = model.vae.config;
const decoded = await model.vae.decode({ shape, data: data.map((value) => value / scalingFactor) });
const [, height, width] = decoded.shape as [number, number, number, number];
const bytes = Uint8Array.from(decoded.data, (v) => Math.round(255 * Math.min(1, Math.max(0, v / 2 + 0.5))));
writeFileSync(file, encodePng({ width, height, data: bytes }));
