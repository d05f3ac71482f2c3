import { expect, test } from "vitest";
import { testServer } from "../../fixture.js";

const body = { prompt: "a dog", width: 64, height: 64, steps: 4, sampler_name: "Euler a", seed: 7 };

async function sent(alwayson_scripts: object, more: object = {}) {
  const { send, ran } = await testServer();
  const answer = await send("POST", "/sdapi/v1/txt2img", { ...body, ...more, alwayson_scripts });
  const { detail } = (await answer.json()) as { detail?: string };
  return { status: answer.status, detail, ran: ran.length };
}

test("scripts of the web UI's own page that are off, or repeat the request, do not disturb", async () => {
  const scripts = {
    Sampler: { args: [4, "Euler a", "Automatic"] },
    Seed: { args: [7, false, -1, 0, 0, 0] },
    Refiner: { args: [false, "", 0.8] },
    "Soft Inpainting": { args: [false, 1, 0.5, 4, 0, 0.5, 2] },
    "Extra options": { args: [] },
    Comments: { args: [] },
    ADetailer: { args: [false, false, { ad_model: "face_yolov8n.pt" }] },
    "Tiled VAE": { args: [false, 1536, 96] },
    Cutoff: { args: [{ enabled: false }, { enabled: false }] },
    Older: [false, 3],
    Empty: null,
    Nothing: { args: [null, "", false] },
    adetailer: { args: [{ ad_model: "None" }] },
    AnimateDiff: { args: [{ enable: false, model: "mm_sd_v15" }] },
    "Never OOM": { args: ["False", 3] },
    reactor: { args: ["iVBORw0", false, "0"] },
  };
  expect(await sent(scripts)).toMatchObject({ status: 200, ran: 1 });
  const varied = { subseed: 3, subseed_strength: 0.5, scheduler: "Karras" };
  const same = { sampler: { args: ["4", "euler a", "karras"] }, seed: { args: [7, true, 3, 0.5] } };
  expect(await sent(same, varied)).toMatchObject({ status: 200, ran: 1 });
});

test.each([
  [
    { Sampler: { args: [20, "Euler a", "Automatic"] } },
    "alwayson_scripts.Sampler.args.0 is 20, and the request says 4",
  ],
  [{ Sampler: { args: [4, "DDIM"] } }, 'args.1 is "DDIM", and the request says "Euler a"'],
  [{ Seed: { args: [8] } }, "args.0 is 8, and the request says 7"],
  [{ Refiner: { args: [true, "other", 0.8] } }, "always on script Refiner not found"],
  [{ "Soft Inpainting": { args: [true, 1] } }, "always on script Soft Inpainting not found"],
  [{ ADetailer: { args: [{ ad_model: "face_yolov8n.pt" }] } }, "always on script ADetailer not found"],
  [{ reactor: { args: [null, true, "0"] } }, "always on script reactor not found"],
  [{ Unheard: { args: [null, true] } }, "always on script Unheard not found"],
])("%j is refused by name", async (scripts, words) => {
  const { status, detail, ran } = await sent(scripts);
  expect([status, ran]).toEqual([422, 0]);
  expect(detail).toContain(words);
});
