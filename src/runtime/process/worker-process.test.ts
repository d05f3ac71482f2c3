import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { nodeArguments } from "../../disk/package.js";
import { cacheRoot } from "../../weights/cache-root.js";
import { variablesOf, workerError } from "./worker-process.js";

describe("a process that is lost is told in words", () => {
  it.each([
    [
      "nothing but remarks",
      "I0000 00:00:1795384339.57 cpu_feature_guard.cc\n2026-11-22 21:50:21.19: W tensorflow/x\n",
      "",
    ],
    [
      "no memory in C++",
      "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n",
      ": it ran out of memory",
    ],
    [
      "a check with a stack trace",
      "F0000 00:00:1795384339.57 12 threadpool.cc:99] Check failed: ret == 0 (11 vs. 0)Thread tf_ creation failed.\n*** Check failure stack trace: ***\n    @     0x7f2c0a1b2c3d  absl::LogMessageFatal::~LogMessageFatal()\n    @     0x7f2c0a1b0000  (unknown)\n",
      ": a check of TensorFlow's failed: ret == 0 (11 vs. 0)Thread tf_ creation failed.",
    ],
    [
      "V8's heap",
      "<--- Last few GCs --->\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n----- Native stack trace -----\n\n 1: 0xb8ce0d node::Abort() [node]\n 2: 0xaa2b5e  [node]\n",
      ": it ran out of memory",
    ],
    [
      "another exception",
      "terminate called after throwing\n  what():  vector::_M_range_check\n",
      ": vector::_M_range_check",
    ],
    [
      "a line of its own",
      "cannot open libx.so\n 1: 0xb8ce0d node::Abort() [node]\n",
      ": cannot open libx.so",
    ],
  ])("%s", (_, stderr, reason) => {
    const { code, message } = workerError("was killed by SIGABRT", stderr);
    expect({ code, message }).toEqual({
      code: "WORKER",
      message: `the process that computes was killed by SIGABRT${reason}`,
    });
  });
});

it("keeps what XLA compiles where the option cacheDir says", () => {
  const settings = { threads: 2, sideBySide: false };
  expect(cacheRoot(undefined, variablesOf({ ...settings, cacheRoot: "/elsewhere" }))).toBe("/elsewhere");
  expect(variablesOf(settings)).not.toHaveProperty("TFJS_DIFFUSION_CACHE");
});

it("is started from source with tsx by its own place, whatever folder is the current one", () => {
  const [flag, loader] = nodeArguments(fileURLToPath(new URL("./worker.ts", import.meta.url)));
  expect(flag).toBe("--import");
  expect(existsSync(fileURLToPath(loader!))).toBe(true);
  expect(nodeArguments("/package/dist/runtime/worker.js")).toEqual([]);
});
