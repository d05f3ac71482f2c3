import type { FunctionBody, NodeDef } from "./graph-def.js";
import { NodeWriter } from "./node-writer.js";

/** The name under which a network is kept among the functions of its graph. */
export const NETWORK = "network";

/** The nodes of a graph: where it is given its arguments (those of the function, in their order), and what gives the results. */
export const [ARGUMENTS, RESULTS] = ["arguments", "results"] as const;

/** As TensorFlow names it when there is no other. */
const CPU = "/job:localhost/replica:0/task:0/device:CPU:0";

/**
 * The graph around a function. Everything is in functions, because only there can the graph optimizer be switched off;
 * and it spares a graph of three nodes altogether. So the arguments are one node, an operation that could give any
 * number of tensors of any type; it is never run, as all of them are given.
 *
 * RemoteCall runs a function on one device, here the one that there is. What looks through a graph before it is first
 * run (XLA's passes, the bridge to MLIR) reads all functions that PartitionedCall names, again and again, and those that
 * they name; it does not look behind this call (bench/NOTES.md).
 */
export function graphNodes({ arguments: given, shared = [], results }: FunctionBody): readonly NodeDef[] {
  const inputs = [...given, ...shared];
  const types = inputs.map(({ type }) => type);
  return [
    { name: ARGUMENTS, op: "Unstage", inputs: [], attributes: { dtypes: { types } } },
    {
      name: "device",
      op: "Const",
      inputs: [],
      attributes: { dtype: { type: "DT_STRING" }, value: { text: CPU } },
    },
    {
      name: RESULTS,
      op: "RemoteCall",
      inputs: ["device", ...inputs.map((_, i) => `${ARGUMENTS}:${i}`)],
      attributes: {
        Tin: { types },
        Tout: { types: results.map(([, { type }]) => type) },
        f: { function: NETWORK },
      },
    },
  ];
}

/**
 * The function that the graph calls. oneDNN's operations take the place of others only in functions that
 * PartitionedCall runs: so this one computes nothing itself.
 */
export function networkOf(body: FunctionBody): FunctionBody {
  if (body.onlyCalls) return body;
  const w = new NodeWriter();
  const outputs = w.invoke("whole", body, [...body.arguments, ...(body.shared ?? [])]);
  const results = body.results.map(([name], i) => [name, outputs[i]!] as const);
  return {
    ...{ onlyCalls: true, arguments: body.arguments, results, nodes: w.nodes, functions: w.functions },
    ...(body.shared && { shared: body.shared }),
  };
}

/**
 * A function for `calls` times the batch: calls that of one part for each, at the same time where threads are free, and
 * joins the results.
 */
export function inParts(part: FunctionBody, calls: number): FunctionBody {
  const w = new NodeWriter();
  const whole = part.arguments.map((x) => ({ ...x, shape: [x.shape[0]! * calls, ...x.shape.slice(1)] }));
  const parts = whole.map((x, i) => w.split(x, calls, 0, part.arguments[i]!.shape));
  const { shared = [] } = part;
  const pieces = Array.from({ length: calls }, (_, call) =>
    // Calls beside each other have a thread each: one node after the other, without queues.
    w.invoke("part", part, [...parts.map((of) => of[call]!), ...shared], "SINGLE_THREADED_EXECUTOR"),
  );
  const results = part.results.map(([name, { shape }], i) => {
    const joined = w.concat(
      pieces.map((piece) => piece[i]!),
      0,
      [shape[0]! * calls, ...shape.slice(1)],
    );
    return [name, joined] as const;
  });
  return { onlyCalls: true, arguments: whole, shared, nodes: w.nodes, functions: w.functions, results };
}
