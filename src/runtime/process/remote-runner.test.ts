import { expect, test } from "vitest";
import type { RunnerRequest } from "../runner.js";
import type { Computing } from "./computing.js";
import type { CallName } from "./messages.js";
import { remoteRunner } from "./remote-runner.js";

const request = { weights: {} } as unknown as RunnerRequest;
const inputs = {} as Parameters<ReturnType<typeof remoteRunner>["run"]>[0];
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A network whose process is made up: what is sent to it, and when it answers. */
function networkOf(
  answer: (name: CallName) => Promise<unknown>,
  child: () => Computing | undefined = () => ({}) as Computing,
) {
  const sent: CallName[] = [];
  const call = async (name: CallName) => {
    sent.push(name);
    return answer(name);
  };
  const one = child();
  const network = remoteRunner(request, "unet 1", {
    call: call as Parameters<typeof remoteRunner>[2]["call"],
    child: () => (child() === undefined ? undefined : one),
  });
  return { network, sent };
}

test("what is unloaded while it is being loaded does not stay", async () => {
  let loaded = () => {};
  const { network, sent } = networkOf((name) =>
    name === "load" ? new Promise<void>((resolve) => (loaded = resolve)) : Promise.resolve(),
  );
  const run = network.run(inputs);
  await turn();
  const gone = network.unload();
  await turn();
  loaded();
  await Promise.all([run, gone]);
  expect(sent).toEqual(["load", "run", "unload"]);
});

test("a process that ends between the load and the run is asked to load again", async () => {
  let alive = true;
  let ends = 1;
  const { network, sent } = networkOf(
    async (name) => {
      alive = name !== "load" || ends-- <= 0;
    },
    () => (alive ? ({} as Computing) : undefined),
  );
  await network.run(inputs);
  expect(sent).toEqual(["load", "load", "run"]);
});
