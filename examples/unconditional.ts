/** Pictures from noise alone: npx tsx examples/unconditional.ts butterflies-64 butterfly.png */
import { writeFileSync } from "node:fs";
import { encodePng, generate } from "tfjs-diffusion";

const [model = "butterflies-64", file = "unconditional.png", steps] = process.argv.slice(2);

const { images } = await generate({ model, seed: 8, ...(steps && { steps: Number(steps) }) });
writeFileSync(file, encodePng(images[0]!));
