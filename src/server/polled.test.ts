import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { expect, onTestFinished, test } from "vitest";
import { host, testServer, untilAborted } from "./fixture.js";
import type { WorkHooks } from "./jobs.js";
import type { JobProgress } from "./queue/queue.js";

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

test("the same through a socket, to a client that must say who it is", async () => {
  const { app, auth, submit, hooks } = await polledServer("me:long-enough");
  const id = await submit();
  (await hooks).progress(at(3, "é".repeat(1000)));
  const answerer = getRequestListener(app.fetch);
  const server = createServer((request, response) => {
    request.headers.host = host;
    request.rawHeaders[request.rawHeaders.findIndex((name) => /^host$/i.test(name)) + 1] = host;
    return answerer(request, response);
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  for (const path of ["/sdapi/v1/progress", `/jobs/${id}`]) {
    expect((await fetch(url + path)).status).toBe(401);
    const answer = await fetch(url + path, { headers: auth });
    expect(await answer.text()).toContain("é".repeat(1000));
    const again = await fetch(url + path, {
      headers: { ...auth, "if-none-match": answer.headers.get("etag")! },
    });
    expect([again.status, await again.text()]).toEqual([304, ""]);
  }
});
