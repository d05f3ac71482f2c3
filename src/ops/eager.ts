import type * as tfjs from "@tensorflow/tfjs";
import { padding, slice } from "./infer.js";
import type { Activation, Ops, Tensor } from "./ops.js";

type Tf = typeof tfjs;

// The only casts of this file: an eager tensor of `Ops` is a tf.Tensor.
const t = <T extends tfjs.Tensor = tfjs.Tensor>(x: Tensor): T => x as unknown as T;
const out = (x: tfjs.Tensor): Tensor => x as unknown as Tensor;

/** Computes each op now, on the tfjs that is given (tfjs-node, or the pure JavaScript one in tests). */
export function eagerOps(tf: Tf): Ops {
  const activations: Record<Activation, (x: tfjs.Tensor) => tfjs.Tensor> = {
    silu: (x) => tf.mul(x, tf.sigmoid(x)),
    quick_gelu: (x) => tf.mul(x, tf.sigmoid(tf.mul(x, 1.702))),
    gelu: (x) => tf.mul(tf.mul(x, 0.5), tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2)))),
    gelu_tanh: (x) => {
      const inner = tf.mul(Math.sqrt(2 / Math.PI), tf.add(x, tf.mul(0.044715, tf.mul(x, tf.mul(x, x)))));
      return tf.mul(tf.mul(x, 0.5), tf.add(1, tf.tanh(inner)));
    },
    relu: (x) => tf.relu(x),
    tanh: (x) => tf.tanh(x),
  };
  const normalize = (x: tfjs.Tensor, axes: number[], epsilon: number) => {
    const { mean, variance } = tf.moments(x, axes, true);
    return tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, epsilon)));
  };
  const tidy = (f: () => tfjs.Tensor): Tensor => out(tf.tidy(f));

  return {
    scope: (_name, body) => tf.tidy(body as never) as never,
    constant: (values, shape, dtype = "float32") => out(tf.tensor([...values], [...shape], dtype)),
    add: (a, b) => out(tf.add(t(a), t(b))),
    sub: (a, b) => out(tf.sub(t(a), t(b))),
    mul: (a, b) => out(tf.mul(t(a), t(b))),
    activate: (x, activation) => tidy(() => activations[activation](t(x))),
    leakyRelu: (x, slope) =>
      out(typeof slope === "number" ? tf.leakyRelu(t(x), slope) : tf.prelu(t(x), t(slope))),

    linear: (x, weight, bias, activation) =>
      tidy(() => {
        const columns = weight.shape[1]!;
        const rows = tf.reshape(t(x), [-1, weight.shape[0]!]);
        const product = tf.matMul(rows, t<tfjs.Tensor2D>(weight));
        const y = bias ? tf.add(product, t(bias)) : product;
        return tf.reshape(activation ? activations[activation](y) : y, [...x.shape.slice(0, -1), columns]);
      }),
    conv2d: (x, kernel, bias, options = {}) =>
      tidy(() => {
        const [top, bottom, left, right] = padding(kernel.shape, options);
        // The paddings of Conv2D itself: SAME is not symmetric at stride 2, and EXPLICIT leaves the fast kernels.
        const padded =
          top + bottom + left + right > 0
            ? tf.pad(t(x), [
                [0, 0],
                [top, bottom],
                [left, right],
                [0, 0],
              ])
            : t(x);
        const y = tf.conv2d(padded as tfjs.Tensor4D, t<tfjs.Tensor4D>(kernel), options.stride ?? 1, "valid");
        return bias ? tf.add(y, t(bias)) : y;
      }),
    groupNorm: (x, scale, shift, { groups, epsilon, activation }) =>
      tidy(() => {
        const [b, h, w, c] = x.shape as [number, number, number, number];
        const grouped = tf.reshape(t(x), [b, h * w, groups, c / groups]);
        const normal = tf.reshape(normalize(grouped, [1, 3], epsilon), [b, h, w, c]);
        const y = tf.add(tf.mul(normal, t(scale)), t(shift));
        return activation ? activations[activation](y) : y;
      }),
    layerNorm: (x, scale, shift, epsilon) =>
      tidy(() => tf.add(tf.mul(normalize(t(x), [x.shape.length - 1], epsilon), t(scale)), t(shift))),
    attention: (q, k, v, { heads, causal = false }) =>
      tidy(() => {
        const byHead = (x: Tensor) => {
          const [b, n, c] = x.shape as [number, number, number];
          return tf.transpose(tf.reshape(t(x), [b, n, heads, c / heads]), [0, 2, 1, 3]);
        };
        const [b, rows, c] = q.shape as [number, number, number];
        const scores = tf.mul(tf.matMul(byHead(q), byHead(k), false, true), (c / heads) ** -0.5);
        const masked = causal ? tf.add(scores, causalMask(tf, rows)) : scores;
        const mixed = tf.transpose(tf.matMul(tf.softmax(masked), byHead(v)), [0, 2, 1, 3]);
        return tf.reshape(mixed, [b, rows, v.shape[2]!]);
      }),
    upsample: (x, height, width) => out(tf.image.resizeNearestNeighbor(t<tfjs.Tensor4D>(x), [height, width])),
    gather: (table, ids) => out(tf.gather(t(table), t<tfjs.Tensor1D>(ids))),
    matchRows: (sources, destinations, merged) =>
      tf.tidy(() => matchRows(tf, t(sources), t(destinations), merged)).map(out),
    meanInto: (x, rows, target) =>
      tidy(() => {
        const [count, ids] = [x.shape[0]!, t<tfjs.Tensor1D>(target)];
        const counts = tf.add(tf.unsortedSegmentSum(tf.ones([rows.shape[0]!, 1]), ids, count), 1);
        return tf.div(tf.add(t(x), tf.unsortedSegmentSum(t(rows), ids, count)), counts);
      }),

    reshape: (x, shape) => out(tf.reshape(t(x), [...shape])),
    concat: (xs, axis) =>
      out(
        tf.concat(
          xs.map((x) => t(x)),
          axis,
        ),
      ),
    slice: (x, axis, from, size) => {
      const begin = x.shape.map((_, i) => (i === axis ? from : 0));
      return out(tf.slice(t(x), begin, [...slice(x.shape, axis, from, size)]));
    },
    split: (x, parts, axis) => tf.split(t(x), parts, axis).map(out),
  };
}

function matchRows(tf: Tf, sources: tfjs.Tensor, destinations: tfjs.Tensor, merged: number): tfjs.Tensor[] {
  const count = sources.shape[0]!;
  const left = count - merged;
  const unit = (x: tfjs.Tensor) => tf.mul(x, tf.rsqrt(tf.mean(tf.square(x), 1, true)));
  const scores = tf.matMul(unit(sources), unit(destinations), false, true);
  const order = tf.topk(tf.max(scores, 1), count, true).indices as tfjs.Tensor1D;
  const gone = tf.slice(order, [0], [merged]);
  const target = tf.gather(tf.argMax(scores, 1), gone);
  const rest = tf.range(0, left, 1, "int32");
  const places = tf.concat([tf.add(target, tf.scalar(left, "int32")), rest]);
  const all = tf.range(0, count, 1, "int32");
  const rank = tf.scatterND(tf.reshape(order, [count, 1]), all, [count]) as tfjs.Tensor1D;
  const back = tf.gather(places, rank);
  return left === 0 ? [gone, target, back] : [gone, target, back, tf.slice(order, [merged], [left])];
}

/** 0 where position i may see position j <= i, a number that softmax turns into 0 elsewhere. */
function causalMask(tf: Tf, length: number): tfjs.Tensor {
  const lower = tf.linalg.bandPart(tf.ones([length, length]), -1, 0);
  return tf.mul(tf.sub(1, lower), -1e30);
}
