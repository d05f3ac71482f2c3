/** Image to image: npx tsx examples/img2img.ts photo.jpg "a house in the snow" snow.png 0.6 */
import { writeFileSync } from "node:fs";
import { encodePng, generate } from "tfjs-diffusion";

const [image, prompt = "a dog in the snow", file = "img2img.png", strength = "0.7"] = process.argv.slice(2);
if (!image) throw new Error("usage: img2img.ts image [prompt] [file] [strength]");

const { images, options } = await generate({
  prompt,
  image, // a path, bytes, or pixels
  strength: Number(strength), // 0.3 keeps most of it, 0.9 little
  width: 256,
  height: 256,
  resizeMode: "crop",
  seed: 21,
});
writeFileSync(file, encodePng(images[0]!));
console.log(`${file}: ${Math.floor(options.steps * options.strength!)} of ${options.steps} steps were run`);
