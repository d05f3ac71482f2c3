/** One prompt with every scheduler that adds no noise: npx tsx examples/schedulers.ts sheet.png "a fox" 50 */
import { writeFileSync } from "node:fs";
import { encodePng, generate, type Image, schedulerEntries } from "tfjs-diffusion";

const [file = "sheet.png", prompt = "a strawberry", steps = "50", only] = process.argv.slice(2);
// Made for networks with noise levels of their own: they draw nothing sensible here, or refuse to.
const foreign = ["edm_euler", "edm_dpmpp_2m", "ipndm"];

const cells: Image[] = [];
for (const { name, stochastic } of schedulerEntries) {
  if (stochastic === true || foreign.includes(name) || only?.split(",").includes(name) === false) continue;
  const options = { prompt, seed: 6, steps: Number(steps), guidance: 5, eta: 0, scheduler: name };
  cells.push((await generate(options)).images[0]!);
}

const columns = Math.min(6, cells.length);
const [width, height] = [256 * columns, 256 * Math.ceil(cells.length / columns)];
const data = new Uint8Array(width * height * 3).fill(255);
for (const [i, cell] of cells.entries())
  for (let line = 0; line < 256; line++) {
    const to = (Math.floor(i / columns) * 256 + line) * columns + (i % columns);
    data.set(cell.data.subarray(line * 768, (line + 1) * 768), to * 768);
  }
writeFileSync(file, encodePng({ width, height, data }));
