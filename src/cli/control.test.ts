import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseParameters } from "../image/parameters.js";
import { decodePng } from "../image/png.js";
import { StableDiffusion } from "../pipeline/stable-diffusion.js";
import { openCli } from "../testing/cli-process.js";
import { goldenExtra, goldenPath } from "../testing/golden.js";

const { run, folder } = openCli();
const minutes = 5 * 60_000;

test("--control and --ip-adapter do what the library does", { timeout: minutes }, async () => {
  const cwd = folder();
  const net = goldenPath("models/tiny-controlnet");
  const adapter = goldenExtra("t2i-adapter/full");
  const ip = goldenExtra("ip-adapter/plain.safetensors");
  const [picture, style] = [goldenExtra("t2i-adapter/picture-0.png"), goldenExtra("ip-adapter/wide.png")];
  const model = goldenPath("models/tiny-sd1");
  const { stdout, code, stderr } = await run(
    [
      ...["a cat", "--model", model, "--steps", "2", "--seed", "5", "--runtime", "eager", "--out", "cat.png"],
      ...["--control", `model=${net},image=${picture},scale=0.7,preprocess=canny+invert,low=40,high=90`],
      ...["--control", `model=${adapter},image=${picture},scale=0.5,end=0.5`],
      ...["--ip-adapter", `model=${ip},image=${style},scale=0.6`],
    ],
    { cwd },
  );
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(stdout).toMatch(/^cat\.png/);
  const { image, text } = decodePng(readFileSync(join(cwd, "cat.png")));
  const library = await StableDiffusion.load(model, { runtime: "eager" });
  try {
    const result = await library.generate({
      ...{ prompt: "a cat", steps: 2, seed: 5 },
      controlnet: [
        {
          model: net,
          image: picture,
          scale: 0.7,
          preprocess: [{ name: "canny", low: 40, high: 90 }, "invert"],
        },
        { model: adapter, image: picture, scale: 0.5, end: 0.5 },
      ],
      ipAdapter: { model: ip, image: style, scale: 0.6 },
    });
    expect(image.data).toEqual(result.images[0]!.data);
  } finally {
    await library.dispose();
  }
  expect(parseParameters(text.parameters!).extra).toMatchObject({
    "ControlNet 0":
      "Module: canny+invert, Model: tiny-controlnet, Weight: 0.7, Guidance Start: 0, Guidance End: 1",
    "ControlNet 1": "Module: none, Model: full, Weight: 0.5, Guidance Start: 0, Guidance End: 0.5",
    "IP-Adapter 0": "Model: plain.safetensors, Weight: 0.6, Guidance Start: 0, Guidance End: 1",
  });
});
