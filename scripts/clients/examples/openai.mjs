// The examples of OpenAI's documentation: generate with dall-e's address and gpt-image's bytes, edit with a mask, streaming.
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ baseURL: `${process.env.SERVER}/v1`, apiKey: "unused" });
const prompt = "A cute baby sea otter";
const named = await client.images.generate({ model: "dall-e-3", prompt, n: 1, size: "1024x1024" });
const fetched = await fetch(named.data[0].url); // no login
const generated = await client.images.generate({ model: "gpt-image-1", prompt });
const image = await toFile(Buffer.from(generated.data[0].b64_json, "base64"), "otter.png", {
  type: "image/png",
});
const mask = await toFile(Buffer.from(process.env.MASK, "base64"), "mask.png", { type: "image/png" });
const edited = await client.images.edit({
  model: "gpt-image-1",
  image,
  mask,
  prompt: "A cute baby sea otter wearing a beret",
});
const varied = await client.images.createVariation({ model: "dall-e-2", image, n: 2, size: "64x64" });
const types = [];
const stream = await client.images.generate({
  model: "gpt-image-1",
  prompt,
  stream: true,
  partial_images: 2,
});
for await (const event of stream) types.push(event.type);
const { data: models } = await client.models.list();
console.log(
  JSON.stringify({
    pictures: {
      fetched: [Buffer.from(await fetched.arrayBuffer()).toString("base64")],
      generated: [generated.data[0].b64_json],
      edited: [edited.data[0].b64_json],
    },
    info: { varied: varied.data.map(({ url }) => url), types, models: models.map(({ id }) => id) },
  }),
);
