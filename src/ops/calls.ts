import { type FunctionBody, type Node, type NodeDef, NodeWriter } from "./nodes.js";

/** The name under which the function is kept in the graph. */
export const FUNCTION_NAME = "network";

/** Under which a result of the function is fetched. */
export const fetchName = (result: string): string => `output/${result}`;

/**
 * ConfigProto { graph_options { rewrite_options { disable_meta_optimizer: true } } }: TensorFlow's graph optimizer
 * would take longer than many steps, and what it finds is written down as it should be from the start.
 */
const NO_OPTIMIZER = Uint8Array.of(0x52, 5, 0x52, 3, 0x98, 1, 1);

/**
 * The graph around a function: calls it for each of `calls` equal parts of the batch, at the same time where threads
 * are free, and joins the results. All in a function, because only there can the graph optimizer be switched off;
 * and because a function is prepared once, however often it is called.
 */
export function callNodes(body: FunctionBody, calls: number): readonly NodeDef[] {
  const w = new NodeWriter();
  const parts = body.arguments.map(({ name, shape, type }) => {
    const whole = w.placeholder(name, [shape[0]! * calls, ...shape.slice(1)], type);
    return calls === 1 ? [whole] : w.split(whole, calls, 0, shape);
  });
  // Their sizes are not told: TensorFlow would make room for as much while it prepares the graph.
  const shared = (body.shared ?? []).map(({ name, shape, type }) => ({
    ...w.placeholder(
      name,
      shape.map(() => -1),
      type,
    ),
    shape,
  }));
  const results = Array.from({ length: calls }, (_, i) =>
    callFunction(w, body, [...parts.map((part) => part[i]!), ...shared], calls === 1),
  );
  body.results.forEach(([name, { shape }], j) => {
    const whole = [shape[0]! * calls, ...shape.slice(1)];
    const pieces = results.map((result) => result[j]!);
    w.identity(fetchName(name), calls === 1 ? pieces[0]! : w.concat(pieces, 0, whole));
  });
  return w.nodes;
}

function callFunction(
  w: NodeWriter,
  { results }: FunctionBody,
  inputs: readonly Node[],
  isAlone: boolean,
): Node[] {
  const outputs = results.map(([, node]) => node);
  const first = w.emit("PartitionedCall", inputs, outputs[0]!.shape, outputs[0]!.type, {
    Tin: { types: inputs.map((x) => x.type) },
    Tout: { types: outputs.map((x) => x.type) },
    f: { function: FUNCTION_NAME },
    config: { string: "" },
    config_proto: { bytes: NO_OPTIMIZER },
    // Calls beside each other have a thread each: one node after the other, without queues. Alone, the usual order of
    // nodes holds less memory (bench/NOTES.md).
    executor_type: { string: isAlone ? "" : "SINGLE_THREADED_EXECUTOR" },
  });
  return outputs.map(({ shape, type }, i) => ({
    name: i === 0 ? first.name : `${first.name}:${i}`,
    shape,
    type,
  }));
}
