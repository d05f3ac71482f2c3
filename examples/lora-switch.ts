/** LoRAs switched between pictures: npx tsx examples/lora-switch.ts model out a.safetensors b.safetensors */
import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { encodePng, StableDiffusion } from "tfjs-diffusion";

const [name, folder, ...files] = process.argv.slice(2);
if (!folder || files.length === 0) throw new Error("usage: lora-switch.ts model folder lora...");

await using model = await StableDiffusion.load(name);
const loras = [];
for (const file of files) loras.push(await model.loadLora(file, { name: basename(file, ".safetensors") }));

const draw = async (what: string) => {
  const { images } = await model.generate({ prompt: "a house", seed: 7 });
  writeFileSync(join(folder, `${what}.png`), encodePng(images[0]!));
};
model.setLoras([]);
await draw("none");
for (const lora of loras) {
  model.setLoras([{ name: lora.name, scale: 0.8 }]);
  await draw(lora.name);
}
