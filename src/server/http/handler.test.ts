import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { schedulerEntries } from "../../index.js";
import { testServer } from "../fixture.js";
import { routes } from "./openapi.js";

test("the OpenAPI document describes every route, and no other", async () => {
  const { app, send } = await testServer();
  const served = app.routes
    .filter(({ method, path }) => method !== "ALL" && !path.endsWith("*"))
    .map(({ method, path }) => `${method} ${path}`)
    .filter(
      (route) =>
        !["GET /", "GET /index.html", "GET /page.js", "GET /styles-csv.js", "GET /page.css"].includes(route),
    );
  expect(Object.keys(routes).sort()).toEqual([...new Set(served)].sort());
  const document = (await (await send("GET", "/openapi.json")).json()) as {
    openapi: string;
    paths: Record<string, Record<string, { requestBody?: { content: Record<string, { schema: object }> } }>>;
  };
  expect(document.openapi).toBe("3.1.0");
  const { schema } = document.paths["/sdapi/v1/txt2img"]!.post!.requestBody!.content["application/json"]!;
  expect(schema).toMatchObject({ properties: { steps: expect.any(Object), hr_prompt: expect.any(Object) } });
  expect(document.paths["/jobs/{id}"]).toHaveProperty("delete");
});

test("health and metrics", async () => {
  const { send } = await testServer();
  expect(await (await send("GET", "/health")).json()).toEqual({ status: "ok", model: "idle" });
  await send("POST", "/sdapi/v1/txt2img", { width: 64, height: 64, batch_size: 2 });
  await send("GET", "/jobs/nobody");
  const answer = await send("GET", "/metrics");
  expect(answer.headers.get("content-type")).toContain("version=0.0.4");
  const text = await answer.text();
  expect(text).toContain('tfjs_diffusion_jobs_ended_total{status="completed"} 1\n');
  expect(text).toContain("tfjs_diffusion_pictures_total 2\n");
  expect(text).toContain(
    'tfjs_diffusion_requests_total{method="POST",route="/sdapi/v1/txt2img",status="200"} 1\n',
  );
  expect(text).toContain('tfjs_diffusion_requests_total{method="GET",route="/jobs/:id",status="404"} 1\n');
  for (const line of text.trim().split("\n"))
    expect(line).toMatch(/^(# HELP \w+ .+|# TYPE \w+ (counter|gauge|histogram)|\w+(\{[^}]*\})? [\d.e+-]+)$/);
});

test("numbers that other APIs let through are refused before they are accepted", async () => {
  const { send, parts } = await testServer();
  for (const changes of [{ width: -0.5 }, { batch_size: -1 }, { steps: 1.5 }, { cfg_scale: -1 }]) {
    const answer = await send("POST", "/sdapi/v1/txt2img", { width: 64, height: 64, ...changes });
    expect([changes, answer.status]).toEqual([changes, 400]);
  }
  expect(await parts.jobs.queue.list()).toEqual([]);
});

test("the page is served by name, with its types; one that was not built says so", async () => {
  const { send, folder } = await testServer();
  const missing = await send("GET", "/");
  expect([missing.status, await missing.json()]).toEqual([
    503,
    { error: { code: "PAGE", message: expect.any(String), hint: "npm run build" } },
  ]);
  for (const [name, type] of [
    ["index.html", "text/html"],
    ["page.js", "text/javascript"],
    ["page.css", "text/css"],
  ] as const) {
    await writeFile(join(folder, name), name);
    const answer = await send("GET", `/${name}`);
    expect([await answer.text(), answer.headers.get("content-type")]).toEqual([
      name,
      expect.stringContaining(type),
    ]);
  }
  expect(await (await send("GET", "/")).text()).toBe("index.html");
});

test("models, schedulers and tokens", async () => {
  const { send } = await testServer();
  const get = async (path: string) => (await send("GET", path)).json();
  expect(await get("/models")).toMatchObject({
    models: [
      { name: "emoji-diffusion-256", kind: "text", size: 256, current: true, state: { status: "idle" } },
      { name: "emoji-diffusion-256-inpaint", kind: "inpainting", current: false },
      { name: "butterflies-64", kind: "unconditional", factor: 1 },
    ],
    precisions: [{ id: "fp32", available: true }, { id: "fp16", available: true }, { id: "bf16" }],
  });
  const { schedulers } = (await get("/schedulers")) as { schedulers: object[] };
  expect(schedulers).toHaveLength(schedulerEntries.length);
  expect(await get("/upscalers")).toEqual({
    upscalers: expect.arrayContaining(["Lanczos"]),
    networks: ["emoji-x4-compact"],
  });
  const tokens = await send("POST", "/tokens", { text: "a dog with glasses" });
  expect(await tokens.json()).toEqual({ tokens: 4, room: 75 });
  expect((await send("POST", "/tokens", { text: "x", model: "butterflies-64" })).status).toBe(400);
  const chosen = await send("POST", "/models/current", { model: "butterflies-64" });
  expect(await chosen.json()).toMatchObject({ current: true });
  expect((await send("DELETE", "/models/butterflies-64%20CPU%20FP32")).status).toBe(409);
  expect((await send("DELETE", "/models/nobody")).status).toBe(404);
});

test("preparing a model that is not there ends in words, and hides the token", async () => {
  const { send } = await testServer({ paths: true });
  const started = await send("POST", "/models/prepare", {
    model: "/nowhere/hf_secret",
    precision: "fp16",
    token: "hf_secret",
  });
  expect(started.status).toBe(202);
  const { id } = (await started.json()) as { id: string };
  let state = { status: "running", log: [] as string[] };
  while (state.status === "running") {
    await new Promise((resolve) => setTimeout(resolve, 5));
    state = (await (await send("GET", `/models/prepare/${id}`)).json()) as typeof state;
  }
  expect(state.status).toBe("failed");
  expect(state.log.length).toBeGreaterThan(1);
  expect(JSON.stringify(state.log)).not.toContain("hf_secret");
  expect((await send("GET", "/models/prepare/nobody")).status).toBe(404);
  expect((await send("POST", "/models/prepare", { model: "x", precision: "int8" })).status).toBe(400);
});

test("every API says what was expected and what came, in the same words", async () => {
  const { send } = await testServer();
  const told = async (path: string, body: object): Promise<unknown> =>
    (await send("POST", path, body)).json();
  const error = { code: "BAD_OPTION", message: "strength: expected at most 1, got 1.2" };
  expect(await told("/jobs", { prompt: "", strength: 1.2 })).toEqual({ error });
  expect(await told("/jobs", { prompt: "", stpes: 3 })).toEqual({
    error: { code: "BAD_OPTION", message: 'body: there is no "stpes" here', hint: "did you mean steps?" },
  });
  expect(await told("/sdapi/v1/txt2img", { steps: "many" })).toMatchObject({
    detail: [{ loc: ["body", "steps"], msg: 'expected a number, got "many"', type: "invalid_union" }],
  });
  expect(await told("/sdapi/v1/txt2img", { override_settings: { randn_source: "TPU" } })).toMatchObject({
    detail: 'override_settings.randn_source: expected one of "GPU", "CPU", "NV", got "TPU"',
  });
  expect(await told("/v1/images/generations", { prompt: "", n: 11 })).toMatchObject({
    error: { param: "n", message: "n: expected at most 10, got 11" },
  });
});
