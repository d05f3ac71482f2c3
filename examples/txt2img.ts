/** Text to image: npx tsx examples/txt2img.ts "a cat wearing a crown" cat.png 20 */
import { writeFileSync } from "node:fs";
import { encodePng, formatParameters, generate } from "tfjs-diffusion";

const [prompt = "a red car on the street, 3d render", file = "txt2img.png", steps = "20"] =
  process.argv.slice(2);

const { images, seeds, options } = await generate({
  prompt,
  seed: 3,
  steps: Number(steps),
  guidance: 5,
  scheduler: "dpmpp_2m",
  onProgress: (event) => {
    if (event.type === "step") console.error(`step ${event.step} of ${event.steps}`);
  },
});

// The text that other programs read, too: how to make this picture again.
const parameters = formatParameters({ prompt, steps: options.steps, guidance: 5, seed: seeds[0]! });
writeFileSync(file, encodePng(images[0]!, { parameters }));
console.log(`${file}: seed ${seeds[0]}`);
