import type { Shape } from "./ops.js";

/** TensorFlow's numeric types, under the names that GraphDef gives them. */
export type NodeType = "DT_FLOAT" | "DT_INT32" | "DT_HALF" | "DT_BFLOAT16" | "DT_UINT8" | "DT_STRING";

/** The attribute kinds of a NodeDef that this library writes. */
export type Attribute =
  | { readonly type: NodeType }
  | { readonly shape: Shape }
  | { readonly int: number }
  | { readonly float: number }
  | { readonly bool: boolean }
  | { readonly string: string }
  | { readonly strings: readonly string[] }
  | { readonly ints: readonly number[] }
  | { readonly types: readonly NodeType[] }
  | { readonly bytes: Uint8Array }
  | { readonly function: string }
  /** A tensor without axes that is a text. */
  | { readonly text: string }
  | { readonly tensor: { readonly type: NodeType; readonly shape: Shape; readonly bytes: Uint8Array } };

export type Attributes = Readonly<Record<string, Attribute>>;

/** One node of a TensorFlow GraphDef, as plain data. */
export interface NodeDef {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly attributes: Attributes;
}

/** An output of a node. */
export interface Node {
  readonly name: string;
  readonly shape: Shape;
  readonly type: NodeType;
  /** What this is a reshape of; a reshape of a reshape is one of its source. Written down when a node needs it. */
  readonly source?: Node;
}

/** Nodes that compute results from arguments: the body of a function, or of a graph whose inputs are the arguments. */
export interface FunctionBody {
  readonly arguments: readonly Node[];
  /** Further arguments, which are the same for all parts of a batch. */
  readonly shared?: readonly Node[];
  readonly nodes: readonly NodeDef[];
  readonly results: readonly (readonly [name: string, node: Node])[];
  /** What the nodes call, by name; that of one name is the same throughout a graph. */
  readonly functions?: ReadonlyMap<string, FunctionBody>;
  /** Compiled by XLA into code of its own, which keeps what lies between its operations out of memory. */
  readonly isFused?: boolean;
  /** Divides and joins at most: what is computed is in functions that it calls. */
  readonly onlyCalls?: boolean;
}
