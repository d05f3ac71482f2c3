/** Outpainting: npx tsx examples/outpaint.ts street.png "a car on the street" wider.png 20 */
import { writeFileSync } from "node:fs";
import { encodePng, generate } from "tfjs-diffusion";

const [image, prompt = "a car on the street", file = "outpaint.png", steps] = process.argv.slice(2);
if (!image) throw new Error("usage: outpaint.ts image [prompt] [file] [steps]");

const { images } = await generate({
  prompt,
  image,
  expand: { left: 128, bottom: 64 }, // pixels; any side
  seed: 31,
  ...(steps && { steps: Number(steps) }),
});
writeFileSync(file, encodePng(images[0]!));
