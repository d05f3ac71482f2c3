// The examples of its README: txt2img with little and with much said, img2img, pngInfo.
import sdwebui, { SamplingMethod } from "node-sd-webui";

const client = sdwebui({ apiUrl: process.env.SERVER });
const { images: simple } = await client.txt2img({ prompt: "A photo of a mushroom" });
const { images } = await client.txt2img({
  prompt: "A photo of a mushroom, red cap, white spots",
  negativePrompt: "blurry, cartoon, drawing, illustration",
  samplingMethod: SamplingMethod.Euler_A,
  width: 768,
  height: 512,
  steps: 20,
  batchSize: 5,
});
const hires = { denoisingStrength: 0.6, upscaler: "Latent", upscaleBy: 2, steps: 2 };
const { images: larger } = await client.txt2img({ prompt: "a dog", width: 64, height: 64, steps: 2, hires });
const { images: varied } = await client.img2img({
  imageData: [images[0]],
  prompt: "a cat",
  width: 64,
  height: 64,
  steps: 4,
});
const info = await client.pngInfo({ imageData: images[0] });
console.log(JSON.stringify({ pictures: { simple, images, larger, varied }, info }));
