import { cp, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodePng, encodePng } from "../../index.js";
import { goldenPath } from "../../testing/golden.js";
import { grey, type TestServer, testServer } from "../fixture.js";
import type { Job } from "../queue/queue.js";
import type { WorkHooks } from "./running.js";
import { libraryWork } from "./work.js";

let server: TestServer;
beforeAll(async () => {
  server = await testServer();
});
afterAll(async () => {
  await server.parts.models.dispose();
});

const { signal } = new AbortController();
/** Of a job that nobody ends. */
const hooks = {
  signal,
  finish: signal,
  skippable: () => ({ skip: signal, finish: signal }),
  progress: () => {},
  finished: () => {},
};

test("a job whose record was changed is refused before a model, a path or the hub is touched", async () => {
  const { parts } = server;
  const { models, images } = parts;
  models.generate = () => expect.fail("the library was called");
  const start = await images.put(encodePng(grey(64, 64)));
  const wide = await images.put(encodePng(grey(4096, 64)));
  const work = libraryWork({ ...parts, version: "0.0.0" });
  const run = (request: object) =>
    work(
      { request: { kind: "generate", model: models.current.label, count: 1, prompt: "", ...request } } as Job,
      hooks,
    );
  for (const [request, code] of [
    [{ ipAdapter: { model: "somebody/else", image: start } }, "BAD_OPTION"],
    [{ ipAdapter: [{ model: "somebody/else", image: start }] }, "IP_ADAPTER_NOT_FOUND"],
    [{ hires: { upscaler: "/etc/passwd" } }, "UNSUPPORTED"],
    [{ hires: { upscaler: "somebody/else" } }, "UNSUPPORTED"],
    [{ model: "somebody/else" }, "MODEL_NOT_FOUND"],
    [{ vae: "../../else" }, "VAE_NOT_FOUND"],
    [{ controlnet: [{ model: "/etc", image: start }] }, "CONTROL_NOT_FOUND"],
    [{ image: "../../../etc/passwd" }, "NOT_FOUND"],
    [{ image: "0".repeat(64) }, "IMAGE_GONE"],
    [{ width: 8192, height: 8192 }, "TOO_LARGE"],
    [{ seedSize: { width: 16_384, height: 16_384 } }, "TOO_LARGE"],
    [{ image: wide, hires: { scale: 8 } }, "BAD_OPTION"],
    [{ image: wide, expand: { left: 4096, top: 4096 } }, "TOO_LARGE"],
    [{ count: 10_000 }, "TOO_LARGE"],
    [{ prompt: "x".repeat(100_000) }, "TOO_LARGE"],
    [{ kind: "upscale" }, "BAD_OPTION"],
  ] as const)
    await expect(run(request), JSON.stringify(request).slice(0, 100)).rejects.toMatchObject({ code });
});

test("what is only enlarged is bounded, too", async () => {
  const { parts } = server;
  const image = await parts.images.put(encodePng(grey(8, 8)));
  const work = libraryWork({ ...parts, version: "0.0.0" });
  const request = { kind: "upscale", image, width: 20_000, height: 20_000, upscaler: "Lanczos" } as const;
  await expect(work({ request } as Job, hooks)).rejects.toMatchObject({ code: "TOO_LARGE" });
});

test("previews are made by the small decoder that is called as the model is", {
  timeout: 300_000,
}, async () => {
  const taesdDir = await mkdtemp(join(tmpdir(), "taesd-"));
  await cp(goldenPath("models/tiny-taesd"), join(taesdDir, "tiny-sd1"), { recursive: true });
  const { parts } = await testServer({ taesdDir });
  try {
    const model = await parts.models.addPath(goldenPath("models/tiny-sd1"));
    const work = libraryWork({ ...parts, version: "0.0.0" });
    const sizes = async (size: { readonly width: number; readonly height: number }) => {
      const previews: string[] = [];
      const progress: WorkHooks["progress"] = ({ preview }) => void (preview && previews.push(preview));
      const request = { kind: "generate", model, count: 1, prompt: "a dog", steps: 2, ...size };
      await work({ request } as Job, { ...hooks, progress });
      return new Set(
        previews.map((preview) => {
          const { width, height } = decodePng(Buffer.from(preview, "base64")).image;
          return `${width}x${height}`;
        }),
      );
    };
    expect(await sizes({ width: 64, height: 32 })).toEqual(new Set(["64x32"]));
  } finally {
    await parts.models.dispose();
  }
});
