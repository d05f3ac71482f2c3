import { attention, feedForward, transformerBlock } from "../src/nn/attention.js";
import { conv2d, groupNorm, layerNorm, linear } from "../src/nn/basic.js";
import { Module } from "../src/nn/module.js";
import { resnetBlock } from "../src/nn/resnet.js";
import { type Cost, dryRunOps } from "../src/ops/dry-run.js";
import { eagerOps } from "../src/ops/eager.js";
import { graphOps } from "../src/ops/graph.js";
import { viewName, viewShape, type WeightView } from "../src/ops/layout.js";
import { elements, type Shape, type Tensor } from "../src/ops/ops.js";
import { loadNative } from "../src/runtime/native.js";
import { probe } from "../src/runtime/probe.js";
import { progress } from "./processes.js";
import {
  alternate,
  type Contender,
  graphContender,
  noise,
  randomWeight,
  relativeDifference,
  runRace,
  weightFile,
} from "./race.js";
import { ms, ratio, type Table } from "./table.js";

/** A layer at one size, on noise. */
interface Layer {
  readonly title: string;
  readonly inputs: readonly Shape[];
  readonly forward: (m: Module, inputs: readonly Tensor[]) => Tensor;
}

const norm = { groups: 32, epsilon: 1e-5 };
const image = (side: number, width: number): Shape => [2, side, side, width];
const tokens = (side: number, width: number): Shape => [2, side * side, width];
const prompt: Shape = [2, 77, 768];

const conv = (side: number, input: number, output: number): Layer => ({
  title: `conv 3x3, ${side}x${side}, ${input} to ${output}`,
  inputs: [image(side, input)],
  forward: (m, [x]) => conv2d(m, x!, output),
});
const matrix = (side: number, input: number, output: number): Layer => ({
  title: `linear, ${side}x${side}, ${input} to ${output}`,
  inputs: [tokens(side, input)],
  forward: (m, [x]) => linear(m, x!, output),
});
const pointwise = (side: number, input: number, output: number): Layer => ({
  title: `conv 1x1, ${side}x${side}, ${input} to ${output}`,
  inputs: [image(side, input)],
  forward: (m, [x]) => conv2d(m, x!, output, { size: 1 }),
});
const feed = (side: number, width: number): Layer => ({
  title: `GEGLU feed-forward, ${side}x${side}x${width}`,
  inputs: [tokens(side, width)],
  forward: (m, [x]) => feedForward(m, x!),
});
const itself = (side: number, width: number): Layer => ({
  title: `self-attention, ${side * side} tokens, 8 heads of ${width / 8}`,
  inputs: [tokens(side, width)],
  forward: (m, [x]) => attention(m, x!, x!, 8),
});
const cross = (side: number, width: number): Layer => ({
  title: `cross-attention, ${side * side} tokens on 77`,
  inputs: [tokens(side, width), prompt],
  forward: (m, [x, context]) => attention(m, x!, context!, 8),
});
const groups = (side: number, width: number): Layer => ({
  title: `group norm and SiLU, ${side}x${side}x${width}`,
  inputs: [image(side, width)],
  forward: (m, [x]) => groupNorm(m, x!, { ...norm, activation: "silu" }),
});
const rows = (side: number, width: number): Layer => ({
  title: `layer norm, ${side}x${side}x${width}`,
  inputs: [tokens(side, width)],
  forward: (m, [x]) => layerNorm(m, x!, 1e-5),
});
const residual = (side: number, input: number, output: number): Layer => ({
  title: `ResNet block, ${side}x${side}, ${input} to ${output}`,
  inputs: [image(side, input), [2, 1280]],
  forward: (m, [x, time]) => resnetBlock(m, x!, time, output, norm),
});
const transformer = (side: number, width: number): Layer => ({
  title: `transformer block, ${side}x${side}x${width}`,
  inputs: [tokens(side, width), prompt],
  forward: (m, [x, context]) => transformerBlock(m, x!, context!, 8, false),
});

/** The widths of Stable Diffusion 1.5 at 512x512, batch 2. */
const layers: readonly Layer[] = [
  ...[
    conv(64, 320, 320),
    conv(32, 640, 640),
    conv(16, 1280, 1280),
    conv(8, 1280, 1280),
    conv(16, 2560, 1280),
  ],
  ...[pointwise(64, 640, 320), pointwise(16, 2560, 1280)],
  ...[matrix(64, 320, 320), matrix(32, 640, 640), matrix(16, 1280, 1280)],
  ...[feed(64, 320), feed(32, 640), feed(16, 1280)],
  ...[itself(64, 320), itself(32, 640), itself(16, 1280), cross(64, 320), cross(32, 640)],
  ...[groups(64, 320), groups(32, 640), groups(16, 1280), rows(64, 320), rows(32, 640)],
  ...[residual(64, 320, 320), residual(16, 1280, 1280), transformer(64, 320), transformer(32, 640)],
];
const quickLayers: readonly Layer[] = [
  ...[conv(32, 640, 640), conv(16, 1280, 1280), matrix(32, 640, 640), feed(16, 1280), itself(32, 640)],
  ...[groups(32, 640), rows(32, 640), transformer(16, 1280)],
];

export interface LayersOptions {
  readonly quick: boolean;
  readonly cpuTime: boolean;
  readonly threads: number;
}

/** Each layer as tfjs computes it op by op and as one graph, beside the best that matrix products reach here. */
export function benchLayers({ quick, cpuTime, threads }: LayersOptions): Table[] {
  const time = cpuTime ? "cpuMs" : "wallMs";
  const rounds = quick ? 3 : 8;
  const best = bestProduct(time, rounds);
  const table = (quick ? quickLayers : layers).map((layer) => {
    progress(layer.title);
    const { flops, weights } = dryRun(layer);
    const contenders = [eager(layer, weights), graph(layer, weights)];
    const [plain, written] = contenders.map((entry) => entry.result()) as [Float32Array, Float32Array];
    const [tfjs, ours] = alternate(contenders, rounds).map((times) => times[time]) as [number, number];
    for (const entry of contenders) entry.dispose();
    const speed = flops / ours / 1e6;
    return [
      layer.title,
      (flops / 1e9).toFixed(2),
      ms(tfjs),
      ms(ours),
      ratio(tfjs / ours),
      flops > 0 ? speed.toFixed(0) : "-",
      flops > 0 ? `${((100 * speed) / best).toFixed(0)} %` : "-",
      relativeDifference(written, plain).toExponential(1),
    ];
  });
  return [
    {
      title: `Layers at Stable Diffusion 1.5's sizes, batch 2, ${cpuTime ? "CPU time, " : ""}${threads} thread${threads > 1 ? "s" : ""}`,
      columns: ["", "GFLOP", "eager ms", "graph ms", "faster", "GFLOP/s", "of best product", "differ by"],
      rows: table,
      notes: [
        `Best matrix product in this run: ${best.toFixed(0)} GFLOP/s. Least of ${rounds} alternated runs; the arithmetic of products and convolutions, two operations per multiply-add, without any that the graph saves.`,
      ],
    },
  ];
}

/** GFLOP/s of the best product of square matrices. */
function bestProduct(time: "cpuMs" | "wallMs", rounds: number): number {
  const speeds = [1024, 2048, 3072].flatMap((n) => {
    const flops = 2 * n ** 3;
    const placings = runRace(
      {
        title: `matrix product, ${n}x${n}`,
        inputs: [[n, n]],
        flops,
        forms: [{ name: "MatMul", write: (w, [x]) => w.matmul(x!, randomWeight(w, [n, n])) }],
      },
      rounds,
    );
    return placings.map((placing) => flops / placing[time] / 1e6);
  });
  return Math.max(...speeds);
}

function dryRun({ inputs, forward }: Layer): { flops: number; weights: ReadonlyMap<string, Shape> } {
  const cost: Cost = { flops: 0 };
  const weights = new Map<string, Shape>();
  const store = {
    get(name: string, shape: Shape): Tensor {
      weights.set(name, shape);
      return { shape, dtype: "float32" };
    },
  };
  const given = inputs.map((shape): Tensor => ({ shape, dtype: "float32" }));
  forward(new Module(dryRunOps(cost), store), given);
  return { flops: cost.flops, weights };
}

/** In TensorFlow's layout. Scales of norms are as random as the rest: only the arithmetic counts here. */
const values = (shape: Shape): Float32Array =>
  noise(shape, shape.length === 1 ? 1 : Math.sqrt(3 / elements(shape.slice(0, -1))));

function graph({ inputs, forward }: Layer, weights: ReadonlyMap<string, Shape>): Contender {
  const ops = graphOps({
    ...probe(loadNative()),
    compute: "DT_FLOAT",
    weightFile: (name, view) => {
      const shape = weights.get(name)!;
      const key = `layer ${shape.join("x")} ${viewName(view)}`;
      return { path: weightFile(key, () => viewed(shape, view)), type: "DT_FLOAT" };
    },
    weightValues: (name, view) => viewed(weights.get(name)!, view),
  });
  const given = inputs.map((shape, i) => ops.input(`input${i}`, shape, "float32"));
  const module = new Module(ops, { get: (name, shape) => ops.weight(name, shape) });
  return graphContender("graph", ops.body({ y: forward(module, given) }));
}

/** @param shape in TensorFlow's layout */
function viewed(shape: Shape, view: WeightView): Float32Array {
  // Values are random, so those of another form may be others.
  if (!["same", "kernel", "matrix"].includes(view.layout)) return values(viewShape(inPyTorch(shape), view));
  const whole = values(shape);
  if (!view.columns) return whole;
  const [[from, to], width] = [view.columns, shape.at(-1)!];
  const height = whole.length / width;
  const out = new Float32Array(height * (to - from));
  for (let row = 0; row < height; row++)
    out.set(whole.subarray(row * width + from, row * width + to), row * (to - from));
  return out;
}

const inPyTorch = (shape: Shape): Shape =>
  shape.length === 4 ? [shape[3]!, shape[2]!, shape[0]!, shape[1]!] : [...shape].reverse();

function eager({ inputs, forward }: Layer, weights: ReadonlyMap<string, Shape>): Contender {
  const { tf } = loadNative();
  const uploaded = new Map([...weights].map(([name, shape]) => [name, tf.tensor(values(shape), [...shape])]));
  const given = inputs.map((shape, i) => tf.tensor(noise(shape, 2, i), [...shape]));
  const asTensor = (x: unknown) => x as Tensor;
  const module = new Module(eagerOps(tf), { get: (name) => asTensor(uploaded.get(name)) });
  const compute = (): Float32Array => {
    const result = forward(module, given.map(asTensor)) as unknown as (typeof given)[number];
    const data = result.dataSync<"float32">();
    result.dispose();
    return data;
  };
  return {
    name: "eager",
    run: () => void compute(),
    result: () => Float32Array.from(compute()),
    dispose() {
      for (const tensor of [...uploaded.values(), ...given]) tensor.dispose();
    },
  };
}
