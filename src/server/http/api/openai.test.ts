import { expect, test } from "vitest";
import { encodePng, readImage } from "../../../index.js";
import { grey, testServer } from "../../fixture.js";

interface Answer {
  created: number;
  data: { b64_json?: string; url?: string; seed?: string }[];
}
const body = { prompt: "a dog", size: "64x64" };
const bytes = (answer: Answer, i = 0) => Buffer.from(answer.data[i]!.b64_json!, "base64");

function form(fields: Record<string, string | Uint8Array>): FormData {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields))
    data.append(
      name,
      typeof value === "string" ? value : new File([Uint8Array.from(value)], "x.png", { type: "image/png" }),
    );
  return data;
}

test("generations: pictures in base64, and what the client said", async () => {
  const { send, ran, parts } = await testServer();
  const answer = await send("POST", "/v1/images/generations", {
    ...body,
    model: "gpt-image-1",
    n: 2,
    quality: "low",
    user: "somebody",
    seed: 5,
    guidance: 4,
  });
  expect(answer.status).toBe(200);
  const value = (await answer.json()) as Answer;
  expect(value).toMatchObject({
    created: expect.any(Number),
    output_format: "png",
    size: "64x64",
    quality: "low",
  });
  expect(value.data).toHaveLength(2);
  expect(await readImage(bytes(value))).toMatchObject({ width: 64, height: 64 });
  expect(ran[0]).toMatchObject({
    prompt: "a dog",
    width: 64,
    height: 64,
    count: 2,
    steps: parts.models.current.info.usual.steps / 2,
    seed: 5,
    guidance: 4,
  });
});

test("formats: JPEG and WebP, and addresses on this server", async () => {
  const { send } = await testServer();
  const post = async (changes: object) =>
    (await (await send("POST", "/v1/images/generations", { ...body, ...changes })).json()) as Answer;
  const jpeg = bytes(await post({ output_format: "jpeg", output_compression: 50 }));
  expect([...jpeg.subarray(0, 2)]).toEqual([0xff, 0xd8]);
  expect(
    bytes(await post({ output_format: "webp" }))
      .subarray(8, 12)
      .toString(),
  ).toBe("WEBP");
  const { data } = await post({ response_format: "url" });
  expect(data[0]!.url).toMatch(/^http:\/\/127\.0\.0\.1:7860\/images\/[0-9a-f]{64}\.png$/);
  expect((await send("GET", new URL(data[0]!.url!).pathname)).status).toBe(200);
});

test("streaming: partial pictures, then the picture", async () => {
  const { send } = await testServer();
  const answer = await send("POST", "/v1/images/generations", { ...body, stream: true, partial_images: 1 });
  expect(answer.headers.get("content-type")).toContain("text/event-stream");
  const events = (await answer.text())
    .split("\n\n")
    .filter(Boolean)
    .map((block) => {
      const [, event] = /^event: (.*)$/m.exec(block) ?? [];
      return { event, data: JSON.parse(/^data: (.*)$/m.exec(block)![1]!) as Record<string, unknown> };
    });
  expect(events.map(({ event }) => event)).toEqual([
    "image_generation.partial_image",
    "image_generation.completed",
  ]);
  expect(events[0]!.data).toMatchObject({
    type: "image_generation.partial_image",
    partial_image_index: 0,
    b64_json: expect.stringMatching(/^iVBOR/),
  });
  expect(events[1]!.data).toMatchObject({
    type: "image_generation.completed",
    size: "64x64",
    b64_json: expect.stringMatching(/^iVBOR/),
  });
});

test("a stream that fails says so in an event", async () => {
  const { send } = await testServer({
    work: async () => {
      throw new Error("broken");
    },
  });
  const answer = await send("POST", "/v1/images/generations", { ...body, stream: true });
  expect(await answer.text()).toContain('event: error\ndata: {"type":"error","error":{"message":"internal');
});

test("edits: what is transparent is repainted, in the mask or in the picture itself", async () => {
  const { send, ran, parts } = await testServer();
  const image = encodePng(grey(64, 64));
  const holed = grey(64, 64, 255, 4);
  holed.data[3] = 0;
  const maskOf = async (request: unknown) =>
    (await readImage((await parts.images.get((request as { mask: string }).mask))!)).data.subarray(0, 4);
  const masked = await send(
    "POST",
    "/v1/images/edits",
    form({ prompt: "x", image, mask: encodePng(holed), n: "1" }),
  );
  expect(masked.status).toBe(200);
  expect([...(await maskOf(ran[0]))]).toEqual([255, 255, 255, 0]);
  await send("POST", "/v1/images/edits", form({ prompt: "x", "image[]": encodePng(holed) }));
  expect([...(await maskOf(ran[1]))]).toEqual([255, 255, 255, 0]);
  await send("POST", "/v1/images/edits", form({ prompt: "x", image, strength: "0.4" }));
  expect(ran[2]).toMatchObject({ strength: 0.4, image: expect.any(String) });
  expect(ran[2]).not.toHaveProperty("mask");
});

test("variations start from the picture", async () => {
  const { send, ran } = await testServer();
  const answer = await send(
    "POST",
    "/v1/images/variations",
    form({ image: encodePng(grey(64, 64)), n: "3" }),
  );
  expect(((await answer.json()) as Answer).data).toHaveLength(3);
  expect(ran[0]).toMatchObject({ prompt: "", strength: 0.7, count: 3 });
});

test("errors name the parameter", async () => {
  const { send } = await testServer();
  const post = async (request: object) => {
    const answer = await send("POST", "/v1/images/generations", request);
    return {
      status: answer.status,
      ...((await answer.json()) as { error: { param: string; code: string } }).error,
    };
  };
  expect(await post({})).toMatchObject({ status: 400, param: "prompt", type: "invalid_request_error" });
  expect(await post({ ...body, n: 11 })).toMatchObject({ status: 400, param: "n", code: "invalid_value" });
  expect(await post({ ...body, size: "big" })).toMatchObject({ status: 400, param: "size" });
  expect(await post({ ...body, background: "transparent" })).toMatchObject({ status: 400 });
  expect(await post({ ...body, model: "nobody" })).toMatchObject({ status: 404, code: "model_not_found" });
  for (const path of ["edits", "variations"]) {
    const answer = await send("POST", `/v1/images/${path}`, form({ prompt: "x" }));
    expect([path, answer.status]).toEqual([path, 400]);
  }
});

test("a full queue is a rate limit to these clients", async () => {
  const { send } = await testServer({ work: () => new Promise(() => {}), limits: { queued: 0 } });
  const answer = await send("POST", "/v1/images/generations", body);
  expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "10"]);
  expect(await answer.json()).toMatchObject({ error: { type: "rate_limit_error" } });
});

test("models are listed", async () => {
  const { send } = await testServer();
  const { data } = (await (await send("GET", "/v1/models")).json()) as { data: { id: string }[] };
  expect(data.map(({ id }) => id)).toContain("butterflies-64 CPU FP32");
});

test("one model, and what is not there", async () => {
  const { send, parts } = await testServer();
  const { label } = parts.models.current;
  const get = async (path: string) => {
    const answer = await send("GET", path);
    return [answer.status, await answer.json()];
  };
  expect(await get(`/v1/models/${encodeURIComponent(label)}`)).toMatchObject([200, { id: label }]);
  expect(await get("/v1/models/nobody")).toMatchObject([404, { error: { code: "model_not_found" } }]);
  expect(await get("/v1/chat/completions")).toMatchObject([
    404,
    { error: { type: "invalid_request_error", message: "there is no GET /v1/chat/completions here" } },
  ]);
});
