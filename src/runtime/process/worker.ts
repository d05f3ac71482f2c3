/**
 * The process that computes. TensorFlow's calls block their thread, take its memory and can abort the whole
 * process, so all of it lives here: the caller's event loop stays free, and a crash is an error, not the end.
 */
import { isMainThread, workerData } from "node:worker_threads";
import { DiffusionError, internal } from "../../errors.js";
import { buildNetwork, type NetworkSpec } from "../../models/registry.js";
import type { Checkpoint } from "../../weights/checkpoint.js";
import type { Compilation } from "../compiled-functions.js";
import { useCompiledFunctions } from "../compiled-functions.js";
import { eagerRunner } from "../eager.js";
import { graphRunner } from "../graph.js";
import { loadNative, type Native } from "../native.js";
import { probe, runsBfloat16 } from "../probe.js";
import { requirements } from "../requirements.js";
import type { Runner, RunnerRequest } from "../runner.js";
import { openReference } from "../weights.js";
import { type Conversion, convertShare, convertTogether } from "./conversion.js";
import type { CallName, Calls, Reply, Request, Status } from "./messages.js";
import { outOfMemory } from "./worker-process.js";

const runners = new Map<string, Runner>();

type Progress = (done: number, total: number) => void;
interface Telling {
  readonly progress: Progress;
  readonly onCompile: (compilation: Compilation) => void;
}
type Handlers = { [N in CallName]: (args: Calls[N]["args"], telling: Telling) => Calls[N]["result"] };

const handlers: Handlers = {
  load({ key, request }, { progress }) {
    const before = runners.get(key);
    runners.delete(key);
    runners.set(key, makeRunner(request, progress, before));
    return undefined;
  },
  run({ key, inputs }, { onCompile }) {
    const runner = runners.get(key);
    if (!runner) throw internal(`network ${key} is not loaded`);
    return runner.run(inputs, onCompile);
  },
  unload({ key }) {
    runners.get(key)?.dispose();
    runners.delete(key);
    return undefined;
  },
  tryBfloat16: () => runsBfloat16(loadNative()),
  status(): Status {
    const native = loadNative();
    return {
      tensorflow: native.version,
      capabilities: probe(native),
      tensors: native.tensors(),
      graphs: native.binding.getNumOfSavedModels(),
      residentBytes: process.memoryUsage.rss(),
      peakBytes: process.resourceUsage().maxRSS * 1024,
    };
  },
};

/** @param before the same network with other adapters: it is used again, or disposed of */
function makeRunner(request: RunnerRequest, progress: Progress, before?: Runner): Runner {
  const native = loadNative();
  let old = before;
  try {
    const checkpoint = openReference(native, request.weights);
    const { spec, precision, runtime } = request;
    let isRead = false;
    try {
      if (runtime === "eager") {
        const runner = eagerRunner(native.tf, buildNetwork(spec), checkpoint, precision);
        isRead = true; // until it is disposed of
        return runner;
      }
      const adapted = old?.adapt?.(checkpoint) ? old : undefined;
      if (!adapted) old?.dispose();
      old = undefined;
      return adapted ?? makeGraphRunner(native, checkpoint, request, progress);
    } finally {
      if (!isRead) checkpoint.close();
    }
  } finally {
    old?.dispose();
  }
}

function makeGraphRunner(
  native: Native,
  checkpoint: Checkpoint,
  { spec, weights, precision, cacheRoot, sideBySide = false }: RunnerRequest,
  progress: Progress,
): Runner {
  let [done, total] = [0, 0];
  const onWeight = () => {
    // Vectors are written into the graph; what is converted are the others.
    total ||= [...requirements(spec).weights.values()].filter((shape) => shape.length > 1).length;
    progress(Math.min(++done, total), total);
  };
  const place = "imageProjection" in weights.weights ? undefined : weights.weights;
  const named = { precision, cacheRoot, label: weights.label };
  const isUNet = spec.kind === "unet" || spec.kind === "k_unet" || spec.kind === "unconditional_unet";
  const one = { ...spec, size: { ...spec.size, batch: 1 } } as NetworkSpec;
  return graphRunner(native, buildNetwork(spec), checkpoint, {
    ...(sideBySide && isUNet && spec.size.batch > 1 && { perSample: buildNetwork(one) }),
    ...named,
    capabilities: probe(native, cacheRoot),
    question: [spec, sideBySide],
    onWeight,
    ...(place && {
      convertAhead: (missing) =>
        convertTogether({ ...named, place, weights: missing }, { ...helpers, onWeight }),
    }),
  });
}

/** As many threads as compute convert, all of this program. */
const helpers = {
  threads: Math.max(
    ...["INTRA", "INTER"].map((kind) => Number(process.env[`TF_NUM_${kind}OP_THREADS`] ?? 1)),
  ),
  entry: new URL(import.meta.url),
};

function answer(request: Request): Reply {
  const { id } = request;
  try {
    const telling: Telling = {
      progress: (done, total) => send({ id, progress: { done, total } }),
      onCompile: (compilation) => send({ id, compilation }),
    };
    const handler = handlers[request.name] as (args: unknown, telling: Telling) => unknown;
    return { id, result: handler(request.args, telling) };
  } catch (error) {
    if (error instanceof DiffusionError) {
      const { code, message, hint } = error;
      return { id, error: { code, message, ...(hint !== undefined && { hint }) } };
    }
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    if (outOfMemory.test(message)) {
      const hint = "try a smaller size or precision fp16";
      return { id, error: { code: "WORKER", message: "the process that computes ran out of memory", hint } };
    }
    return { id, error: { code: "INTERNAL", message: `internal: ${message}` } };
  }
}

const send = (reply: Reply): void => {
  process.send?.(reply);
};

/** Waits for what is asked of it. */
function serve(): void {
  useCompiledFunctions();
  // Loaded before it is needed.
  setImmediate(() => {
    try {
      loadNative();
    } catch {
      // The first call says what is wrong.
    }
  });
  process.on("message", (request: Request) => send(answer(request)));
  // Ctrl-C reaches all processes of a terminal. The caller decides what it ends; this one goes when the caller goes.
  process.on("SIGINT", () => {});
  // The caller is gone: nobody waits for results any more.
  process.on("disconnect", () => process.exit(0));
}

if (isMainThread) serve();
else convertShare(workerData as Conversion);
