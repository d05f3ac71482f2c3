/** Each picture is the start of the next: npx tsx examples/loopback.ts dog.png "a fox in the forest" fox.png 4 20 */
import { writeFileSync } from "node:fs";
import { encodePng, generate, type Image, readImage } from "tfjs-diffusion";

const [image, prompt = "a fox in the forest", file = "loopback.png", rounds = "4", steps] =
  process.argv.slice(2);
if (!image) throw new Error("usage: loopback.ts image [prompt] [file] [rounds] [steps]");

let picture: Image = await readImage(image);
for (let round = 0; round < Number(rounds); round++) {
  const strength = 0.5 * 0.9 ** round; // less and less is changed
  const options = { prompt, strength, seed: 7 + round, ...(steps && { steps: Number(steps) }) };
  [picture] = (await generate({ ...options, image: picture })).images as [Image];
}
writeFileSync(file, encodePng(picture));
