import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { ProgressEvent } from "../events.js";
import type { LoadOptions } from "../options/load.js";
import { goldenPath } from "../testing/golden.js";
import { childrenOf } from "../testing/processes.js";
import { generate } from "./generate.js";
import { keepModels, unload } from "./shared-models.js";
import { StableDiffusion } from "./stable-diffusion.js";

const model = goldenPath("models/tiny-sd1");
const small = { model, prompt: "a fox", width: 16, height: 16, steps: 1, seed: 1, runtime: "eager" } as const;
const another = (hangMs: number): typeof small & LoadOptions => ({ ...small, hangMs });

const own: StableDiffusion[] = [];
async function loadTiny(): Promise<StableDiffusion> {
  const loaded = await StableDiffusion.load(model, { runtime: "eager" });
  own.push(loaded);
  return loaded;
}

afterEach(async () => {
  for (const loaded of own.splice(0)) await loaded.dispose();
  keepModels(2);
  await unload();
});

describe("a model that calls share", () => {
  it("is loaded for all of them: one that aborts harms no other, whether it came first or last", async () => {
    const [first, last] = [new AbortController(), new AbortController()];
    const calls = [
      generate({ ...small, signal: first.signal }),
      generate(small),
      generate({ ...small, signal: last.signal }),
    ];
    const began = childrenOf(process.pid).length;
    first.abort(new Error("first"));
    last.abort(new Error("last"));
    await expect(calls[0]).rejects.toThrow("first");
    await expect(calls[2]).rejects.toThrow("last");
    expect((await calls[1]!).images).toHaveLength(1);
    expect(childrenOf(process.pid).length).toBeLessThanOrEqual(began + 1);
  });

  it("is not loaded to its end when nobody waits for it, and can be loaded anew", async () => {
    const stop = new AbortController();
    const call = generate({ ...small, signal: stop.signal });
    stop.abort(new Error("enough"));
    await expect(call).rejects.toThrow("enough");
    await expect.poll(() => childrenOf(process.pid)).toEqual([]);
    expect((await generate(small)).images).toHaveLength(1);
  });

  it("tells each caller that waits how loading goes", async () => {
    const events: string[][] = [[], []];
    const hear = (i: number) => (event: ProgressEvent) => events[i]!.push(event.type);
    await Promise.all([0, 1].map((i) => generate({ ...small, onProgress: hear(i) })));
    for (const heard of events) expect(heard[0]).toBe("load");
  });
});

describe("two servers in one program", () => {
  /** Draws with what is asked of it; a client that goes ends its own picture. */
  async function serve(draw: (signal: AbortSignal) => Promise<{ readonly images: readonly unknown[] }>) {
    let begun = () => {};
    const asked = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const server = createServer(async (_, response) => {
      const gone = new AbortController();
      response.on("close", () => gone.abort(new Error("gone")));
      begun();
      const answer = await draw(gone.signal).then(
        ({ images }) => `${images.length} picture`,
        (error: Error) => error.message,
      );
      ended.push(answer);
      response.end(answer);
    });
    const ended: string[] = [];
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    return { url: `http://127.0.0.1:${port}/`, ended, asked, close: () => server.close() };
  }

  const options = { prompt: "a fox", width: 16, height: 16, steps: 2, seed: 1 };
  it.each([
    ["share what generate() keeps", async () => () => generate],
    [
      "have a model each",
      async () => {
        const each = [await loadTiny(), await loadTiny()];
        return (i: number) => (given: { signal: AbortSignal }) =>
          each[i]!.generate({ ...options, signal: given.signal });
      },
    ],
  ])(
    "that %s: a client that goes harms no other",
    async (_, drawers) => {
      const drawerOf = await drawers();
      const servers: Awaited<ReturnType<typeof serve>>[] = [];
      for (const i of [0, 1])
        servers.push(await serve((signal) => drawerOf(i)({ ...small, ...options, signal })));
      try {
        const leaving = new AbortController();
        const left = fetch(servers[0]!.url, { signal: leaving.signal });
        const others = servers.map(async ({ url }) => (await fetch(url)).text());
        await Promise.all(servers.map(({ asked }) => asked));
        leaving.abort(new Error("enough"));
        await expect(left).rejects.toThrow("enough");
        expect(await Promise.all(others)).toEqual(["1 picture", "1 picture"]);
        await expect.poll(() => servers[0]!.ended, { timeout: 60_000 }).toContain("gone");
      } finally {
        for (const { close } of servers) close();
      }
    },
    240_000,
  );
});

describe("models that stay loaded", () => {
  it("are two, the ones used last, unless more are asked for; unload() frees all", async () => {
    await generate(another(1e6));
    await generate(another(2e6));
    await generate(another(1e6));
    const [one, two] = childrenOf(process.pid);
    await generate(another(3e6));
    await expect.poll(() => childrenOf(process.pid)).toHaveLength(2);
    expect(childrenOf(process.pid)).toContain(one);
    expect(childrenOf(process.pid)).not.toContain(two);
    await unload();
    expect(childrenOf(process.pid)).toEqual([]);
  });

  it("end with the scope that says how many there are", async () => {
    {
      await using models = keepModels(1);
      expect(models).toBeDefined();
      await generate(another(1e6));
      await generate(another(2e6));
      await expect.poll(() => childrenOf(process.pid)).toHaveLength(1);
    }
    expect(childrenOf(process.pid)).toEqual([]);
    expect(() => keepModels(-1)).toThrow("models to keep must be a whole number of at least 0, got -1");
  });

  it("keeps none with 0", async () => {
    keepModels(0);
    expect((await generate(small)).images).toHaveLength(1);
    await expect.poll(() => childrenOf(process.pid)).toEqual([]);
  });
});
