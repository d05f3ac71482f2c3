import { DiffusionError, nearest } from "../errors.js";
import { type Fields, listFields } from "../models/fields.js";
import type { Network } from "../models/network.js";
import { buildNetwork, type NetworkKind, type NetworkSpec, type SpecOf } from "../models/registry.js";
import { Module } from "../nn/module.js";
import { type Cost, dryRunOps } from "../ops/dry-run.js";
import { defaultView, viewShape } from "../ops/layout.js";
import { elements, type Shape, type Tensor } from "../ops/ops.js";
import type { Checkpoint } from "../weights/checkpoint.js";

/** What a dry run of a network finds: its weights with their shapes in TensorFlow's layout, and its arithmetic. */
export interface Requirements extends Cost {
  readonly weights: ReadonlyMap<string, Shape>;
}

export function requirements(spec: SpecOf<NetworkKind>): Requirements {
  const weights = new Map<string, Shape>();
  const cost: Cost = { flops: 0 };
  const store = {
    get(name: string, shape: Shape): Tensor {
      weights.set(name, shape);
      return { shape, dtype: "float32" };
    },
  };
  const network: Network = buildNetwork(spec);
  network.forward(new Module(dryRunOps(cost), store), network.inputs);
  return { weights, ...cost };
}

/** How many numbers tensors hold together. */
export const countNumbers = (tensors: Fields<Tensor>): number =>
  listFields(tensors).reduce((sum, [, { shape }]) => sum + elements(shape), 0);

// Parts of CLIP that text-only checkpoints carry along now and then.
const passengers = /^(vision_model\.|visual_projection\.|text_projection\.|logit_scale$)/;

/**
 * Strict loading before a weight is read: everything that the networks ask for is there in the right shape, and
 * nothing else is. `specs` are all networks of one checkpoint (a VAE has two), `others` the weights that no network
 * asks for (a codebook).
 *
 * @throws DiffusionError WEIGHT_MISSING, WEIGHT_SHAPE or WEIGHT_UNUSED, naming the tensor as it stands in the file
 */
export function checkWeights(
  checkpoint: Checkpoint,
  specs: readonly NetworkSpec[],
  others: readonly (readonly [string, Shape])[] = [],
): void {
  const wanted = new Map([...specs.flatMap((spec) => [...requirements(spec).weights]), ...others]);
  const { tensors, path } = checkpoint;
  const absent = [...wanted.keys()].filter((name) => !tensors.has(name));
  const unused = [...tensors.keys()].filter((name) => !wanted.has(name) && !passengers.test(name));
  const [first] = absent;
  if (first !== undefined) {
    const near = nearest(first, unused);
    throw new DiffusionError("WEIGHT_MISSING", `${path} lacks ${first} [${wanted.get(first)}]`, {
      hint: `${wanted.size - absent.length} of ${wanted.size} weights match${near ? `; the nearest unused name is ${near}` : ""}`,
    });
  }
  for (const [name, shape] of wanted) {
    const stored = tensors.get(name)!;
    const given = viewShape(stored.shape, defaultView(name, stored.shape));
    if (given.join() !== shape.join())
      throw new DiffusionError(
        "WEIGHT_SHAPE",
        `${name} in ${path} has shape [${stored.shape}], which is [${given}] in TensorFlow's layout; the network's config asks for [${shape}]`,
        { hint: "config.json and weights are of different models" },
      );
  }
  const [extra] = unused;
  if (extra !== undefined) {
    const near = nearest(extra, wanted.keys());
    throw new DiffusionError("WEIGHT_UNUSED", `${path} holds ${extra}, which the network does not have`, {
      hint: `${unused.length} unused tensors${near ? `; the nearest known name is ${near}` : ""}; config.json and weights may be of different models`,
    });
  }
}
