// The examples of the AI SDK's page on OpenAI's image models: generate, edit, edit with a mask.
import { createOpenAI } from "@ai-sdk/openai";
import { generateImage } from "ai";

const openai = createOpenAI({ baseURL: `${process.env.SERVER}/v1`, apiKey: "unused" });
const { image } = await generateImage({
  model: openai.image("dall-e-3"),
  prompt: "Santa Claus driving a Cadillac",
  size: "1024x1024",
});
const { images: several } = await generateImage({
  model: openai.image("gpt-image-1"),
  prompt: "Santa Claus driving a Cadillac",
  n: 2,
});
const input = Buffer.from(several[0].base64, "base64");
const { images: edited } = await generateImage({
  model: openai.image("gpt-image-1"),
  prompt: {
    text: "Turn the cat into a dog but retain the style of the original image",
    images: [input],
  },
});
const { images: masked } = await generateImage({
  model: openai.image("gpt-image-1"),
  prompt: {
    text: "A sunlit indoor lounge area with a pool containing a flamingo",
    images: [input],
    mask: Buffer.from(process.env.MASK, "base64"),
  },
});
const base64 = (pictures) => pictures.map(({ base64 }) => base64);
console.log(
  JSON.stringify({
    pictures: {
      image: [image.base64],
      several: base64(several),
      edited: base64(edited),
      masked: base64(masked),
    },
  }),
);
