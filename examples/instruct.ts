/** InstructPix2Pix: npx tsx examples/instruct.ts timbrooks/instruct-pix2pix photo.png "make it winter" winter.png 20 */
import { writeFileSync } from "node:fs";
import { encodePng, generate } from "tfjs-diffusion";

const [model, image, prompt = "make it winter", file = "instruct.png", steps = "20"] = process.argv.slice(2);
if (!model || !image) throw new Error("usage: instruct.ts model image [prompt] [file] [steps]");

const { images } = await generate({
  model,
  prompt,
  image,
  guidance: 7.5, // how closely the instruction is followed
  imageGuidance: 1.5, // how closely the image is kept to
  steps: Number(steps),
  seed: 1,
});
writeFileSync(file, encodePng(images[0]!));
