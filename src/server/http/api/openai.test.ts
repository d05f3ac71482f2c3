import { expect, test, vi } from "vitest";
import { encodePng, formatParameters, readImage } from "../../../index.js";
import { grey, plainWork, type TestServer, testServer, untilAborted } from "../../fixture.js";
import type { JobImage } from "../../queue/queue.js";

interface Answer {
  created: number;
  data: { b64_json?: string; url?: string; seed?: string; notes?: string[] }[];
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
  expect(data[0]!.url).toMatch(/^http:\/\/127\.0\.0\.1:7860\/v1\/images\/links\/[0-9a-f]{64}\.png\?/);
  const { pathname, search } = new URL(data[0]!.url!);
  const picture = await send("GET", pathname + search);
  expect([picture.status, picture.headers.get("content-type")]).toEqual([200, "image/png"]);
  const webp = await post({ response_format: "url", output_format: "webp", output_compression: 40 });
  const address = new URL(webp.data[0]!.url!);
  const small = await send("GET", address.pathname + address.search);
  expect(
    Buffer.from(await small.arrayBuffer())
      .subarray(8, 12)
      .toString(),
  ).toBe("WEBP");
});

test("dall-e answers with addresses, gpt-image with the pictures, where nothing is said", async () => {
  const { send } = await testServer();
  for (const [model, said, kind] of [
    ["dall-e-2", {}, "url"],
    ["dall-e-3", {}, "url"],
    ["gpt-image-1", {}, "b64_json"],
    ["gpt-image-1-mini", {}, "b64_json"],
    ["dall-e-3", { response_format: "b64_json" }, "b64_json"],
    ["gpt-image-1", { response_format: "url" }, "url"],
  ] as const) {
    const answer = await send("POST", "/v1/images/generations", { ...body, model, ...said });
    const { data } = (await answer.json()) as Answer;
    expect([model, Object.keys(data[0]!)]).toEqual([model, expect.arrayContaining([kind])]);
    expect(Object.keys(data[0]!)).not.toContain(kind === "url" ? "b64_json" : "url");
  }
});

test("an address needs no login, is good for an hour, and cannot be made of another", async () => {
  const { send } = await testServer({ secret: "me:secret-enough" });
  const authorization = { authorization: "Bearer secret-enough" };
  const request = { ...body, model: "dall-e-3" };
  const answer = await send("POST", "/v1/images/generations", request, authorization);
  const { pathname, search } = new URL(((await answer.json()) as Answer).data[0]!.url!);
  const get = async (path: string) => (await send("GET", path)).status;
  expect(await get(pathname + search)).toBe(200);
  expect(await get(pathname)).toBe(404);
  expect(await get(pathname.replace("png", "jpeg") + search)).toBe(404);
  expect(await get(pathname + search.replace(/until=(\d+)/, "until=$10"))).toBe(404);
  expect(await get("/images/x.png")).toBe(401);
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3601_000 });
  expect(await get(pathname + search)).toBe(404);
  vi.useRealTimers();
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
    // Of the preview itself.
    size: "2x2",
    b64_json: expect.stringMatching(/^iVBOR/),
  });
  expect(events[1]!.data).toMatchObject({
    type: "image_generation.completed",
    size: "64x64",
    b64_json: expect.stringMatching(/^iVBOR/),
  });
});

/** The events of a stream. */
const eventsOf = (text: string) =>
  [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data!) as Record<string, unknown>);

/** Grey pictures of which the library has told something. */
async function toldServer(notes: string[]) {
  const server: TestServer = await testServer({
    work: (job, hooks) => {
      const finished = (image: JobImage) => hooks.finished({ ...image, notes });
      return plainWork(server.parts.images)(job, { ...hooks, finished });
    },
  });
  return server;
}

test("what the library tells of a picture stands beside it, in answers and in streams", async () => {
  const told = ["the mask of 32x32 was resized to 64x64"];
  const { send } = await toldServer(told);
  const post = async (changes: object) => send("POST", "/v1/images/generations", { ...body, ...changes });
  const { data } = (await (await post({ n: 2 })).json()) as Answer;
  expect(data.map(({ notes }) => notes)).toEqual([told, told]);
  const linked = (await (await post({ response_format: "url" })).json()) as Answer;
  expect(linked.data[0]).toMatchObject({ url: expect.any(String), notes: told });
  const [completed] = eventsOf(await (await post({ stream: true })).text());
  expect(completed).toMatchObject({ type: "image_generation.completed", notes: told });
  const silent = await toldServer([]);
  const none = await (await silent.send("POST", "/v1/images/generations", body)).text();
  expect(none).not.toContain("notes");
});

test("an interrupted job gives the picture as it was by then, and says so", async () => {
  const server: TestServer = await testServer({
    work: async ({ request: { width, height } }, hooks) => {
      // Two are wanted: one is finished, and the other one is on its way.
      const parameters = formatParameters({ prompt: "grey", steps: 20, sampler: "Euler", seed: 7 });
      const key = await server.parts.images.put(encodePng(grey(width!, height!), { parameters }));
      const image = { key, width: width!, height: height!, seed: "7" };
      hooks.finished({ ...image, parameters });
      void server.send("POST", "/sdapi/v1/interrupt");
      await untilAborted(hooks.finish).catch(() => {});
      hooks.finished({ ...image, parameters: `${parameters}, Interrupted: true` });
      return { width: width!, height: height!, ms: { encode: 0, denoise: 0, decode: 0 } };
    },
  });
  const note = "the job was interrupted: the picture is as far as it was by then";
  const asked = { ...body, n: 2 };
  const stream = await server.send("POST", "/v1/images/generations", { ...asked, stream: true });
  const [first, second, ...more] = eventsOf(await stream.text());
  expect(first).toMatchObject({ type: "image_generation.completed", b64_json: expect.any(String) });
  expect(first).not.toHaveProperty("notes");
  expect(second).toMatchObject({ type: "image_generation.completed", size: "64x64", notes: [note] });
  expect(more).toEqual([]);
  const answer = await server.send("POST", "/v1/images/generations", asked);
  expect(answer.status).toBe(200);
  const { data } = (await answer.json()) as Answer;
  expect(data.map(({ notes }) => notes)).toEqual([undefined, [note]]);
});

test("an interrupted job without any picture is an error", async () => {
  const server: TestServer = await testServer({
    work: async (_job, hooks) => {
      void server.send("POST", "/sdapi/v1/interrupt");
      return untilAborted(hooks.finish);
    },
  });
  const stream = await server.send("POST", "/v1/images/generations", { ...body, stream: true });
  expect(eventsOf(await stream.text())).toMatchObject([
    { type: "error", error: { message: "the job was cancelled" } },
  ]);
  // Not 500, after which clients ask again.
  expect((await server.send("POST", "/v1/images/generations", body)).status).toBe(400);
});

test("partial pictures have the format that is asked for", async () => {
  const { send } = await testServer();
  const asked = { ...body, stream: true, partial_images: 2, output_format: "jpeg" };
  const text = await (await send("POST", "/v1/images/generations", asked)).text();
  const told = [...text.matchAll(/"partial_image_index":(\d)/g)].map(([, index]) => index);
  expect(told).toEqual(["0", "1"]);
  const pictures = [...text.matchAll(/"b64_json":"(.{8})/g)].map(([, start]) => start);
  expect(pictures).toHaveLength(3);
  for (const start of pictures) expect(start).toMatch(/^\/9j\//);
});

test("a field that there is not is refused in OpenAI's words; those that decide nothing are taken", async () => {
  const { send, ran } = await testServer();
  const usual = { user: "somebody", style: "vivid", moderation: "low", background: "opaque" };
  const taken = (await (
    await send("POST", "/v1/images/generations", { ...body, ...usual })
  ).json()) as Answer;
  expect(taken.data[0]!.notes).toEqual(["style has no effect here: it is for models of OpenAI's"]);
  const answer = await send("POST", "/v1/images/generations", { ...body, guidence: 3 });
  expect([answer.status, await answer.json()]).toEqual([
    400,
    {
      error: {
        message: "Unknown parameter: 'guidence'.; did you mean guidance?",
        type: "invalid_request_error",
        param: "guidence",
        code: "unknown_parameter",
      },
    },
  ]);
  const image = encodePng(grey(64, 64));
  const edit = await send(
    "POST",
    "/v1/images/edits",
    form({ prompt: "a cat", image, input_fidelity: "high" }),
  );
  expect(((await edit.json()) as Answer).data[0]!.notes).toEqual([
    "input_fidelity has no effect here: it is for models of OpenAI's",
  ]);
  const other = await send("POST", "/v1/images/edits", form({ prompt: "a cat", image, images: image }));
  expect(await other.json()).toMatchObject({ error: { param: "images" } });
  expect(ran).toHaveLength(2);
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

test("edits: a mask that repaints nothing, several pictures and a transparent background are refused", async () => {
  const { send, ran } = await testServer();
  const image = encodePng(grey(64, 64));
  const refusalOf = async (fields: FormData) => {
    const answer = await send("POST", "/v1/images/edits", fields);
    return [answer.status, ((await answer.json()) as { error: object }).error];
  };
  for (const mask of [grey(64, 64, 255), grey(64, 64, 0), grey(64, 64, 255, 4)])
    expect(await refusalOf(form({ prompt: "x", image, mask: encodePng(mask) }))).toMatchObject([
      400,
      {
        param: "mask",
        message: expect.stringContaining("no transparent pixels"),
        type: "invalid_request_error",
      },
    ]);
  const several = form({ prompt: "x", image });
  several.append("image[]", new File([Uint8Array.from(image)], "y.png", { type: "image/png" }));
  expect(await refusalOf(several)).toMatchObject([400, { param: "image" }]);
  expect(await refusalOf(form({ prompt: "x", image, background: "transparent" }))).toMatchObject([
    400,
    { param: "background" },
  ]);
  expect(ran).toEqual([]);
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
  // Requests may say so, too: they mean what is loaded here.
  expect(await get("/v1/models/dall-e-3")).toMatchObject([200, { id: "dall-e-3", object: "model" }]);
  expect(await get("/v1/models/nobody")).toMatchObject([404, { error: { code: "model_not_found" } }]);
  expect(await get("/v1/chat/completions")).toMatchObject([
    404,
    { error: { type: "invalid_request_error", message: "there is no GET /v1/chat/completions here" } },
  ]);
});
