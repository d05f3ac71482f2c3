import { Worker } from "node:worker_threads";
import type { GivenWeight } from "../../ops/graph-tensors.js";
import { elements } from "../../ops/ops.js";
import { openWeights, type WeightsPlace } from "../../weights/component.js";
import { convertedWeights, shapeOf, type WeightOptions } from "../graph-weights.js";

/** Weights that several threads convert, each taking the next; plain data and shared memory. */
export interface Conversion extends Pick<WeightOptions, "precision" | "cacheRoot" | "label"> {
  readonly place: WeightsPlace;
  /** The largest first, so that no thread begins with one when the others end. */
  readonly weights: readonly GivenWeight[];
  /** Four of Int32, at `NEXT` and so on. */
  readonly shared: SharedArrayBuffer;
}

export interface Helpers {
  /** This one among them. */
  readonly threads: number;
  /** The program of the others, which calls `convertShare` with what it is given. */
  readonly entry: URL;
  /** Called for each weight. */
  readonly onWeight: () => void;
  /** Fewer are left to who needs them. */
  readonly leastNumbers?: number;
}

/** The next weight, how many are done and threads are at work, and a number that grows whenever one of the last two changes. */
const [NEXT, DONE, AT_WORK, NEWS] = [0, 1, 2, 3];

/** Fewer numbers are converted before another thread has started. */
const LEAST_NUMBERS = 16e6;
/** Each holds a weight in two layouts, of which the second can be four times as large. */
const MOST_THREADS = 4;
/** A thread that is silent for so long is not waited for: what it has not done is converted by who asked. */
const PATIENCE_MS = 60_000;

/**
 * Converts weights into the cache by several threads, this one among them, and returns when all are done. What cannot be
 * converted so stays for who needs it, who also says what is wrong with it.
 */
export function convertTogether(
  { place, ...options }: Omit<Conversion, "shared">,
  { threads, entry, onWeight, leastNumbers = LEAST_NUMBERS }: Helpers,
): void {
  const sizes = sizesOf(place, options.weights);
  const total = [...sizes.values()].reduce((a, b) => a + b, 0);
  const helpers = Math.min(threads, MOST_THREADS) - 1;
  if (helpers < 1 || total < leastNumbers) return;
  const shared = new SharedArrayBuffer(16);
  const weights = [...options.weights].sort((a, b) => sizes.get(b)! - sizes.get(a)!);
  const conversion: Conversion = { ...options, weights, place, shared };
  for (let i = 0; i < helpers; i++) {
    const helper = new Worker(entry, { workerData: conversion });
    // It must neither keep this process alive nor end it.
    helper.on("error", () => {});
    helper.unref();
  }
  const state = new Int32Array(shared);
  let told = 0;
  const tell = () => {
    for (; told < Atomics.load(state, DONE); told++) onWeight();
  };
  convertShare(conversion, tell);
  waitForOthers(state, tell);
}

/** How many numbers each weight has. */
function sizesOf(place: WeightsPlace, weights: Conversion["weights"]): Map<GivenWeight, number> {
  const checkpoint = openWeights(place);
  try {
    return new Map(weights.map((weight) => [weight, elements(shapeOf(checkpoint, weight))]));
  } finally {
    checkpoint.close();
  }
}

/** Until no thread is at work. */
export function waitForOthers(state: Int32Array, tell: () => void): void {
  for (;;) {
    // Read before all that it tells of, so that the wait ends at once when something has happened since.
    const seen = Atomics.load(state, NEWS);
    tell();
    if (Atomics.load(state, AT_WORK) === 0) return;
    if (Atomics.wait(state, NEWS, seen, PATIENCE_MS) === "timed-out") return;
  }
}

/** What a thread does: takes the next weight until none is left. */
export function convertShare(
  { place, weights, shared, ...options }: Conversion,
  onWeight: () => void = () => {},
): void {
  const state = new Int32Array(shared);
  const change = (what: number, by: number) => {
    Atomics.add(state, what, by);
    Atomics.add(state, NEWS, 1);
    Atomics.notify(state, NEWS);
  };
  change(AT_WORK, 1);
  try {
    const checkpoint = openWeights(place);
    try {
      const convert = convertedWeights(checkpoint, options);
      for (;;) {
        const weight = weights[Atomics.add(state, NEXT, 1)];
        if (!weight) return;
        convert(weight);
        change(DONE, 1);
        onWeight();
      }
    } finally {
      checkpoint.close();
    }
  } catch {
    // Who needs the weight meets the same fault, and can tell of it.
  } finally {
    change(AT_WORK, -1);
  }
}
