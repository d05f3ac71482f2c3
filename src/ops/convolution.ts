import { convolve, convolveTurned, convolveUpsampled } from "./direct-convolution.js";
import type { Node, NodeType } from "./graph-def.js";
import {
  type ElementwisePass,
  type GraphTensor,
  type GraphTensors,
  halfOf,
  isWeight,
  tensorOf,
} from "./graph-tensors.js";
import { im2col } from "./im2col.js";
import * as infer from "./infer.js";
import { type NodeWriter, rowsOf } from "./node-writer.js";
import type { Conv2dOptions, Shape, Tensor } from "./ops.js";
import {
  suitsUpsampledWinograd,
  suitsWinograd,
  upsampledWinogradConvolution,
  winogradConvolution,
} from "./winograd.js";
import { fusedWinograd, suitsFusedWinograd, takesAddends } from "./winograd-fused.js";

/** What the choice between the forms of a convolution depends on, beside its shapes. */
export interface ConvolutionTraits {
  /** Whether Conv2D is computed from the picture as it lies; else it is the slowest of all ways (bench/NOTES.md). */
  readonly directConvolution: boolean;
  /** Type that products and convolutions compute in. */
  readonly compute: NodeType;
  /** Whether XLA compiles functions. */
  readonly fusesFunctions: boolean;
}

/**
 * Up to this many output pixels, and from this many weights (input times output channels) on, 3x3 convolutions are
 * faster as one matrix product (bench/NOTES.md).
 */
const im2colLimits = {
  direct: { mostPixels: 16 * 16, leastWeights: 512 * 512 },
  indirect: { mostPixels: 64 * 64, leastWeights: 256 * 256 },
};
/** At stride 2, Conv2D orders its kernel at each run, which is slow when this does not fit the cache. */
const STRIDED_LEAST_WEIGHTS = 1024 * 1024;

interface Writing {
  readonly w: NodeWriter;
  readonly tensors: GraphTensors;
  readonly traits: ConvolutionTraits;
}

/** A convolution, and where it is written down. */
interface Place extends Writing {
  readonly x: Tensor;
  readonly kernel: Tensor;
  readonly stride: number;
  readonly pads: readonly [top: number, bottom: number, left: number, right: number];
  /** Of the result. */
  readonly shape: Shape;
}

/** `Ops.conv2d`, in the form that is fastest at its size. */
export function convolution(
  writing: Writing,
  [x, kernel, bias]: readonly [x: Tensor, kernel: Tensor, bias: Tensor | undefined],
  options: Conv2dOptions,
): GraphTensor {
  const { w, tensors } = writing;
  const shape = infer.conv2d(x.shape, kernel.shape, options);
  const pads = infer.padding(kernel.shape, options);
  const place: Place = { ...writing, x, kernel, stride: options.stride ?? 1, pads, shape };
  const isTransformable = canTransform(place);
  const { directConvolution, fusesFunctions } = writing.traits;
  if (
    isTransformable &&
    fusesFunctions &&
    !halfOf(x) &&
    suitsFusedWinograd(shape, x.shape[3]!, directConvolution)
  )
    return byFusedWinograd(place, bias);
  const sum = w.cast(inOneForm(place, isTransformable), "DT_FLOAT");
  return tensorOf(bias ? w.biasAdd(sum, tensors.node(bias)) : sum);
}

/** Whether its kernel may be transformed: sums and differences of weights need more digits than bfloat16 has. */
const canTransform = ({ kernel, stride, pads, traits }: Place): boolean =>
  stride === 1 &&
  kernel.shape[0] === 3 &&
  kernel.shape[1] === 3 &&
  pads.every((p) => p === 1) &&
  isWeight(kernel) &&
  traits.compute === "DT_FLOAT";

/** Without its bias. */
function inOneForm(place: Place, isTransformable: boolean): Node {
  const { x, kernel, stride, shape, traits } = place;
  const [h, wd, input, output] = kernel.shape as [number, number, number, number];
  if (h === 1 && wd === 1 && stride === 1) return asProduct(place);
  const { directConvolution } = traits;
  const small = isTransformable ? halfOf(x) : undefined;
  if (small) return ofEnlarged(place, small);
  if (isTransformable && suitsWinograd(shape, input, directConvolution)) return byWinograd(place);
  const { mostPixels, leastWeights } = im2colLimits[directConvolution ? "direct" : "indirect"];
  const isSmall = shape[1]! * shape[2]! <= mostPixels;
  if (stride === 1 && isSmall && input * output >= leastWeights) return byIm2col(place);
  if (stride === 2 && (!directConvolution || (isSmall && input * output >= STRIDED_LEAST_WEIGHTS)))
    return byIm2col(place);
  return directly(place, directConvolution);
}

function byFusedWinograd({ w, tensors, x, kernel, shape }: Place, bias?: Tensor): GraphTensor {
  const [, , input, output] = kernel.shape as [number, number, number, number];
  const kernels = tensors.stored(kernel, { layout: "winograd4", shape: [36, input, output] });
  const image = tensors.node(x);
  const finish = (others: readonly Node[], activation?: ElementwisePass) =>
    fusedWinograd(w, image, kernels, { ...(bias && { bias: tensors.node(bias) }), others, activation });
  return takesAddends(shape) ? { shape, dtype: "float32", finish } : tensorOf(finish([]));
}

function asProduct({ w, tensors, x, kernel, shape }: Place): Node {
  const [, , input, output] = kernel.shape as [number, number, number, number];
  const rows = tensors.operand(x, [rowsOf(x.shape), input]);
  const matrix = tensors.factor(kernel, rows, { layout: "matrix", shape: [input, output] });
  return w.reshape(w.matmul(rows, matrix), shape);
}

/** Of a picture at twice the size of `small`, without making it. */
function ofEnlarged({ w, tensors, kernel }: Place, small: Node): Node {
  const [, , input, output] = kernel.shape as [number, number, number, number];
  if (suitsUpsampledWinograd(small.shape, output)) {
    const form = { layout: "upsampled-winograd", shape: [9, input, output] } as const;
    return upsampledWinogradConvolution(w, small, tensors.factor(kernel, small, form));
  }
  const form = { layout: "upsampled", shape: [4, 4, output, input] } as const;
  return convolveUpsampled(w, small, tensors.factor(kernel, small, form));
}

function byWinograd({ w, tensors, x, kernel }: Place): Node {
  const [, , input, output] = kernel.shape as [number, number, number, number];
  const image = tensors.node(x);
  const form = { layout: "winograd", shape: [16, input, output] } as const;
  return winogradConvolution(w, image, tensors.factor(kernel, image, form));
}

function byIm2col({ w, tensors, x, kernel, stride, pads, shape }: Place): Node {
  const [height, width, input, output] = kernel.shape as [number, number, number, number];
  const image = tensors.operand(x);
  const form = { layout: "matrix", shape: [height * width * input, output] } as const;
  const window = { size: [height, width], stride, before: [pads[0], pads[2]] } as const;
  return im2col(w, image, tensors.factor(kernel, image, form), window, shape);
}

function directly({ w, tensors, x, kernel, stride, pads, shape }: Place, isFast: boolean): Node {
  const [height, width, input, output] = kernel.shape as [number, number, number, number];
  // The paddings of Conv2D itself: SAME is not symmetric at stride 2, and EXPLICIT leaves the fast kernels.
  const isSame = stride === 1 && pads.every((p) => p === (height - 1) / 2) && height === width;
  const image = tensors.operand(x);
  if (isSame && isWeight(kernel) && !isFast) {
    const form = { layout: "turned", shape: [height, width, output, input] } as const;
    return convolveTurned(w, image, tensors.factor(kernel, tensors.node(x), form));
  }
  const source = isSame || pads.every((p) => p === 0) ? image : w.pad(image, pads);
  // Not made when the padded picture is there: TensorFlow joins Pad and Conv2D, which would then wait for itself.
  const taps = tensors.factor(kernel, tensors.node(x), { layout: "kernel", shape: kernel.shape });
  return convolve(w, source, taps, { stride, padding: isSame ? "SAME" : "VALID", shape });
}
