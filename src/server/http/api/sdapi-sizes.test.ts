import { expect, test } from "vitest";
import { base64Png, grey, testServer } from "../../fixture.js";

const body = { prompt: "a dog", steps: 4 };

test("sizes are rounded down to whole cells of the latents, and the answer says what was made", async () => {
  const { send, ran } = await testServer();
  for (const [path, more] of [
    ["txt2img", {}],
    ["img2img", { init_images: [base64Png(grey(64, 64))] }],
  ] as const)
    for (const [width, height, made] of [
      [127, 129, [120, 128]],
      [100, 60, [96, 56]],
      [64, 64, [64, 64]],
      [3, 8, [8, 8]],
    ] as const) {
      const answer = await send("POST", `/sdapi/v1/${path}`, { ...body, width, height, ...more });
      const { info } = (await answer.json()) as { info: string };
      expect(ran.at(-1)).toMatchObject({ width: made[0], height: made[1] });
      const said = JSON.parse(info) as { width: number; height: number };
      expect([said.width, said.height]).toEqual(made);
    }
});

test("hr_resize: one side keeps the proportions, both are covered, none leaves hr_scale", async () => {
  const { send, ran } = await testServer();
  const hiresOf = async (more: object) => {
    const hires = { enable_hr: true, hr_scale: 2, denoising_strength: 0.5, width: 96, height: 64 };
    const answer = await send("POST", "/sdapi/v1/txt2img", { ...body, ...hires, ...more });
    expect(answer.status).toBe(200);
    const { scale, width, height } = (ran.at(-1) as unknown as { hires: Record<string, number> }).hires;
    return { scale, width, height };
  };
  expect(await hiresOf({})).toEqual({ scale: 2 });
  expect(await hiresOf({ hr_resize_x: 200 })).toEqual({ width: 200 });
  expect(await hiresOf({ hr_resize_y: 130 })).toEqual({ height: 128 });
  expect(await hiresOf({ hr_resize_x: 128, hr_resize_y: 129 })).toEqual({ width: 128, height: 128 });
});

test("a second pass that would have to cover far more than it is cut to is refused", async () => {
  const { send, ran } = await testServer();
  const hires = { enable_hr: true, denoising_strength: 0.5, hr_resize_x: 64, hr_resize_y: 2048 };
  const answer = await send("POST", "/sdapi/v1/txt2img", { ...body, width: 2048, height: 64, ...hires });
  expect([answer.status, ran]).toEqual([400, []]);
});
