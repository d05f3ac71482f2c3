import { describe, expect, test } from "vitest";
import { loadNative } from "../runtime/native.js";
import { goldenCase, goldenPath, goldenTensor, toNhwc } from "../testing/golden.js";
import { type LayerName, loadLayer } from "./layers.js";

const model = goldenPath("models/tiny-sd1");

describe("networks as layers of tf.model", () => {
  test("the VAE's decoder, with a layer of tfjs behind it, gives diffusers' picture", async () => {
    const { tf } = loadNative();
    const { inputs, expected, tolerance } = goldenCase("vae/tiny-sd1/decode/0");
    const latents = toNhwc(goldenTensor(inputs.latents));
    const want = toNhwc(goldenTensor(expected.sample));
    const [batch, height, width] = want.shape as [number, number, number];
    const before = tf.memory().numTensors;
    const layer = await loadLayer(tf, "vae_decoder", { model, batch, height, width });
    const input = tf.input({ batchShape: latents.shape });
    const halved = tf.layers.rescaling({ scale: 0.5 }).apply(layer.apply(input)) as ReturnType<
      typeof tf.input
    >;
    const half = tf.model({ inputs: input, outputs: halved });
    const got = tf.tidy(() => {
      const given = tf.tensor(latents.data, latents.shape);
      return (half.predict(given) as ReturnType<typeof tf.tensor>).dataSync<"float32">();
    });
    expect(got.map((value) => 2 * value)).toBeCloseTo32(want.data, tolerance);
    layer.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test.each(["text_encoder", "unet", "vae_encoder"] as const)("%s", async (name: LayerName) => {
    const { tf } = loadNative();
    const layer = await loadLayer(tf, name, { model, width: 32, height: 48 });
    expect(layer).toBeInstanceOf(tf.layers.Layer);
    expect(layer.name).toBe(name);
  });

  test("what cannot be is said", async () => {
    const { tf } = loadNative();
    await expect(loadLayer(tf, "unet", { model, width: 30 })).rejects.toThrow(
      "width must be a multiple of 8",
    );
    await expect(loadLayer(tf, "unet", { model, batch: 0 })).rejects.toThrow("batch must be a whole number");
    const butterflies = loadLayer(tf, "text_encoder", { model: "butterflies-64" });
    await expect(butterflies).rejects.toThrow("has no text_encoder");
  });
});
