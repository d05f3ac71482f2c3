import { afterEach, describe, expect, it } from "vitest";
import type { ProgressEvent } from "../events.js";
import type { LoadOptions } from "../options/load.js";
import { goldenPath } from "../testing/golden.js";
import { childrenOf } from "../testing/processes.js";
import { generate } from "./generate.js";
import { keepModels, unload } from "./shared-models.js";

const model = goldenPath("models/tiny-sd1");
const small = { model, prompt: "a fox", width: 16, height: 16, steps: 1, seed: 1, runtime: "eager" } as const;
const another = (hangMs: number): typeof small & LoadOptions => ({ ...small, hangMs });

afterEach(async () => {
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
