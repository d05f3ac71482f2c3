import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import type { Values } from "../latents/latents.js";
import type { Fields } from "../models/fields.js";
import type { Network } from "../models/network.js";
import { buildNetwork } from "../models/registry.js";
import { eagerRunner } from "../runtime/eager.js";
import { graphRunner } from "../runtime/graph.js";
import { loadNative } from "../runtime/native.js";
import type { NetworksOptions } from "../runtime/networks/network-runner.js";
import { probe } from "../runtime/probe.js";
import type { Engine } from "../runtime/process/engine.js";
import type { RunnerUse } from "../runtime/process/remote-runner.js";
import type { Input, Runner, RunnerRequest, RuntimeName } from "../runtime/runner.js";
import { openReference } from "../runtime/weights.js";

/** Options and an engine for `createNetworks` that run the networks here: no other process, no messages. */
export function inProcess(runtime: RuntimeName) {
  const cacheRoot = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
  const runners = new Map<string, Runner>();
  afterAll(() => {
    for (const runner of runners.values()) runner.dispose();
    rmSync(cacheRoot, { recursive: true, force: true });
  });
  const run = (request: RunnerRequest, inputs: Fields<Input>): Fields<Values> => {
    const key = JSON.stringify(request);
    const runner = runners.get(key) ?? makeRunner(request, cacheRoot);
    runners.set(key, runner);
    return runner.run(inputs);
  };
  const engine = {
    runner: (request: RunnerRequest) => ({
      load: async () => undefined,
      run: async (inputs: Fields<Input>, { adapters }: RunnerUse = {}) =>
        run({ ...request, weights: { ...request.weights, ...(adapters && { adapters }) } }, inputs),
      unload: async () => undefined,
    }),
  } as unknown as Engine;
  const options: NetworksOptions = { runtime, precision: "fp32", cacheRoot };
  return { engine, options };
}

function makeRunner({ spec, weights, runtime, precision }: RunnerRequest, cacheRoot: string): Runner {
  const native = loadNative();
  const network: Network = buildNetwork(spec);
  const checkpoint = openReference(native, weights);
  if (runtime === "eager") return eagerRunner(native.tf, network, checkpoint, precision);
  const capabilities = probe(native);
  const runner = graphRunner(native, network, checkpoint, {
    precision,
    cacheRoot,
    label: "test",
    capabilities,
  });
  checkpoint.close();
  return runner;
}
