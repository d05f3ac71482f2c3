/** A picture of 1024x1024: 256 drawn, 512 drawn over, 1024 enlarged: npx tsx examples/two-passes.ts "a red car" car.png */
import { writeFileSync } from "node:fs";
import { defaultUpscaler, encodePng, generate, upscale } from "tfjs-diffusion";

const [prompt = "a red car on the street", file = "two-passes.png", steps] = process.argv.slice(2);

const { images } = await generate({
  prompt,
  seed: 7,
  ...(steps && { steps: Number(steps) }),
  // The network that comes along enlarges the first picture; the second pass draws over a part of the way.
  hires: { scale: 2, strength: 0.35, upscaler: defaultUpscaler },
});
const large = await upscale(images[0]!, { scale: 2 });
writeFileSync(file, encodePng(large));
console.log(`${file}: ${large.width}x${large.height}`);
