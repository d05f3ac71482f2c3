import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { goldenPath } from "../../testing/golden.js";
import { startHub, type TestHub } from "../../testing/hub-server.js";
import { testServer } from "../fixture.js";

vi.setConfig({ testTimeout: 180_000 });

let hub: TestHub;
let cache: string;

/** The files of a tiny model, configs as text and weights as bytes. */
async function modelFiles(): Promise<Record<string, string | Buffer>> {
  const folder = goldenPath("models/tiny-sd1");
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const read = files.map(async (path) => {
    const bytes = await readFile(path);
    return [path.slice(folder.length + 1), path.endsWith(".safetensors") ? bytes : bytes.toString()] as const;
  });
  return Object.fromEntries(await Promise.all(read));
}

beforeEach(async () => {
  hub = await startHub({ "owner/gated": { files: await modelFiles(), gated: true } });
  cache = await mkdtemp(join(tmpdir(), "gated-"));
  for (const [name, value] of Object.entries({
    HF_ENDPOINT: hub.url,
    HF_HUB_CACHE: join(cache, "hub"),
    TFJS_DIFFUSION_CACHE: join(cache, "converted"),
    HF_TOKEN: "",
    HF_TOKEN_PATH: join(cache, "none"),
    HF_HUB_OFFLINE: "",
  }))
    vi.stubEnv(name, value);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
});

test("a gated model: what to do stands in the log; a good token works once, and is written nowhere", async () => {
  const server = await testServer();
  const prepare = async (token?: string) => {
    const body = { model: "owner/gated", precision: "fp32", ...(token && { token }) };
    const answer = await server.send("POST", "/models/prepare", body);
    expect(answer.status).toBe(202);
    const { id } = (await answer.json()) as { id: string };
    let state = { status: "running", log: [] as string[] };
    while (state.status === "running") {
      await new Promise((resolve) => setTimeout(resolve, 50));
      state = (await (await server.send("GET", `/models/prepare/${id}`)).json()) as typeof state;
    }
    return [state.status, state.log.join("\n")] as const;
  };
  const [without, asked] = await prepare();
  expect(without).toBe("failed");
  expect(asked).toMatch(/owner\/gated is gated: its authors ask you to accept their conditions first/);
  const [bad, refused] = await prepare("hf_bad");
  expect(bad).toBe("failed");
  expect(refused).toMatch(/gated repository \(.*accept its conditions/);
  const [good, log] = await prepare("hf_good");
  expect([good, log]).toEqual(["done", expect.stringContaining('"gated CPU FP32" is on the list')]);
  expect(hub.seen.some(({ headers }) => headers.authorization === "Bearer hf_good")).toBe(true);
  // From now on nothing is asked of the hub, so that the token is not needed again.
  const before = hub.seen.length;
  await server.parts.models.warm("gated CPU FP32");
  const made = await server.send("POST", "/sdapi/v1/txt2img", {
    override_settings: { sd_model_checkpoint: "gated CPU FP32" },
  });
  expect([made.status, hub.seen.length]).toEqual([200, before]);
  await server.parts.models.dispose();
  const told = [asked, refused, log, ...server.log, await files(server.folder)].join("\n");
  expect(told).not.toMatch(/hf_good|hf_bad/);
});

/** Journal and settings. */
async function files(folder: string): Promise<string> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const texts = names.filter((entry) => entry.isFile() && !entry.name.endsWith(".png"));
  expect(texts.map(({ name }) => name)).toEqual(expect.arrayContaining(["journal.jsonl", "settings.json"]));
  return (await Promise.all(texts.map((e) => readFile(join(e.parentPath, e.name), "utf8")))).join("\n");
}
