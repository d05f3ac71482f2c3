import type { Attribute, NodeDef, NodeType } from "../ops/nodes.js";
import type { Shape } from "../ops/ops.js";
import type { Message, Native } from "./native.js";

// tensorflow/core/framework/types.proto
const typeNumbers: Record<NodeType, number> = { DT_FLOAT: 1, DT_INT32: 3, DT_BFLOAT16: 14, DT_HALF: 19 };

/** The bytes of a saved_model.pb with one graph, tagged "serve", and no variables. */
export function encodeSavedModel(nodes: readonly NodeDef[], { protobuf }: Native): Uint8Array {
  const create = (name: string): Message => new protobuf[name]!();
  const graph = create("GraphDef");
  graph.setNodeList(nodes.map((node) => encodeNode(node, create)));
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

function encodeNode(node: NodeDef, create: (name: string) => Message): Message {
  const message = create("NodeDef");
  message.setName(node.name);
  message.setOp(node.op);
  message.setInputList(node.inputs);
  const attributes = message.getAttrMap();
  for (const [name, attribute] of Object.entries(node.attributes))
    attributes.set(name, encodeAttribute(attribute, create));
  return message;
}

function encodeAttribute(attribute: Attribute, create: (name: string) => Message): Message {
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
  else if ("strings" in attribute)
    list((message) => message.setSList(attribute.strings.map((s) => Buffer.from(s).toString("base64"))));
  else {
    const { type, shape, bytes } = attribute.tensor;
    const tensor = create("Tensor");
    tensor.setDtype(typeNumbers[type]);
    tensor.setTensorShape(encodeShape(shape, create));
    tensor.setTensorContent(bytes);
    value.setTensor(tensor);
  }
  return value;
}

function encodeShape(shape: Shape, create: (name: string) => Message): Message {
  const message = create("TensorShape");
  for (const size of shape) {
    const dimension = new (message.constructor as unknown as { Dim: new () => Message }).Dim();
    dimension.setSize(size);
    message.addDim(dimension);
  }
  return message;
}
