/** An Express route that streams progress, and stops when its client leaves: npx tsx examples/express.ts 3000 */
import express from "express";
import { encodePng, StableDiffusion } from "tfjs-diffusion";

const model = await StableDiffusion.load();

// curl -N "http://127.0.0.1:3000/?prompt=a+blue+dog&steps=20": an event for each step, then the picture as a data: URL
const app = express().get("/", async ({ query: { prompt, steps } }, response) => {
  const left = new AbortController();
  response.on("close", () => left.abort());
  const send = (data: object) => response.write(`data: ${JSON.stringify(data)}\n\n`);
  response.type("text/event-stream");
  const { images } = await model.generate({
    prompt: String(prompt),
    ...(steps !== undefined && { steps: Number(steps) }),
    signal: left.signal,
    onProgress: (event) => void (event.type === "step" && send({ step: event.step, steps: event.steps })),
  });
  send({ picture: `data:image/png;base64,${Buffer.from(encodePng(images[0]!)).toString("base64")}` });
  response.end();
});
const server = app.listen(Number(process.argv[2] ?? 3000), "127.0.0.1", () =>
  console.log("listening", server.address()),
);
