import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, request } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { host, testServer, untilAborted } from "../fixture.js";
import type { WorkHooks } from "../jobs/running.js";
import type { JobProgress } from "../queue/queue.js";

/** A server whose job does what the test says, and answers to polls. */
async function polledServer(secret?: string) {
  let begun: (hooks: WorkHooks) => void = () => {};
  const hooks = new Promise<WorkHooks>((resolve) => {
    begun = resolve;
  });
  const server = await testServer({
    ...(secret && { secret }),
    work: (_job, hooks) => {
      begun(hooks);
      return untilAborted(hooks.signal);
    },
  });
  const auth = { ...(secret && { authorization: `Bearer ${secret.replace(/^.*:/, "")}` }) };
  const get = (path: string, tag?: string | null) =>
    server.send("GET", path, undefined, { ...auth, ...(tag && { "if-none-match": tag }) });
  const submit = async () => {
    const answer = await server.send("POST", "/jobs", { prompt: "a dog" }, auth);
    return ((await answer.json()) as { id: string }).id;
  };
  return { ...server, auth, hooks, get, submit };
}
const at = (step: number, preview = `preview${step}`): JobProgress => ({
  phase: "denoise",
  image: 0,
  images: 1,
  step,
  steps: 4,
  share: step / 4,
  etaMs: 1500,
  preview,
});

test("the answer to polls of the web UI's API changes with progress, and only then", async () => {
  const { get, submit, hooks, parts } = await polledServer();
  const path = "/sdapi/v1/progress";
  const idle = await get(path);
  expect(await idle.json()).toMatchObject({ progress: 0, current_image: null, state: { job: "" } });
  const id = await submit();
  const { progress } = await hooks;
  progress(at(1));
  const first = await get(path);
  expect(await first.json()).toEqual({
    progress: 0.26,
    eta_relative: 1.5,
    state: {
      skipped: false,
      interrupted: false,
      stopping_generation: false,
      job: id,
      job_count: 1,
      job_timestamp: expect.stringMatching(/^\d{14}$/),
      job_no: 0,
      sampling_step: 1,
      sampling_steps: 4,
    },
    current_image: "preview1",
    textinfo: null,
  });
  const bare = await get(`${path}?skip_current_image=true`);
  expect(await bare.json()).toMatchObject({ progress: 0.26, current_image: null });
  const tag = first.headers.get("etag");
  expect((await get(path)).headers.get("etag")).toBe(tag);
  expect(new Set([idle, first, bare].map(({ headers }) => headers.get("etag"))).size).toBe(3);

  progress(at(2));
  const second = await get(path, tag);
  expect(second.status).toBe(200);
  expect(await second.json()).toMatchObject({ progress: 0.51, current_image: "preview2" });
  await parts.jobs.queue.cancel(id);
  await parts.jobs.ended(id);
  const after = await get(path, second.headers.get("etag"));
  expect(await after.json()).toMatchObject({ progress: 0, current_image: null });
});

test("304 for what a client has already, with the headers of every answer", async () => {
  const { get, submit, hooks } = await polledServer();
  const id = await submit();
  (await hooks).progress(at(1));
  for (const path of ["/sdapi/v1/progress", `/jobs/${id}`]) {
    const { headers } = await get(path);
    const tag = headers.get("etag")!;
    for (const known of [tag, `W/${tag}`, `"other", ${tag}`, "*"]) {
      const answer = await get(path, known);
      expect([answer.status, await answer.text(), answer.headers.get("etag")]).toEqual([304, "", tag]);
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    }
    expect((await get(path, '"other"')).status).toBe(200);
    expect(headers.get("content-type")).toBe("application/json");
    expect(headers.get("cache-control")).toBe("no-store");
    expect(headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(headers.has("x-process-time")).toBe(path.startsWith("/sdapi"));
  }
});

test("a job's own address tells progress, and a waiting one's place in the queue", async () => {
  const { get, submit, hooks, parts } = await polledServer();
  const [running, second, third] = [await submit(), await submit(), await submit()];
  const { progress } = await hooks;
  for (const step of [1, 2]) {
    progress(at(step));
    const job = await (await get(`/jobs/${running}`)).json();
    expect(job).toMatchObject({ id: running, status: "running", progress: at(step) });
  }
  const before = await get(`/jobs/${third}`);
  expect(await before.json()).toMatchObject({ status: "queued", position: 2 });
  await parts.jobs.queue.cancel(second);
  const after = await get(`/jobs/${third}`, before.headers.get("etag"));
  expect(await after.json()).toMatchObject({ status: "queued", position: 1 });
  const listed = (await (await get("/jobs")).json()) as { jobs: { id: string }[] };
  expect(listed.jobs.find(({ id }) => id === running)).toEqual(await (await get(`/jobs/${running}`)).json());
});

/** Sends requests through a socket. */
async function throughSocket(listener: RequestListener) {
  const server = createServer(listener).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return async (path: string, headers: Record<string, string> = {}, method = "GET") => {
    const sent = request({ port, path, method, headers: { host, ...headers } }).end();
    const [answer] = (await once(sent, "response")) as [IncomingMessage];
    return { status: answer.statusCode, headers: answer.headers, text: await text(answer) };
  };
}

test("the same through a socket, to a client that must say who it is", async () => {
  const { listener, auth, submit, hooks, get } = await polledServer("me:long-enough");
  const id = await submit();
  (await hooks).progress(at(3, "é".repeat(1000)));
  const ask = await throughSocket(listener);
  const basic = { authorization: `Basic ${Buffer.from("me:long-enough").toString("base64")}` };
  for (const path of ["/sdapi/v1/progress", "/sdapi/v1/progress?skip_current_image=true", `/jobs/${id}`]) {
    expect((await ask(path)).status).toBe(401);
    expect((await ask(path, { authorization: "Bearer something-else" })).status).toBe(401);
    expect((await ask(path, { ...auth, host: "evil.example" })).status).toBe(403);
    expect((await ask(path, { ...auth, "sec-fetch-site": "cross-site" }, "DELETE")).status).toBe(403);
    const plain = await get(path);
    for (const known of [auth as Record<string, string>, basic]) {
      const answer = await ask(path, known);
      expect([answer.status, answer.text]).toEqual([200, await plain.clone().text()]);
      const again = await ask(path, { ...known, "if-none-match": answer.headers.etag! });
      expect([again.status, again.text]).toEqual([304, ""]);
      // Word for word what the handler says, but for the time.
      const { date, connection, "keep-alive": _, "x-process-time": time, ...rest } = answer.headers;
      const { "x-process-time": handlerTime, ...handlers } = Object.fromEntries(plain.headers);
      const length = String(Buffer.byteLength(answer.text));
      expect(rest).toEqual({ ...handlers, "content-length": length });
      expect(time === undefined).toBe(handlerTime === undefined);
    }
  }
  for (const path of ["/jobs/unknown", "/sdapi/v1/progressive"])
    expect((await ask(path, auth as Record<string, string>)).status).toBe(404);
});

test("polls through a socket are counted with all other requests", async () => {
  const { listener, submit } = await polledServer();
  const ask = await throughSocket(listener);
  const id = await submit();
  const { headers } = await ask(`/jobs/${id}`);
  await ask(`/jobs/${id}`, { "if-none-match": headers.etag! });
  await ask("/sdapi/v1/progress");
  await ask("/health");
  const counted = (await ask("/metrics")).text.split("\n").filter((line) => line.includes("requests_total{"));
  expect(counted.map((line) => line.replace(/^.*\{/, "{"))).toEqual([
    '{method="GET",route="/jobs/:id",status="200"} 1',
    '{method="GET",route="/jobs/:id",status="304"} 1',
    '{method="GET",route="/sdapi/v1/progress",status="200"} 1',
    '{method="GET",route="/health",status="200"} 1',
  ]);
});

test("the web UI's own call sends a preview once to a client that says which one it has", async () => {
  const server = await testServer({
    work: (_job, hooks) => {
      hooks.progress(at(2));
      return untilAborted(hooks.finish);
    },
  });
  const waiting = server.send("POST", "/sdapi/v1/txt2img", { prompt: "a dog", force_task_id: "task(1)" });
  const ask = async (body: object) => (await server.send("POST", "/internal/progress", body)).json();
  await expect.poll(() => ask({ id_task: "task(1)" })).toMatchObject({ active: true, progress: 0.5 });
  expect(await ask({ id_task: "task(1)" })).toMatchObject({
    live_preview: "data:image/png;base64,preview2",
    id_live_preview: 2,
  });
  expect(await ask({ id_task: "task(1)", id_live_preview: 2 })).toMatchObject({
    live_preview: null,
    id_live_preview: 2,
  });
  expect(await ask({ id_task: "task(2)" })).toMatchObject({
    active: false,
    completed: false,
    progress: null,
  });
  await server.send("POST", "/sdapi/v1/interrupt");
  await waiting;
});

test("a stream of events says each state once", async () => {
  const { get, submit, hooks, parts } = await polledServer();
  const [id, other] = [await submit(), await submit()];
  const { progress } = await hooks;
  const stream = (await get(`/jobs/${id}/events`)).text();
  await expect.poll(() => parts.jobs.queue.position(id)).toBe(0);
  progress(at(1));
  await parts.jobs.queue.cancel(other);
  progress(at(2));
  await parts.jobs.queue.cancel(id);
  const events = (await stream).split("\n\n").filter(Boolean);
  expect(new Set(events).size).toBe(events.length);
  for (const event of events) expect(event).toMatch(/^event: job\nid: \S+\ndata: \{.*\}$/);
  expect(events.at(-1)).toContain('"status":"cancelled"');
});
