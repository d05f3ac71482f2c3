/** Text to image: npx tsx examples/txt2img.ts "a cat wearing a crown" cat.png */
import { writeFileSync } from "node:fs";
import { defaultModels, encodePng, generate, infotext } from "tfjs-diffusion";

const [prompt = "a red car on the street", file = "txt2img.png", steps] = process.argv.slice(2);

// What is not said here (scheduler, steps, guidance, size) is the model's own default.
const { images, seeds, options } = await generate({
  prompt,
  seed: 3,
  ...(steps && { steps: Number(steps) }),
  onProgress: (event) => {
    if (event.type === "step") console.error(`step ${event.step} of ${event.steps}`);
  },
});

// The text that other programs read, too: how to make this picture again.
const parameters = infotext({ options, model: defaultModels[0] });
writeFileSync(file, encodePng(images[0]!, { parameters }));
console.log(`${file}: seed ${seeds[0]}`);
