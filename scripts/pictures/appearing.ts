/** A picture that appears, as an animated WebP: npx tsx scripts/pictures/appearing.ts docs/appearing.webp */
import sharp from "sharp";
import { encodePng, type Latents, StableDiffusion } from "../../src/index.js";

const [file, steps] = process.argv.slice(2);
if (file === undefined) throw new Error("usage: appearing.ts file.webp [steps]");

await using model = await StableDiffusion.load();
const states: Latents[] = [];
const { images } = await model.generate({
  prompt: "a dog with glasses",
  seed: 7,
  ...(steps !== undefined && { steps: Number(steps) }),
  onProgress: (event) => {
    if (event.type === "step") states.push(event.latents);
  },
});

// At most 20 of the steps, each decoded as the last one is, which is the picture itself.
const every = Math.ceil(states.length / 20);
const frames: Buffer[] = [];
for (const latents of states.slice(0, -1).filter((_, i) => i % every === 0))
  frames.push(await frameOf(await decoded(latents)));
frames.push(await frameOf(sharp(encodePng(images[0]!))));
await sharp(frames, { join: { animated: true } })
  .webp({
    quality: 70,
    effort: 6,
    loop: 0,
    delay: frames.map((_, i) => (i < frames.length - 1 ? 110 : 2500)),
  })
  .toFile(file);

async function decoded({ shape, data }: Latents) {
  const { scalingFactor } = model.vae.config;
  const picture = await model.vae.decode({ shape, data: data.map((value) => value / scalingFactor) });
  const [, height, width] = picture.shape as [number, number, number, number];
  const bytes = Uint8Array.from(picture.data, (v) => Math.round(255 * Math.min(1, Math.max(0, v / 2 + 0.5))));
  return sharp(bytes, { raw: { width, height, channels: 3 } });
}

function frameOf(picture: ReturnType<typeof sharp>): Promise<Buffer> {
  return picture.resize(192, 192).png().toBuffer();
}
