import { expect, test } from "vitest";
import { listFields } from "../models/fields.js";
import { buildNetwork } from "../models/registry.js";
import { pseudoRandomInputs, tinyUNet } from "../testing/tiny.js";
import { eagerRunner } from "./eager.js";
import { loadNative } from "./native.js";
import type { Input } from "./runner.js";
import { tfLayer } from "./tf-layer.js";

test("a network as a layer of tf.model gives the numbers of the eager runtime", () => {
  const { tf } = loadNative();
  const { spec, open } = tinyUNet("tiny-sd2");
  const network = buildNetwork(spec);
  const numbers = pseudoRandomInputs(network);
  const want = eagerRunner(tf, network, open(), "fp32").run(numbers).sample;
  const given = listFields<Input>(numbers);
  const inputs = given.map(([, { shape }]) => tf.input({ batchShape: [...shape] }));
  const layer = tfLayer(tf, network, open());
  const model = tf.model({ inputs, outputs: layer.apply(inputs) as ReturnType<typeof tf.input> });
  const got = model.predict(given.map(([, { shape, data }]) => tf.tensor(data, [...shape]))) as ReturnType<
    typeof tf.tensor
  >;
  expect(got.shape).toEqual([...want.shape]);
  expect(got.dataSync()).toBeCloseTo32(want.data, { abs: 1e-6, rel: 1e-6 });
});
