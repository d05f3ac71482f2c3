import type { FunctionBody, NodeDef } from "./graph-def.js";
import { NodeWriter } from "./node-writer.js";

/** The name under which a network is kept among the functions of its graph. */
export const NETWORK = "network";

/** The nodes of a graph: where it is given its arguments (those of the function, in their order), and what gives the results. */
export const [ARGUMENTS, RESULTS] = ["arguments", "results"] as const;

/**
 * The graph around a function. Everything is in functions, because only there can the graph optimizer be switched off;
 * and it spares a graph of two nodes altogether. So the arguments are one node, an operation that could give any
 * number of tensors of any type; it is never run, as all of them are given.
 */
export function graphNodes({ arguments: given, shared = [], results }: FunctionBody): readonly NodeDef[] {
  const inputs = [...given, ...shared];
  const outputs = results.map(([, node]) => node);
  const types = inputs.map(({ type }) => type);
  return [
    { name: ARGUMENTS, op: "Unstage", inputs: [], attributes: { dtypes: { types } } },
    {
      name: RESULTS,
      op: "PartitionedCall",
      inputs: inputs.map((_, i) => `${ARGUMENTS}:${i}`),
      attributes: NodeWriter.callAttributes(NETWORK, inputs, outputs),
    },
  ];
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
  return { arguments: whole, shared, nodes: w.nodes, functions: w.functions, results };
}
