/** Inpainting: npx tsx examples/inpaint.ts dog.png mask.png "a dog with sunglasses" sunglasses.png */
import { writeFileSync } from "node:fs";
import { encodePng, generate, readImage } from "tfjs-diffusion";

const [image, mask, prompt = "a dog with sunglasses", file = "inpaint.png", steps] = process.argv.slice(2);
if (!image || !mask) throw new Error("usage: inpaint.ts image mask [prompt] [file] [steps]");

const { images } = await generate({
  prompt,
  image,
  mask, // white or transparent is repainted, everything else comes back to the bit
  seed: 31,
  ...(steps && { steps: Number(steps) }),
});
writeFileSync(file, encodePng(images[0]!));
const before = await readImage(image);
console.log(`${file}: ${before.data.filter((byte, i) => byte !== images[0]!.data[i]).length} bytes changed`);
