// The image examples of OpenAI's own client (its README names the client, its methods' documentation the calls).
import { createReadStream, readFileSync, writeFileSync } from "node:fs";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ apiKey: "unused", baseURL: `${process.env.SERVER}/v1` });
const save = (name, base64) => writeFileSync(name, Buffer.from(base64, "base64"));

const generated = await client.images.generate({
  model: "gpt-image-1",
  prompt: "A cute baby sea otter",
  n: 1,
  size: "64x64",
});
save("otter.png", generated.data[0].b64_json);

// DALL-E answers with addresses.
const linked = await client.images.generate({
  model: "dall-e-2",
  prompt: "A cute baby sea otter",
  size: "64x64",
});
const answer = await fetch(linked.data[0].url);
writeFileSync("linked.png", Buffer.from(await answer.arrayBuffer()));

const stream = await client.images.generate({
  model: "gpt-image-1",
  prompt: "A cute baby sea otter",
  n: 1,
  size: "64x64",
  stream: true,
  partial_images: 1,
});
const events = [];
for await (const event of stream) {
  events.push(event.type);
  save("streamed.png", event.b64_json);
}

const edited = await client.images.edit({
  model: "gpt-image-1",
  image: createReadStream("otter.png"),
  prompt: "A cute baby sea otter wearing a beret",
});
save("edited.png", edited.data[0].b64_json);

const masked = await client.images.edit({
  image: await toFile(readFileSync("otter.png"), "otter.png", { type: "image/png" }),
  mask: await toFile(readFileSync(process.env.MASK), "mask.png", { type: "image/png" }),
  prompt: "A cute baby sea otter wearing a beret",
});
save("masked.png", masked.data[0].b64_json);

const varied = await client.images.createVariation({
  image: createReadStream("otter.png"),
  response_format: "b64_json",
});
save("varied.png", varied.data[0].b64_json);

const models = [];
for await (const { id } of client.models.list()) models.push(id);

const refused = await client.images
  .generate({ model: "nobody", prompt: "x" })
  .catch(({ status, code }) => ({ status, code }));
console.log(JSON.stringify({ events, models, refused }));
