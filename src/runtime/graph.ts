import { internal } from "../errors.js";
import type { Values } from "../latents/latents.js";
import { type Fields, listFields, mapFields } from "../models/fields.js";
import type { Network } from "../models/network.js";
import { Module } from "../nn/module.js";
import { inParts } from "../ops/calls.js";
import { graphOps } from "../ops/graph.js";
import type { FunctionBody } from "../ops/graph-def.js";
import type { GivenWeight } from "../ops/graph-tensors.js";
import { elements, type Tensor } from "../ops/ops.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import { contentKey } from "../weights/content-key.js";
import { type GivenTensors, takeAdapted } from "./adapted-weights.js";
import { keepCompiledFunctions, layOutCompiledFunctions } from "./compiled-functions.js";
import { type SavedGraph, savedGraph, type WrittenGraph } from "./graph-cache.js";
import { storedTypes, valuesOf, type WeightOptions, weightFiles } from "./graph-weights.js";
import { mapWeights } from "./mapped-weights.js";
import type { Native } from "./native.js";
import type { Capabilities } from "./probe.js";
import type { Input, Results, Runner } from "./runner.js";
import { encodeSavedModel } from "./saved-model.js";
import { loadSession } from "./session.js";

export interface GraphRunnerOptions extends WeightOptions {
  readonly capabilities: Capabilities;
  /**
   * The same network for one sample. If given, the samples of a batch are computed apart, side by side: a small
   * network's layers are too short to be shared between threads, but each thread can take a sample.
   */
  readonly perSample?: Network;
  /** What decides how the network is written: who asks the same gets the graph of an earlier process. */
  readonly question?: unknown;
}

/**
 * Writes a network as a TensorFlow graph, and runs it in one session. It is given its weights at each run: mapped files,
 * and from memory those that adapters have changed. So adapters come and go without another graph.
 */
export function graphRunner<N extends Network>(
  native: Native,
  network: N,
  checkpoint: Checkpoint,
  options: GraphRunnerOptions,
): Runner<N> {
  const { binding } = native;
  let graph = findGraph(native, network, checkpoint, options);
  const session = loadSession(native, graph.folder, listFields(graph.results).length);
  const wanted = listFields(network.inputs);
  let weights: GivenTensors;
  let hasRun = false;
  try {
    weights = takeWeights(native, checkpoint, options, graph.given);
  } catch (error) {
    session.close();
    throw error;
  }
  return {
    run(inputs, onCompile) {
      const given = new Map(listFields(inputs as Fields<Input>));
      // A failing run would leak the tensors that are made here, so nothing that does not fit may get there.
      for (const [path, { shape }] of wanted) {
        const got = given.get(path);
        if (got?.data.length !== elements(shape))
          throw internal(`input ${path} of a graph: expected [${shape}], got [${got?.shape}]`);
      }
      const ids = wanted.map(([path, want]) => createTensor(native, want, given.get(path)!.data));
      // Functions are compiled when they are first run.
      const compiles = !hasRun && graph.compiled > 0;
      const place = compiles ? layOutCompiledFunctions() : undefined;
      if (place) onCompile?.({ ...place, total: graph.compiled });
      const results = session.run([...ids, ...weights.ids]);
      if (compiles) keepCompiledFunctions();
      hasRun = true;
      for (const id of ids) binding.deleteTensor(id);
      const next = results.values();
      return mapFields(graph.results, ({ shape }): Values => {
        const id = next.next().value!;
        const data = binding.tensorDataSync(id) as Float32Array;
        binding.deleteTensor(id);
        return { shape, data };
      }) as Results<N>;
    },
    adapt(other) {
      const next = findGraph(native, network, other, options);
      if (next.folder !== graph.folder) return false;
      graph = next;
      // First: the new weights then take the memory of the old ones.
      weights.release();
      weights = { ids: [], release: () => {} };
      weights = takeWeights(native, other, options, graph.given);
      return true;
    },
    dispose() {
      session.close();
      weights.release();
    },
  };
}

/** The weights that a graph is given, in their order. */
function takeWeights(
  native: Native,
  checkpoint: Checkpoint,
  options: GraphRunnerOptions,
  given: readonly GivenWeight[],
): GivenTensors {
  const isChanged = ({ name }: GivenWeight) => checkpoint.changed?.names.has(name) ?? false;
  const adapted = takeAdapted(native, checkpoint, options, given.filter(isChanged));
  try {
    const files = weightFiles(
      checkpoint,
      given.filter((weight) => !isChanged(weight)),
      options,
    );
    const mapped = mapWeights(native, files, options.cacheRoot);
    const [changed, unchanged] = [adapted.ids.values(), mapped.values()];
    return {
      ids: given.map((weight) => (isChanged(weight) ? changed : unchanged).next().value!),
      release() {
        adapted.release();
        for (const id of mapped) native.binding.deleteTensor(id);
      },
    };
  } catch (error) {
    adapted.release();
    throw error;
  }
}

function findGraph(
  native: Native,
  network: Network,
  checkpoint: Checkpoint,
  options: GraphRunnerOptions,
): SavedGraph {
  const { precision, capabilities, cacheRoot } = options;
  const changed = [...(checkpoint.changed?.names ?? [])].filter((name) => isVector(checkpoint, name));
  const question = options.question !== undefined && [
    options.question,
    contentKey(cacheRoot, checkpoint),
    changed.sort(),
    precision,
    capabilities,
    native.version,
  ];
  return savedGraph(cacheRoot, question, () => writeGraph(native, network, checkpoint, options));
}

/** Vectors are written into the graph, unless adapters have changed them. */
const isVector = ({ tensors }: Checkpoint, name: string): boolean => tensors.get(name)?.shape.length === 1;

function writeGraph(
  native: Native,
  network: Network,
  checkpoint: Checkpoint,
  options: GraphRunnerOptions,
): WrittenGraph {
  const { perSample = network, precision, capabilities } = options;
  const { changed } = checkpoint;
  const graph = graphOps({
    weightValues: (name, view) => valuesOf(checkpoint, { name, view }),
    givenType: (name) =>
      !isVector(checkpoint, name) || changed?.names.has(name) ? storedTypes[precision] : undefined,
    ...capabilities,
    compute: precision === "bf16" ? "DT_BFLOAT16" : "DT_FLOAT",
    // Calls within calls that have a thread each could wait for each other.
    isFlat: options.perSample !== undefined,
  });
  const module = new Module(graph, { get: (name, shape) => graph.weight(name, shape) });
  const inputs = mapFields(perSample.inputs, ({ shape, dtype }, path) => graph.input(path, shape, dtype));
  const outputs = perSample.forward(module, inputs);
  const part = graph.body(Object.fromEntries(listFields(outputs)));
  const calls = options.perSample ? listFields(network.inputs)[0]![1].shape[0]! : 1;
  const body = calls === 1 ? part : inParts(part, calls);
  const shapes = body.results.map(([, { shape }]) => shape).values();
  return {
    bytes: encodeSavedModel(body, native),
    given: part.given,
    compiled: fusedIn(body),
    results: mapFields(outputs, () => ({ shape: shapes.next().value! })),
  };
}

const fusedIn = ({ functions = new Map() }: FunctionBody): number =>
  [...functions.values()].reduce((sum, body) => sum + Number(body.isFused ?? false) + fusedIn(body), 0);

function createTensor({ binding }: Native, spec: Tensor, data: Float32Array | Int32Array): number {
  const float = spec.dtype === "float32";
  // TensorFlow shares the memory of arrays, so they are copied: the caller may change its own.
  const values = float ? Float32Array.from(data) : Int32Array.from(data);
  return binding.createTensor(spec.shape, float ? binding.TF_FLOAT : binding.TF_INT32, values);
}
