/** Pictures from noise alone: npx tsx examples/unconditional.ts butterflies-64 butterfly.png 50 */
import { writeFileSync } from "node:fs";
import { encodePng, generate } from "tfjs-diffusion";

const [model = "butterflies-64", file = "unconditional.png", steps = "50"] = process.argv.slice(2);

// Models are trained for 1000 steps of DDPM; DDIM comes close in 50.
const { images } = await generate({ model, seed: 8, steps: Number(steps), scheduler: "ddim" });
writeFileSync(file, encodePng(images[0]!));
