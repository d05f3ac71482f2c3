import { expect, test } from "vitest";
import type { Engine } from "../process/engine.js";
import { createTurns } from "../process/turns.js";
import { runnerOf } from "./network-runner.js";

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("of calls at the same time, which unload each other's networks, nothing stays loaded unknown to all", async () => {
  /** Networks in the process, each by a number of its own. */
  const loaded = new Set<number>();
  let made = 0;
  const engine = {
    runner() {
      const id = made++;
      return {
        async run() {
          await turn();
          loaded.add(id);
          return {};
        },
        async unload() {
          await turn();
          loaded.delete(id);
        },
      };
    },
  } as unknown as Engine;
  const turns = createTurns();
  const options = { runtime: "graph", precision: "fp32", cacheRoot: "", turns } as const;
  const [unet, vae] = ["unet", "vae"].map((label) =>
    runnerOf({ label, weights: {} } as never, label, engine, options),
  ) as [ReturnType<typeof runnerOf>, ReturnType<typeof runnerOf>];
  const spec = (kind: string) => ({ kind, size: { batch: 1, height: 8, width: 8 } }) as never;
  await vae(spec("vae_decoder"), {} as never);
  // While the first waits for the autoencoder to go, the second takes away what the first has not loaded yet.
  await Promise.all([unet(spec("unet"), {} as never), vae(spec("vae_decoder"), {} as never)]);
  await turns.leave();
  expect([...loaded]).toEqual([]);
});
