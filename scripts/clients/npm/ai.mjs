// The AI SDK's examples of image generation with its OpenAI provider.
import { readFileSync, writeFileSync } from "node:fs";
import { createOpenAI } from "@ai-sdk/openai";
import { generateImage } from "ai";

const openai = createOpenAI({ apiKey: "unused", baseURL: `${process.env.SERVER}/v1` });

const { image } = await generateImage({
  model: openai.image("gpt-image-1"),
  prompt: "Santa Claus driving a Cadillac",
});
writeFileSync("image.png", image.uint8Array);

const sized = await generateImage({
  model: openai.image("dall-e-3"),
  prompt: "Santa Claus driving a Cadillac",
  size: "96x64",
});
writeFileSync("sized.png", Buffer.from(sized.image.base64, "base64"));

const { images } = await generateImage({
  model: openai.image("gpt-image-1"),
  prompt: "Santa Claus driving a Cadillac",
  n: 4, // number of images to generate
  size: "64x64",
  providerOptions: { openai: { quality: "high" } },
});
images.forEach(({ uint8Array }, i) => {
  writeFileSync(`image-${i}.png`, uint8Array);
});

const imageBuffer = readFileSync("image.png");
const turned = await generateImage({
  model: openai.image("gpt-image-1"),
  prompt: {
    text: "Turn the cat into a dog but retain the style of the original image",
    images: [imageBuffer],
  },
});
writeFileSync("turned.png", turned.image.uint8Array);

const inpainted = await generateImage({
  model: openai.image("gpt-image-1"),
  prompt: {
    text: "A sunlit indoor lounge area with a pool containing a flamingo",
    images: [imageBuffer],
    mask: readFileSync(process.env.MASK),
  },
});
writeFileSync("inpainted.png", inpainted.image.uint8Array);
console.log(JSON.stringify({ warnings: inpainted.warnings, mediaType: image.mediaType }));
