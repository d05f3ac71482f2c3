/** Ten pictures into a folder, two at a time: npx tsx examples/ten-pictures.ts animals/ 20 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { encodePng, StableDiffusion } from "tfjs-diffusion";

const [folder = "animals", steps] = process.argv.slice(2);
const animals = ["dog", "cat", "fox", "panda", "frog", "penguin", "lion", "tiger", "owl", "butterfly"];

await mkdir(folder, { recursive: true });
await using model = await StableDiffusion.load();
// The steps of two pictures take turns; more would only wait, each with its memory.
const limit = pLimit(2);
await Promise.all(
  animals.map((animal) =>
    limit(async () => {
      const options = { prompt: `a ${animal}`, seed: 7, ...(steps && { steps: Number(steps) }) };
      const { images } = await model.generate(options);
      await writeFile(join(folder, `${animal}.png`), encodePng(images[0]!));
      console.log(`${animal}: ${limit.pendingCount} to begin`);
    }),
  ),
);
