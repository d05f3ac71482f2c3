import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { encodePng } from "../index.js";
import { buildProcesses, serviceProcesses, startProcess } from "../testing/processes.js";
import { freePort, hasRedis, startRedis } from "../testing/redis-server.js";
import { s3Credentials, startS3 } from "../testing/s3-server.js";

/** Starting and stopping as an operator does it: processes, signals, exit codes. */
vi.setConfig({ testTimeout: 120_000 });

let built: Awaited<ReturnType<typeof buildProcesses>>;
beforeAll(async () => {
  built = await buildProcesses(serviceProcesses);
}, 120_000);
afterAll(() => built?.remove());

const hasNpx = ((): boolean => {
  try {
    execFileSync("npx", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

const cli = () => join(built.folder, "cli.js");
const folder = () => mkdtempSync(join(tmpdir(), "starting-"));

/** A command to its end. */
async function runToEnd(args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [cli(), ...args], { env: { ...process.env, ...env } });
  onTestFinished(() => void child.kill("SIGKILL"));
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, output };
}

async function serveOn(data: string, ...args: string[]) {
  const port = await freePort();
  const all = ["serve", "--json", "--data", data, "--port", String(port), ...args];
  // Set to nothing, as compose files do with what is not given.
  const env = { TFJS_DIFFUSION_QUEUE: "", TFJS_DIFFUSION_IMAGES: "" };
  const server = await startProcess(cli(), all, env, '"url"');
  onTestFinished(() => server.kill());
  return { server, url: `http://127.0.0.1:${port}` };
}

describe("one server to a data folder", () => {
  test("a second one is refused with the first one's process and address; a killed one's place is taken", async () => {
    const data = folder();
    const { server, url } = await serveOn(data);
    const second = await runToEnd(["serve", "--data", data, "--port", String(await freePort())]);
    expect(second.code).toBe(1);
    expect(second.output).toContain(`process ${server.pid}, ${url}`);
    expect(second.output.trim().split("\n")).toHaveLength(2); // the error and its hint
    expect((await fetch(`${url}/health`)).status).toBe(200);
    await server.kill();
    const third = await serveOn(data);
    expect((await fetch(`${third.url}/health`)).status).toBe(200);
  });

  test("servers on one queue share it, and none loses what the other sets", async () => {
    const { openSettings } = await import("./storage/settings.js");
    const path = join(folder(), "settings.json");
    const [one, two] = [await openSettings(path), await openSettings(path)];
    await Promise.all([one.set({ model: "a" }), two.set({ clipSkip: 3 }), one.set({ rng: "philox" })]);
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ model: "a", clipSkip: 3, rng: "philox" });
  });

  test("a damaged journal does not stop a start: it is set aside, named, and the rest served", async () => {
    const data = folder();
    const job = (id: string) => ({
      ...{ id, lane: "upscale", status: "completed", attempt: 1, created: 1, attended: false, via: "native" },
      request: { kind: "upscale", image: "0".repeat(64), width: 8, height: 8, upscaler: "Lanczos" },
    });
    const lines = [{ job: job("good") }, { job: { ...job("bad"), request: { kind: "evil" } } }];
    writeFileSync(
      join(data, "journal.jsonl"),
      `${lines.map((line) => JSON.stringify(line)).join("\n")}\nnot JSON\n{"to`,
    );
    const { server, url } = await serveOn(data);
    expect(await (await fetch(`${url}/jobs`)).json()).toMatchObject({ jobs: [{ id: "good" }] });
    const [aside] = readdirSync(data).filter((name) => name.includes("damaged"));
    expect(server.output()).toContain(`2 lines could not be understood; it is kept as ${join(data, aside!)}`);
    expect(readFileSync(join(data, aside!), "utf8")).toContain("not JSON");
  });
});

describe("--log json", () => {
  test("is one object a line, with start and end of each job, and no secret", async () => {
    const data = folder();
    const port = await freePort();
    const args = ["serve", "--json", "--log", "json", "--data", data, "--port", String(port)];
    const secrets = { TFJS_DIFFUSION_AUTH: "me:swordfish-9", AWS_SECRET_ACCESS_KEY: "hidden-key" };
    const server = await startProcess(cli(), args, secrets, '"url"');
    onTestFinished(() => server.kill());
    const headers = { Authorization: "Bearer swordfish-9", "Content-Type": "application/json" };
    const pixel = encodePng({ width: 1, height: 1, data: new Uint8Array(3) });
    const image = Buffer.from(pixel).toString("base64");
    const body = JSON.stringify({ kind: "upscale", image });
    const url = `http://127.0.0.1:${port}`;
    const answer = await fetch(`${url}/jobs`, { method: "POST", headers, body });
    const { id } = (await answer.json()) as { id: string };
    await (await fetch(`${url}/jobs/${id}/events`, { headers })).text();
    const ofJob = () =>
      server
        .output()
        .split("\n")
        .filter((line) => line.includes('"job":'))
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    await expect.poll(ofJob).toMatchObject([
      { process: "server", pid: server.pid, job: id, lane: "upscale", attempt: 1, status: "started" },
      { job: id, status: "completed", durationMs: expect.any(Number), time: expect.any(String) },
    ]);
    expect(server.output()).not.toMatch(/swordfish|hidden-key/);
  });
});

describe.skipIf(!hasRedis)("a start that fails", () => {
  // How long it takes is the machine's: what hangs does not end, and its test with it.
  test("ends with code 1, one line that says what, and nothing left in Redis", async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.kill());
    const s3 = await startS3(["pictures"]);
    onTestFinished(() => s3.close());
    const taken = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void taken.close());
    await once(taken, "listening");
    const { port } = taken.address() as { port: number };
    const { port: webPort } = new URL(s3.url);
    const keys = { AWS_ACCESS_KEY_ID: s3Credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: "wrong" };
    const s3Env = { ...keys, AWS_ENDPOINT_URL: s3.url };
    const nobody = await freePort();
    const queue = ["--queue", redis.url];
    const worker = ["worker", ...queue, "--data", folder()];
    const serve = ["serve", "--data", folder(), "--port"];
    const free = String(await freePort());
    const cases: readonly (readonly [readonly string[], Record<string, string>, string])[] = [
      [
        [...worker, "--images", "s3://pictures"],
        { ...s3Env, AWS_ENDPOINT_URL: `http://127.0.0.1:${nobody}` },
        "ECONNREFUSED",
      ],
      [[...worker, "--images", "s3://pictures"], s3Env, "SignatureDoesNotMatch"],
      [
        [...worker, "--images", "s3://pictures"],
        { AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" },
        "AWS_ACCESS_KEY_ID",
      ],
      [[...worker, "--model", "nonsense"], {}, "no model nonsense"],
      [["worker", "--queue", "127.0.0.1:6394", "--data", folder()], {}, "address of the queue"],
      [["worker", "--queue", `redis://127.0.0.1:${nobody}`, "--data", folder()], {}, "ECONNREFUSED"],
      // Something that listens and is no Redis.
      [["worker", "--queue", `redis://127.0.0.1:${port}`, "--data", folder()], {}, "no answer"],
      [
        ["worker", "--queue", `redis://127.0.0.1:${webPort}`, "--data", folder()],
        {},
        "(another language|EPIPE|ECONNRESET)",
      ],
      [[...serve, String(port), ...queue], {}, "EADDRINUSE"],
      [[...serve, free, ...queue, "--images", "s3://pictures"], s3Env, "SignatureDoesNotMatch"],
      [[...serve, free, "--model", "nonsense"], {}, "no model nonsense"],
      // What would be found at the first model, and leave a service that can make nothing.
      [[...serve, free, "--threads", "0"], {}, "threads must be a whole number above 0, got 0"],
      [[...worker, "--memory", "0"], {}, "memoryLimit must be above 0, got 0"],
      [[...worker, "--config", "/nowhere"], {}, "there is no folder /nowhere"],
      [[...serve, "70000"], {}, "there is no port 70000"],
      [[...serve, free, "--quota", "0"], {}, "--quota 0"],
      [[...serve, free, "--queue", "localhost"], {}, "address of the queue"],
      [[...serve, free, ...queue, "--quota", "3"], {}, "--quota"],
    ];
    const { Redis } = await import("ioredis");
    const client = new Redis(redis.url);
    onTestFinished(() => client.disconnect());
    for (const [args, env, words] of cases) {
      let end = await runToEnd(args, env);
      // What answers on a quiet machine may not come to it in time on another one: that is no end of this start.
      while (words !== "no answer" && end.output.includes("no answer in")) end = await runToEnd(args, env);
      const { code, output } = end;
      expect([args.join(" "), code, output]).toEqual([
        args.join(" "),
        1,
        expect.stringMatching(new RegExp(`^error: .*${words}`)),
      ]);
      expect(output).not.toMatch(/internal|mistake in tfjs-diffusion/);
      expect(output.trim().split("\n").length).toBeLessThanOrEqual(2);
      expect(await client.keys("*")).toEqual([]);
    }
  }, 600_000);
});

describe.skipIf(!hasRedis)("SIGTERM", () => {
  test("ends servers and workers within the grace period while Redis is away", async () => {
    const redis = await startRedis();
    const data = folder();
    const { server, url } = await serveOn(data, "--queue", redis.url, "--grace", "6");
    const own = { QUEUE: redis.url, DATA: data, STEP_MS: "600000", GRACE_MS: "6000" };
    const busy = await startProcess(join(built.folder, "worker.js"), [], own, "ready");
    onTestFinished(() => busy.kill());
    const idle = await startProcess(
      cli(),
      ["worker", "--queue", redis.url, "--data", data, "--grace", "6"],
      {},
      "waiting for jobs",
    );
    onTestFinished(() => idle.kill());
    const waiting = fetch(`${url}/sdapi/v1/txt2img`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt: "a dog", width: 64, height: 64, steps: 1 }),
    }).catch(() => undefined);
    type Listed = { readonly jobs: readonly { readonly status: string }[] };
    const running = async () => ((await (await fetch(`${url}/jobs`)).json()) as Listed).jobs;
    await expect.poll(running, { timeout: 60_000 }).toMatchObject([{ status: "running" }]);
    await redis.kill();
    // What waits for Redis, or for the ten minutes that the job's step takes, would not end before the test does.
    await Promise.all([server, busy, idle].map((process) => process.kill("SIGTERM")));
    await waiting;
  }, 180_000);

  test("ends a start that waits for something", async () => {
    // Listens, and never answers.
    const silent = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void silent.close());
    await once(silent, "listening");
    const { port } = silent.address() as { port: number };
    const args = ["worker", "--queue", `redis://127.0.0.1:${port}`, "--data", folder()];
    const child = spawn(process.execPath, [cli(), ...args], { stdio: "ignore" });
    onTestFinished(() => void child.kill("SIGKILL"));
    await once(silent, "connection");
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  test.skipIf(!hasNpx)("by way of npx: SIGTERM for npx ends the server that it has started", async () => {
    const project = folder();
    const installed = join(project, "node_modules", "tfjs-diffusion");
    mkdirSync(installed, { recursive: true });
    const manifest = { name: "tfjs-diffusion", version: "1.0.0", type: "module", bin: "main.js" };
    writeFileSync(join(installed, "package.json"), JSON.stringify(manifest));
    const program = `#!/usr/bin/env node\nimport ${JSON.stringify(cli())};\n`;
    writeFileSync(join(installed, "main.js"), program, { mode: 0o755 });
    const bin = join(project, "node_modules", ".bin");
    mkdirSync(bin);
    symlinkSync(join(installed, "main.js"), join(bin, "tfjs-diffusion"));
    writeFileSync(join(project, "package.json"), JSON.stringify({ name: "project", version: "1.0.0" }));
    const serve = ["serve", "--json", "--port", "0", "--data", join(project, "data")];
    const npx = spawn("npx", ["--no-install", "tfjs-diffusion", ...serve], {
      cwd: project,
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void npx.kill("SIGKILL"));
    const [line] = (await once(npx.stdout, "data")) as [Buffer];
    const { url } = JSON.parse(line.toString()) as { url: string };
    const answers = () =>
      fetch(`${url}/health`).then(
        () => true,
        () => false,
      );
    expect(await answers()).toBe(true);
    npx.kill("SIGTERM");
    await expect.poll(answers, { timeout: 100_000 }).toBe(false);
  });

  test("by way of npx: when the shell that npm puts in between ends, so does the server", async () => {
    const data = folder();
    const port = await freePort();
    const command = `"${process.execPath}" "${cli()}" serve --json --data "${data}" --port ${port}; true`;
    const shell = spawn("sh", ["-c", command], {
      env: { ...process.env, npm_command: "exec" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void shell.kill("SIGKILL"));
    await once(shell.stdout, "data");
    expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
    shell.kill("SIGTERM");
    await expect
      .poll(
        () =>
          fetch(`http://127.0.0.1:${port}/health`).then(
            () => "up",
            () => "down",
          ),
        { timeout: 100_000 },
      )
      .toBe("down");
  });

  test.skipIf(!hasNamespaces())("as process 1 of a container", async () => {
    const data = folder();
    const port = await freePort();
    const args = [process.execPath, cli(), "serve", "--json", "--data", data, "--port", String(port)];
    // `unshare` waits for its child and does not pass signals on: the child is asked directly, as a runtime does.
    const outer = spawn("unshare", ["--pid", "--fork", ...args], { stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(() => void outer.kill("SIGKILL"));
    await once(outer.stdout, "data");
    const inner = Number(
      readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, "utf8").trim().split(" ")[0],
    );
    expect(readFileSync(`/proc/${inner}/status`, "utf8")).toMatch(/^NSpid:\t\d+\t1$/m);
    process.kill(inner, "SIGTERM");
    expect(await once(outer, "exit")).toEqual([0, null]);
  });
});

/** Whether this user may make a process that is number 1 of its own namespace. */
function hasNamespaces(): boolean {
  try {
    execFileSync("unshare", ["--pid", "--fork", "true"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
