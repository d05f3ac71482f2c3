import { DiffusionError } from "../errors.js";
import type { Ops, Shape, Tensor } from "../ops/ops.js";

/** Where weights come from; the shape is a demand, checked by the store. */
export interface Weights {
  get(name: string, shape: Shape): Tensor;
}

/** Ops and weights under one name. `m.at("conv1")` is `cd conv1`; the names are those of the checkpoint. */
export class Module {
  readonly ops: Ops;
  readonly path: string;
  readonly #weights: Weights;

  constructor(ops: Ops, weights: Weights, path = "") {
    this.ops = ops;
    this.#weights = weights;
    this.path = path;
  }

  at(...names: (string | number)[]): Module {
    return new Module(this.ops, this.#weights, [this.path, ...names].filter((n) => n !== "").join("."));
  }

  /** A weight of this module, in TensorFlow's layout: [in, out] for matrices, [h, w, in, out] for kernels. */
  get(name: string, shape: Shape): Tensor {
    return this.#weights.get(this.path ? `${this.path}.${name}` : name, shape);
  }
}

/** Gives a layer its scope: the name of its nodes, the lifetime of its intermediates, and its path in errors. */
export function layer<A extends unknown[], R extends Tensor | readonly Tensor[]>(
  body: (m: Module, ...args: A) => R,
): (m: Module, ...args: A) => R {
  return (m, ...args) => {
    try {
      return m.ops.scope(m.path, () => body(m, ...args));
    } catch (error) {
      if (error instanceof DiffusionError && error.code === "LAYER_SHAPE" && !error.message.includes(" at "))
        throw new DiffusionError(error.code, `${error.message}, at ${m.path || "the network's top"}`, {
          cause: error,
        });
      throw error;
    }
  };
}
