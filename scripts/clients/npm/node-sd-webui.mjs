// The README's examples of node-sd-webui; only the address, the sizes and the files' names are this test's.
import { writeFileSync } from "node:fs";
import sdwebui, { SamplingMethod } from "node-sd-webui";

const apiUrl = process.env.SERVER;

await sdwebui({ apiUrl })
  .txt2img({
    prompt: "A photo of a mushroom",
  })
  .then(({ images }) => writeFileSync("image.png", images[0], "base64"));

const client = sdwebui({ apiUrl });

const { images } = await client.txt2img({
  prompt: "A photo of a mushroom, red cap, white spots",
  negativePrompt: "blurry, cartoon, drawing, illustration",
  samplingMethod: SamplingMethod.Euler_A,
  width: 96,
  height: 64,
  steps: 4,
  batchSize: 5,
});

images.forEach((image, i) => {
  writeFileSync(`image-${i}.png`, image, "base64");
});

// What its feature list promises beside the examples.
const [first] = images;
const varied = await client.img2img({
  imageData: [first],
  prompt: "A photo of a mushroom",
  width: 96,
  height: 64,
  steps: 4,
});
writeFileSync("varied.png", varied.images[0], "base64");
console.log(JSON.stringify(await client.pngInfo({ imageData: first })));
