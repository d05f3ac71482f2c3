import { internal } from "../errors.js";
import type { Values } from "../latents/latents.js";
import type { Network } from "../models/network.js";
import { Module } from "../nn/module.js";
import { fetchName } from "../ops/calls.js";
import { graphOps } from "../ops/graph.js";
import type { FunctionBody } from "../ops/nodes.js";
import { elements } from "../ops/ops.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import { savedGraph, type WrittenGraph } from "./graph-cache.js";
import { graphWeights } from "./graph-weights.js";
import type { Native } from "./native.js";
import type { Capabilities } from "./probe.js";
import type { Precision, Runner } from "./runner.js";
import { encodeSavedModel } from "./saved-model.js";

export interface GraphRunnerOptions {
  readonly precision: Precision;
  readonly cacheRoot: string;
  /** The model and its network, for people who list the cache. */
  readonly label: string;
  readonly capabilities: Capabilities;
  /**
   * The same network for one sample. If given, the samples of a batch are computed apart, side by side: a small
   * network's layers are too short to be shared between threads, but each thread can take a sample.
   */
  readonly perSample?: Network;
  /** What decides how the network is written: who asks the same gets the graph of an earlier process. */
  readonly question?: unknown;
  /** Called after each weight that had to be converted. */
  readonly onWeight?: () => void;
}

/** Writes a network as a TensorFlow graph whose weights are mapped files, and runs it in one session. */
export function graphRunner(
  native: Native,
  network: Network,
  checkpoint: Checkpoint,
  options: GraphRunnerOptions,
): Runner {
  const { precision, capabilities, cacheRoot } = options;
  const weights = [checkpoint.id, checkpoint.changed?.id];
  const question = options.question !== undefined && [
    options.question,
    weights,
    precision,
    capabilities,
    native.version,
  ];
  const { folder, results } = savedGraph(cacheRoot, question, () =>
    writeGraph(native, network, checkpoint, options),
  );
  const { binding } = native;
  const session = binding.loadSavedModel(folder, "serve");
  const names = Object.keys(network.inputs);
  const fetches = results.map(([name]) => fetchName(name)).join(",");
  return {
    run(inputs) {
      // A failing run would leak the tensors that are made here, so nothing that does not fit may get there.
      for (const name of names) {
        const [want, got] = [network.inputs[name]!, inputs[name]];
        if (got?.data.length !== elements(want.shape))
          throw internal(`input ${name} of a graph: expected [${want.shape}], got [${got?.shape}]`);
      }
      const ids = names.map((name) => createTensor(native, network.inputs[name]!, inputs[name]!.data));
      const fetched = binding.runSavedModel(session, ids, names.join(","), fetches);
      for (const id of ids) binding.deleteTensor(id);
      return Object.fromEntries(
        fetched.map(({ id }, i): [string, Values] => {
          const [name, shape] = results[i]!;
          const data = binding.tensorDataSync(id) as Float32Array;
          binding.deleteTensor(id);
          return [name, { shape, data }];
        }),
      );
    },
    dispose: () => binding.deleteSavedModel(session),
  };
}

/** The graph's bytes, with all its weights in the cache. */
function writeGraph(
  native: Native,
  network: Network,
  checkpoint: Checkpoint,
  options: GraphRunnerOptions,
): WrittenGraph {
  const { perSample = network, precision, capabilities } = options;
  const files = new Set<string>();
  const weights = graphWeights(native, checkpoint, options);
  const graph = graphOps({
    weightValues: weights.values,
    weightFile(name, view) {
      const file = weights.file(name, view);
      files.add(file.path);
      return file;
    },
    ...capabilities,
    compute: precision === "bf16" ? "DT_BFLOAT16" : "DT_FLOAT",
  });
  const module = new Module(graph, { get: (name, shape) => graph.weight(name, shape) });
  const given = Object.entries(perSample.inputs).map(([name, { shape, dtype }]) => {
    return [name, graph.input(name, shape, dtype)] as const;
  });
  let body: FunctionBody;
  try {
    body = graph.body(perSample.forward(module, Object.fromEntries(given)));
  } finally {
    weights.dispose();
  }
  const calls = options.perSample ? Object.values(network.inputs)[0]!.shape[0]! : 1;
  return {
    bytes: encodeSavedModel(body, native, calls),
    weights: [...files],
    results: body.results.map(([name, { shape }]) => [name, [shape[0]! * calls, ...shape.slice(1)]]),
  };
}

function createTensor(
  { binding }: Native,
  spec: Network["inputs"][string],
  data: Float32Array | Int32Array,
): number {
  const float = spec.dtype === "float32";
  // TensorFlow shares the memory of arrays, so they are copied: the caller may change its own.
  const values = float ? Float32Array.from(data) : Int32Array.from(data);
  return binding.createTensor(spec.shape, float ? binding.TF_FLOAT : binding.TF_INT32, values);
}
