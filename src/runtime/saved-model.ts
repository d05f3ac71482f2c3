import { internal } from "../errors.js";
import { graphNodes, NETWORK, networkOf } from "../ops/calls.js";
import type { Attribute, FunctionBody, NodeDef, NodeType } from "../ops/graph-def.js";
import type { Shape } from "../ops/ops.js";
import type { Message, Native } from "./native.js";

// tensorflow/core/framework/types.proto
const typeNumbers: Record<NodeType, number> = {
  DT_FLOAT: 1,
  DT_INT32: 3,
  DT_UINT8: 4,
  DT_STRING: 7,
  DT_BFLOAT16: 14,
  DT_HALF: 19,
};

/** The bytes of a saved_model.pb, tagged "serve" and without variables, whose graph is the call of a function. */
export function encodeSavedModel(body: FunctionBody, { protobuf }: Native): Uint8Array {
  const create: Create = (name) => new protobuf[name]!();
  const graph = create("GraphDef");
  graph.setNodeList(graphNodes(body).map((node) => encodeNode(node, create)));
  const library = create("FunctionDefLibrary");
  const functions = withCalled(new Map([[NETWORK, networkOf(body)]]));
  library.setFunctionList([...functions].map(([name, one]) => encodeFunction(name, one, create, protobuf)));
  graph.setLibrary(library);
  // The version of GraphDef that TensorFlow 2.x writes; older ones change the meaning of some nodes.
  const versions = create("VersionDef");
  versions.setProducer(1087);
  graph.setVersions(versions);
  const meta = create("MetaGraphDef");
  const info = new (protobuf.MetaGraphDef as unknown as { MetaInfoDef: new () => Message }).MetaInfoDef();
  info.addTags("serve");
  meta.setMetaInfoDef(info);
  meta.setGraphDef(graph);
  const model = create("SavedModel");
  model.setSavedModelSchemaVersion(1);
  model.setMetaGraphsList([meta]);
  return model.serializeBinary();
}

/** These functions, and those that they call. */
const withCalled = (functions: ReadonlyMap<string, FunctionBody>): Map<string, FunctionBody> =>
  new Map(
    [...functions].flatMap(([name, body]) => [[name, body], ...withCalled(body.functions ?? new Map())]),
  );

type Create = (name: string) => Message;

/** A function names its nodes without slashes, and an output by its name in the operation's definition and a number. */
function encodeFunction(
  name: string,
  body: FunctionBody,
  create: Create,
  protobuf: Native["protobuf"],
): Message {
  const { ArgDef } = protobuf.OpDef as unknown as { ArgDef: new () => Message };
  const argument = (argumentName: string, type: NodeType): Message => {
    const definition = new ArgDef();
    definition.setName(argumentName);
    definition.setType(typeNumbers[type]);
    return definition;
  };
  const given = [...body.arguments, ...(body.shared ?? [])];
  const isArgument = new Set(given.map((x) => x.name));
  const operations = new Map(body.nodes.map((node) => [node.name, node.op]));
  const flat = (nodeName: string) => nodeName.replaceAll("/", "_");
  const reference = (input: string): string => {
    if (isArgument.has(input)) return input;
    if (input.startsWith("^")) return `^${flat(input.slice(1))}`; // only waited for
    const [node, index = "0"] = input.split(":") as [string, string?];
    const op = operations.get(node) ?? "";
    const output = outputNames[op];
    if (!output) throw internal(`no name is known for the output of ${op || node} in a function`);
    return `${flat(node)}:${typeof output === "string" ? `${output}:${index}` : `${output[Number(index)]}:0`}`;
  };
  const signature = create("OpDef");
  signature.setName(name);
  signature.setInputArgList(given.map((x) => argument(x.name, x.type)));
  signature.setOutputArgList(body.results.map(([result, { type }]) => argument(result, type)));
  const message = create("FunctionDef");
  message.setSignature(signature);
  message.setNodeDefList(
    body.nodes.map((node) =>
      encodeNode({ ...node, name: flat(node.name), inputs: node.inputs.map(reference) }, create),
    ),
  );
  for (const [result, node] of body.results) message.getRetMap().set(result, reference(node.name));
  // The optimizer must neither write its nodes into the calling graph nor work on them before they are called.
  for (const attribute of ["_noinline", "_tf_data_function", ...(body.isFused ? ["_XlaMustCompile"] : [])])
    message.getAttrMap().set(attribute, encodeAttribute({ bool: true }, create));
  return message;
}

/** The name that each operation's definition gives its output or its list of outputs, or the names of several. */
const outputNames: Readonly<Record<string, string | readonly string[]>> = {
  _FusedMatMul: "product",
  _MklLayerNorm: "y",
  _MklSwish: "activations",
  AddV2: "z",
  ArgMax: "output",
  BatchMatMulV2: "output",
  BiasAdd: "output",
  Bitcast: "output",
  Cast: "y",
  ConcatV2: "output",
  Const: "output",
  Conv2D: "output",
  Conv2DBackpropInput: "output",
  Erf: "y",
  Exp: "y",
  FusedBatchNormV3: ["y", "batch_mean", "batch_variance"],
  GatherV2: "output",
  ImmutableConst: "tensor",
  InvertPermutation: "y",
  LeakyRelu: "activations",
  Less: "z",
  MatMul: "product",
  Max: "output",
  Maximum: "z",
  Mean: "output",
  Minimum: "z",
  Mul: "z",
  Pad: "output",
  PartitionedCall: "output",
  RealDiv: "z",
  RemoteCall: "output",
  Relu: "activations",
  Reshape: "output",
  ResizeNearestNeighbor: "resized_images",
  Rsqrt: "y",
  SelectV2: "output",
  Sigmoid: "y",
  Slice: "output",
  Softmax: "softmax",
  Split: "output",
  Square: "y",
  SquaredDifference: "z",
  Sub: "z",
  Tanh: "y",
  TopKV2: ["values", "indices"],
  Transpose: "y",
  UnsortedSegmentSum: "output",
  XlaSort: "output",
};

function encodeNode(node: NodeDef, create: Create): Message {
  const message = create("NodeDef");
  message.setName(node.name);
  message.setOp(node.op);
  message.setInputList(node.inputs);
  const attributes = message.getAttrMap();
  for (const [name, attribute] of Object.entries(node.attributes))
    attributes.set(name, encodeAttribute(attribute, create));
  return message;
}

function encodeAttribute(attribute: Attribute, create: Create): Message {
  const value = create("AttrValue");
  const list = (fill: (list: Message) => void) => {
    const message = new (value.constructor as unknown as { ListValue: new () => Message }).ListValue();
    fill(message);
    value.setList(message);
  };
  if ("type" in attribute) value.setType(typeNumbers[attribute.type]);
  else if ("shape" in attribute) value.setShape(encodeShape(attribute.shape, create));
  else if ("int" in attribute) value.setI(attribute.int);
  else if ("float" in attribute) value.setF(attribute.float);
  else if ("bool" in attribute) value.setB(attribute.bool);
  else if ("string" in attribute) value.setS(Buffer.from(attribute.string).toString("base64"));
  else if ("ints" in attribute) list((message) => message.setIList(attribute.ints));
  else if ("types" in attribute)
    list((message) => message.setTypeList(attribute.types.map((t) => typeNumbers[t])));
  else if ("bytes" in attribute) value.setS(Buffer.from(attribute.bytes).toString("base64"));
  else if ("function" in attribute) {
    const called = create("NameAttrList");
    called.setName(attribute.function);
    value.setFunc(called);
  } else if ("strings" in attribute)
    list((message) => message.setSList(attribute.strings.map((s) => Buffer.from(s).toString("base64"))));
  else if ("text" in attribute) {
    const tensor = create("Tensor");
    tensor.setDtype(typeNumbers.DT_STRING);
    tensor.setTensorShape(encodeShape([], create));
    tensor.setStringValList([Buffer.from(attribute.text).toString("base64")]);
    value.setTensor(tensor);
  } else {
    const { type, shape, bytes } = attribute.tensor;
    const tensor = create("Tensor");
    tensor.setDtype(typeNumbers[type]);
    tensor.setTensorShape(encodeShape(shape, create));
    tensor.setTensorContent(bytes);
    value.setTensor(tensor);
  }
  return value;
}

function encodeShape(shape: Shape, create: Create): Message {
  const message = create("TensorShape");
  for (const size of shape) {
    const dimension = new (message.constructor as unknown as { Dim: new () => Message }).Dim();
    dimension.setSize(size);
    message.addDim(dimension);
  }
  return message;
}
