/** A picture larger than the model's own, made in two passes: npx tsx examples/hires.ts "a red car" large.png */
import { writeFileSync } from "node:fs";
import { encodePng, generate } from "tfjs-diffusion";

const [prompt = "a red car on the street", file = "hires.png", steps] = process.argv.slice(2);

const { images } = await generate({
  prompt,
  seed: 3,
  ...(steps && { steps: Number(steps) }),
  // The composition of 256x256, denoised once more at 384x384.
  hires: { scale: 1.5, strength: 0.5, upscaler: "latent-bicubic" },
});
writeFileSync(file, encodePng(images[0]!));
