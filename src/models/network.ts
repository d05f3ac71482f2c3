import type { Module } from "../nn/module.js";
import type { Tensor } from "../ops/ops.js";
import type { Fields } from "./fields.js";

/** A network at one size: what goes in, and the pure function from inputs to outputs, written in layers. */
export interface Network<
  Inputs extends Fields<Tensor> = Fields<Tensor>,
  Outputs extends Fields<Tensor> = Fields<Tensor>,
> {
  /** Shape and type of each. */
  readonly inputs: Inputs;
  /** @param m whose paths are the names of the network's checkpoint */
  forward(m: Module, inputs: Inputs): Outputs;
}

export type InputsOf<N extends Network> = N["inputs"];
export type OutputsOf<N extends Network> = ReturnType<N["forward"]>;
