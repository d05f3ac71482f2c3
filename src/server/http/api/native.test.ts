import { expect, test } from "vitest";
import { decodePng, encodePng } from "../../../index.js";
import { base64Png, grey, plainWork, testServer, untilAborted } from "../../fixture.js";
import { splitJob } from "../../queue/shards.js";
import type { StoredGenerate } from "../../requests/request.js";
import type { JobView } from "../answers.js";

const body = { prompt: "a dog", width: 64, height: 64 };
const read = async (answer: Response) => (await answer.json()) as JobView;

test("a job is accepted, runs, and its pictures can be fetched", async () => {
  const { send, parts } = await testServer();
  const answer = await send("POST", "/jobs", { ...body, count: 2, seed: "18446744073709551615" });
  expect(answer.status).toBe(202);
  const { id } = await read(answer);
  expect(answer.headers.get("location")).toBe(`/jobs/${id}`);
  await parts.jobs.ended(id);
  const job = await read(await send("GET", `/jobs/${id}`));
  expect(job).toMatchObject({
    status: "completed",
    model: "emoji-diffusion-256 CPU FP32",
    request: { ...body, seed: "18446744073709551615" },
  });
  expect(job.result?.images).toHaveLength(2);
  for (const { url } of job.result!.images) {
    const picture = await send("GET", url);
    expect(picture.status).toBe(200);
    expect(picture.headers.get("cache-control")).toContain("immutable");
    expect([...new Uint8Array(await picture.arrayBuffer())].slice(1, 4)).toEqual([0x50, 0x4e, 0x47]);
  }
});

test("a key makes repeating harmless, and another request under it is a mistake", async () => {
  const { send, ran, parts } = await testServer();
  const headers = { "idempotency-key": "order 66" };
  const first = await send("POST", "/jobs", body, headers);
  const again = await send("POST", "/jobs", body, headers);
  expect([first.status, again.status]).toEqual([202, 200]);
  const { id } = await read(first);
  expect((await read(again)).id).toBe(id);
  expect((await send("POST", "/jobs", { ...body, prompt: "a cat" }, headers)).status).toBe(422);
  expect((await send("POST", "/jobs", body, { "idempotency-key": "" })).status).toBe(400);
  await parts.jobs.ended(id);
  expect(ran).toHaveLength(1);
});

test("steps that a scheduler cannot take are refused before a job waits", async () => {
  const { send, parts } = await testServer();
  const post = async (more: object) => (await send("POST", "/jobs", { ...body, ...more })).status;
  expect(await post({ scheduler: "lcm", steps: 51 })).toBe(400);
  expect(
    await post({ scheduler: "ddim", grid: { x: { option: "scheduler", values: ["lcm"] } }, steps: 51 }),
  ).toBe(400);
  expect(await parts.jobs.queue.list()).toEqual([]);
  expect(await post({ scheduler: "lcm", steps: 50 })).toBe(202);
});

test("of several requests under one key at the same moment one wins; the order of fields is no difference", async () => {
  const { send, ran } = await testServer();
  const post = (body: object) => send("POST", "/jobs", body, { "idempotency-key": "k" });
  const { prompt, ...size } = body;
  const bodies = [body, { ...body, seed: 1 }, { ...size, prompt }, { ...body, seed: 2 }];
  const answers = await Promise.all(bodies.map(post));
  expect(answers.map(({ status }) => (status === 422 ? "refused" : "taken"))).toEqual([
    "taken",
    "refused",
    "taken",
    "refused",
  ]);
  const [one, , same] = await Promise.all(answers.map(read));
  expect(same!.id).toBe(one!.id);
  await send("GET", `/jobs/${one!.id}/events`).then((answer) => answer.text());
  expect(ran).toHaveLength(1);
});

test("events tell every state until the end, and how the queue moves", async () => {
  const gate: (() => void)[] = [];
  const server = await testServer({
    work: async (job, hooks) => {
      await new Promise<void>((resolve) => gate.push(resolve));
      return plainWork(server.parts.images)(job, hooks);
    },
  });
  const { send } = server;
  const first = await read(await send("POST", "/jobs", body));
  const second = await read(await send("POST", "/jobs", body));
  const stream = await send("GET", `/jobs/${second.id}/events`);
  expect(stream.headers.get("content-type")).toContain("text/event-stream");
  const text = stream.text();
  const open = async () => {
    while (gate.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    gate.shift()!();
  };
  await open();
  await server.parts.jobs.ended(first.id);
  await open();
  const states = (await text)
    .split("\n")
    .filter((line) => line.startsWith("data: "))
    .map((line) => JSON.parse(line.slice(6)) as JobView);
  expect(states[0]).toMatchObject({ status: "queued", position: 1 });
  expect(states.at(-1)).toMatchObject({ status: "completed" });
  expect(states.some(({ progress }) => progress?.preview)).toBe(true);
});

test("each picture is seen as it is finished, while the next one is made", async () => {
  let goOn = () => {};
  const held = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const server = await testServer({
    work: async (job, hooks) => {
      const first = await plainWork(server.parts.images)(
        { ...job, request: { ...job.request, count: 1 } as StoredGenerate },
        hooks,
      );
      await held;
      await plainWork(server.parts.images)(job, hooks);
      return first;
    },
  });
  const { send, parts } = server;
  const { id } = await read(await send("POST", "/jobs", { ...body, count: 2 }));
  const state = async () => read(await send("GET", `/jobs/${id}`));
  await expect.poll(async () => (await state()).progress?.finished?.length).toBe(1);
  const { status, progress, result } = await state();
  expect([status, result]).toEqual(["running", undefined]);
  const [first] = progress!.finished!;
  expect(first).toMatchObject({ seed: "7", width: 64, height: 64, url: `/images/${first!.key}.png` });
  expect((await send("GET", first!.url)).status).toBe(200);
  goOn();
  await parts.jobs.ended(id);
  expect((await state()).result?.images[0]).toEqual(first);
});

test("a job that waits can go first", async () => {
  let goOn = () => {};
  const held = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const server = await testServer({
    work: async (job, hooks) => {
      await held;
      return plainWork(server.parts.images)(job, hooks);
    },
  });
  const { send, ran, parts } = server;
  const ids: string[] = [];
  for (const prompt of ["one", "two", "three"])
    ids.push((await read(await send("POST", "/jobs", { ...body, prompt }))).id);
  const places = () =>
    Promise.all(ids.map(async (id) => (await read(await send("GET", `/jobs/${id}`))).position));
  await expect.poll(places).toEqual([undefined, 1, 2]);
  expect((await send("POST", `/jobs/${ids[2]}/first`)).status).toBe(204);
  expect(await places()).toEqual([undefined, 2, 1]);
  expect((await send("POST", `/jobs/${ids[0]}/first`)).status).toBe(409);
  expect((await send("POST", "/jobs/none/first")).status).toBe(404);
  goOn();
  await parts.jobs.ended(ids[1]!);
  expect(ran.map((request) => request.kind === "generate" && request.prompt)).toEqual([
    "one",
    "three",
    "two",
  ]);
});

test("a job that has ended sends its state once", async () => {
  const { send, parts } = await testServer();
  const { id } = await read(await send("POST", "/jobs", body));
  await parts.jobs.ended(id);
  const text = await (await send("GET", `/jobs/${id}/events`)).text();
  expect(text.match(/^event: job$/gm)).toHaveLength(1);
  // Who has seen the end is told so, and does not come back.
  const [, seen = ""] = /^id: (\S+)$/m.exec(text) ?? [];
  const again = (known: string) => send("GET", `/jobs/${id}/events`, undefined, { "last-event-id": known });
  expect([(await again(seen)).status, (await again("another")).status]).toEqual([204, 200]);
});

test("DELETE cancels, and only what has ended leaves the history, with its pictures", async () => {
  const server = await testServer({
    work: (job, hooks) =>
      job.request.kind === "generate" && job.request.prompt === "endless"
        ? untilAborted(hooks.signal)
        : plainWork(server.parts.images)(job, hooks),
  });
  const { send, parts } = server;
  const { id } = await read(await send("POST", "/jobs", { ...body, prompt: "endless" }));
  while ((await parts.jobs.queue.get(id))?.status !== "running") await new Promise((r) => setTimeout(r, 1));
  expect((await send("DELETE", `/history/${id}`)).status).toBe(409);
  expect((await send("DELETE", `/jobs/${id}`)).status).toBe(200);
  expect((await parts.jobs.ended(id)).status).toBe("cancelled");
  // Two jobs share a picture: it goes with the second.
  const image = base64Png(grey(64, 64, 3));
  const twins = [];
  for (let i = 0; i < 2; i++) twins.push((await read(await send("POST", "/jobs", { ...body, image }))).id);
  for (const twin of twins) await parts.jobs.ended(twin);
  const job = await read(await send("GET", `/jobs/${twins[0]}`));
  const { url } = (job.request as { image: { url: string } }).image;
  expect((await send("DELETE", `/history/${twins[0]}`)).status).toBe(204);
  expect((await send("GET", url)).status).toBe(200);
  expect((await send("DELETE", `/history/${twins[1]}`)).status).toBe(204);
  expect((await send("GET", url)).status).toBe(404);
  expect((await send("GET", `/jobs/${twins[1]}`)).status).toBe(404);
});

test("the history is read page by page", async () => {
  const { send, parts } = await testServer();
  const ids: string[] = [];
  for (let i = 0; i < 3; i++) ids.push((await read(await send("POST", "/jobs", body))).id);
  await Promise.all(ids.map((id) => parts.jobs.ended(id)));
  const list = async (query: string) =>
    ((await (await send("GET", `/jobs?${query}`)).json()) as { jobs: JobView[] }).jobs.map(({ id }) => id);
  expect(await list("limit=2")).toEqual([ids[2], ids[1]]);
  expect(await list(`limit=2&before=${ids[1]}`)).toEqual([ids[0]]);
  expect(await list("status=running,queued")).toEqual([]);
  expect((await send("GET", "/jobs?limit=0")).status).toBe(400);
  expect((await send("GET", "/jobs?status=odd")).status).toBe(400);
});

test("a full queue answers 429 and when to come again", async () => {
  const { send } = await testServer({ work: () => new Promise(() => {}), limits: { queued: 1 } });
  const answers = [];
  for (let i = 0; i < 4; i++) answers.push(await send("POST", "/jobs", body));
  expect(answers[0]!.status).toBe(202);
  const last = answers.at(-1)!;
  expect([last.status, last.headers.get("retry-after")]).toEqual([429, "10"]);
});

test("one client cannot take the whole queue: it is answered 429, others are not", async () => {
  const { sendFrom, ran } = await testServer({
    work: (_job, { signal }) => untilAborted(signal),
    limits: { queued: 9, queuedPerClient: 2 },
  });
  const from = (address: string, path = "/jobs", sent: object = body) =>
    sendFrom(address, "POST", path, sent);
  await from("10.0.0.1");
  await expect.poll(() => ran.length).toBe(1);
  const all = await Promise.all([1, 2, 3].map(() => from("10.0.0.1")));
  expect(all.map(({ status }) => status)).toEqual([202, 202, 429]);
  expect(all[2]!.headers.get("retry-after")).toBe("10");
  expect((await from("10.0.0.1", "/sdapi/v1/txt2img")).status).toBe(429);
  expect((await from("10.0.0.1", "/v1/images/generations", { prompt: "a dog" })).status).toBe(429);
  expect((await from("10.0.0.2")).status).toBe(202);
  // One that is cancelled makes room.
  const { id } = (await all[0]!.json()) as { id: string };
  await sendFrom("10.0.0.1", "DELETE", `/jobs/${id}`);
  expect((await from("10.0.0.1")).status).toBe(202);
});

test("wrong requests are told in one sentence", async () => {
  const { send } = await testServer();
  for (const [wrong, word] of [
    [{ ...body, stepz: 3 }, "stepz"],
    [{ ...body, steps: "many" }, "steps"],
    [{ ...body, steps: 0 }, "steps"],
    [{ ...body, seed: -1 }, "seed"],
    [{ ...body, scheduler: "dpmpp_2n" }, "dpmpp_2m"],
    [{ kind: "upscale" }, "image"],
    [[], "body"],
    [null, "body"],
    [{ kind: "upscale", image: base64Png(grey(8, 8)), upscaler: "ESRGAN" }, "Lanczos"],
  ] as const) {
    const answer = await send("POST", "/jobs", wrong);
    expect([wrong, answer.status >= 400 && answer.status < 502]).toEqual([wrong, true]);
    expect(JSON.stringify(await answer.json())).toContain(word);
  }
  for (const path of ["/jobs/nobody", "/jobs/nobody/events"])
    expect((await send("GET", path)).status).toBe(404);
  expect((await send("DELETE", "/jobs/nobody")).status).toBe(404);
  expect((await send("POST", "/jobs/nobody/skip")).status).toBe(404);
});

test("masks and outpainting take the inpainting variant of the default model, unless a model is named", async () => {
  const { send } = await testServer();
  const image = base64Png(grey(64, 64));
  const model = async (changes: object) =>
    (await read(await send("POST", "/jobs", { ...body, ...changes }))).model;
  expect(await model({ image, mask: image })).toContain("inpaint");
  expect(await model({ image, width: undefined, height: undefined, expand: { left: 8 } })).toContain(
    "inpaint",
  );
  expect(await model({ image })).toBe("emoji-diffusion-256 CPU FP32");
  expect(await model({ image, mask: image, model: "emoji-diffusion-256" })).toBe(
    "emoji-diffusion-256 CPU FP32",
  );
});

test("a grid: one picture for each pair of values, row by row, and all in one", async () => {
  const server = await testServer();
  const { send, parts } = server;
  const grid = {
    x: { option: "guidance", values: [2, 5, 9] },
    y: { option: "scheduler", values: ["euler", "ddim"] },
  };
  const { id } = await read(await send("POST", "/jobs", { ...body, grid }));
  const stored = (await parts.jobs.queue.get(id))!;
  const cells = splitJob(stored).map(({ request }) => request as StoredGenerate);
  expect(cells.map(({ scheduler, guidance }) => `${scheduler} ${guidance}`)).toEqual([
    "euler 2",
    "euler 5",
    "euler 9",
    "ddim 2",
    "ddim 5",
    "ddim 9",
  ]);
  expect(new Set(cells.map(({ seed, count, grid }) => `${seed} ${count} ${grid}`)).size).toBe(1);
  expect(cells[0]!.seed).toBeTypeOf("number");
  await parts.jobs.ended(id);
  // The stub has made one picture: not a grid yet.
  expect((await send("GET", `/jobs/${id}/grid.png`)).status).toBe(409);
});

test("a grid's pictures in one stand where their values say", async () => {
  const server = await testServer({
    work: async (job, hooks) => {
      for (const [i, { request }] of splitJob(job).entries()) {
        const key = await server.parts.images.put(
          encodePng(grey(8, 8, Number((request as StoredGenerate).seed))),
        );
        hooks.finished({ key, width: 8, height: 8, seed: String(i), parameters: "" });
      }
      return { width: 8, height: 8, ms: { encode: 0, denoise: 0, decode: 0 } };
    },
  });
  const { send, parts } = server;
  const grid = { x: { option: "seed", values: [10, "20", 30] }, y: { option: "prompt", values: ["a", "b"] } };
  const { id } = await read(await send("POST", "/jobs", { ...body, grid }));
  await parts.jobs.ended(id);
  const answer = await send("GET", `/jobs/${id}/grid.png`);
  const { image, text } = decodePng(new Uint8Array(await answer.arrayBuffer()));
  expect([image.width, image.height]).toEqual([24, 16]);
  expect([0, 8, 16].map((x) => image.data[(12 * 24 + x) * 3])).toEqual([10, 20, 30]);
  expect(text.parameters).toBe("Columns: seed 10, 20, 30\nRows: prompt a, b");
  const plain = await read(await send("POST", "/jobs", body));
  expect((await send("GET", `/jobs/${plain.id}/grid.png`)).status).toBe(404);
});

test.each([
  [{ x: { option: "width", values: [1] } }, "grid.x.option"],
  [{ x: { option: "steps", values: [] } }, "grid.x.values"],
  [{ x: { option: "steps", values: ["many"] } }, "steps"],
  [{ x: { option: "scheduler", values: ["eulr"] } }, "eulr"],
  [{ x: { option: "seed", values: [1] }, y: { option: "seed", values: [2] } }, "both axes"],
  [{ x: { option: "seed", values: Array.from({ length: 40 }, (_, i) => i) } }, "40 pictures"],
])("a grid that cannot be made is refused as a whole: %j", async (grid, words) => {
  const { send, parts } = await testServer();
  const answer = await send("POST", "/jobs", { ...body, grid });
  expect(answer.status).toBe(400);
  expect(await answer.text()).toContain(words);
  expect(
    (await send("POST", "/jobs", { ...body, count: 2, grid: { x: { option: "seed", values: [1] } } })).status,
  ).toBe(400);
  expect(await parts.jobs.queue.list()).toEqual([]);
});

test("wildcards: the lists that a prompt may draw from stay with the job; unknown ones are refused at once", async () => {
  const wildcards = { colour: ["red", "green"], other: ["x"] };
  const { send, ran, parts } = await testServer({ wildcards });
  const job = await read(
    await send("POST", "/jobs", { ...body, prompt: "a __colour__ {dog|cat}", wildcards: true }),
  );
  expect(job.request).toMatchObject({ prompt: "a __colour__ {dog|cat}", wildcards: true });
  await parts.jobs.ended(job.id);
  expect(ran[0]).toMatchObject({ wildcards: { colour: ["red", "green"] } });
  expect(ran[0]).not.toHaveProperty("wildcards.other");
  const refused = await send("POST", "/jobs", { ...body, prompt: "__color__", wildcards: true });
  expect([refused.status, await refused.text()]).toEqual([
    400,
    expect.stringContaining("there is no wildcard color"),
  ]);
  // As plain text without a word about them.
  const plain = await read(await send("POST", "/jobs", { ...body, prompt: "__color__ {a|b}" }));
  await parts.jobs.ended(plain.id);
  expect(ran[1]).not.toHaveProperty("wildcards");
  expect(await (await send("GET", "/wildcards")).json()).toEqual({ wildcards: ["colour", "other"] });
});
