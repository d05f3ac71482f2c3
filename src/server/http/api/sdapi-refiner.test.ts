import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { decodePng, generateRefined, StableDiffusion } from "../../../index.js";
import { goldenPath } from "../../../testing/golden.js";
import { writeTinyRefiner } from "../../../testing/tiny-refiner.js";
import { testServer } from "../../fixture.js";

const refinerPath = mkdtemp(join(tmpdir(), "refiner-")).then((folder) =>
  writeTinyRefiner(join(folder, "tiny-refiner")),
);

async function serverWithBoth(work?: "library") {
  const server = await testServer(work && { work });
  const { models } = server.parts;
  const base = (await models.addPath(goldenPath("models/tiny-sdxl")))!;
  const refiner = (await models.addPath(await refinerPath))!;
  await models.choose(base);
  return { ...server, base, refiner };
}

const body = {
  prompt: "a fox",
  width: 32,
  height: 32,
  steps: 4,
  cfg_scale: 3,
  seed: 5,
  sampler_name: "Euler",
};

test("refiner_checkpoint goes on at refiner_switch_at; one that would change nothing is none", async () => {
  const { send, ran, parts, base, refiner } = await serverWithBoth();
  const post = async (more: object, route = "txt2img") => {
    const answer = await send("POST", `/sdapi/v1/${route}`, { ...body, ...more });
    return [answer.status, await answer.text()];
  };
  const asked = { refiner_checkpoint: "tiny-refiner", refiner_switch_at: 0.5 };
  const scores = { sdxl_refiner_high_aesthetic_score: 7 };
  expect((await post({ ...asked, override_settings: scores }))[0]).toBe(200);
  expect(ran.at(-1)).toMatchObject({
    model: base,
    refiner: { model: refiner, switchAt: 0.5 },
    aestheticScore: 7,
  });
  for (const none of [
    { refiner_checkpoint: "tiny-sdxl", refiner_switch_at: 0.5 },
    { refiner_checkpoint: "tiny-refiner", refiner_switch_at: 1 },
    { refiner_checkpoint: "None", refiner_switch_at: 0.5 },
    { refiner_switch_at: 0.5 },
  ]) {
    expect((await post(none))[0]).toBe(200);
    expect(ran.at(-1)).not.toHaveProperty("refiner");
  }
  const named = expect.stringContaining("refiner_checkpoint");
  expect(await post({ refiner_checkpoint: "tiny-refiner" })).toEqual([422, named]);
  expect(await post({ ...asked, refiner_switch_at: 0 })).toEqual([422, named]);
  expect(await post({ ...asked, enable_hr: true })).toEqual([422, named]);
  expect(await post({ ...asked, init_images: ["x"] }, "img2img")).toEqual([422, named]);
  expect((await post({ ...asked, refiner_checkpoint: "nobody" }))[0]).toBe(404);
  const { prompt, width, height, steps } = body;
  const job = { prompt, width, height, steps, refiner: { model: "tiny-refiner", switchAt: 0.5 } };
  expect((await send("POST", "/jobs", job)).status).toBe(202);
  const wrong = await send("POST", "/jobs", { ...job, hires: {} });
  expect([wrong.status, await wrong.text()]).toEqual([400, expect.stringContaining("refiner and hires")]);
  // The first is shown a mask, the latents of the second are scaled otherwise.
  await parts.models.addPath(goldenPath("models/tiny-sd1"));
  for (const unlike of ["emoji-diffusion-256-inpaint", "tiny-sd1"])
    expect(await post({ ...asked, refiner_checkpoint: unlike })).toEqual([
      400,
      expect.stringContaining("cannot go on with latents of tiny-sdxl"),
    ]);
});

// Two models are compiled, twice.
test("the picture is the library's, of both models, and its text names both", async () => {
  const { send, parts } = await serverWithBoth("library");
  const asked = { refiner_checkpoint: "tiny-refiner", refiner_switch_at: 0.5 };
  const answer = await send("POST", "/sdapi/v1/txt2img", { ...body, ...asked, eta: 0.5 });
  const { images, info, detail } = (await answer.json()) as {
    images: string[];
    info: string;
    detail?: string;
  };
  expect(detail).toBeUndefined();
  // What the library notes is told.
  const { comments } = JSON.parse(info) as { comments: string[] };
  expect(comments).toContain("eta 0.5 has no effect: EulerDiscreteScheduler does not take it");
  const [job] = await parts.jobs.queue.list();
  expect(job!.result!.images[0]!.notes).toEqual(comments);
  await parts.models.dispose();
  await using base = await StableDiffusion.load(goldenPath("models/tiny-sdxl"));
  await using refiner = await StableDiffusion.load(await refinerPath);
  const { prompt, width, height, steps, seed } = body;
  const want = await generateRefined(base, refiner, {
    ...{ prompt, promptSyntax: "a1111", width, height, steps, seed, guidance: 3 },
    ...{ scheduler: { sampler: "Euler" }, switchAt: 0.5 },
  });
  const { image, text } = decodePng(Buffer.from(images[0]!, "base64"));
  expect(image).toEqual(want.images[0]);
  expect(text.parameters).toContain("Refiner: tiny-refiner, Refiner switch at: 0.5");
}, 600_000);
