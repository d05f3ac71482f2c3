/** Four relatives of one picture: npx tsx examples/variations.ts "a blue dog" dog 20 */
import { writeFileSync } from "node:fs";
import { encodePng, generate } from "tfjs-diffusion";

const [prompt = "a blue dog", name = "variation", steps] = process.argv.slice(2);

const { images, options } = await generate({
  prompt,
  seed: 3,
  variation: { seed: 100, strength: 0.25 }, // 0 is the picture of seed 3, 1 those of seeds 100 to 103
  count: 4,
  ...(steps && { steps: Number(steps) }),
});
for (const [i, image] of images.entries())
  writeFileSync(`${name}-${options.variation!.seeds[i]}.png`, encodePng(image));
