import { describe, expect, it } from "vitest";
import { size, type Values } from "../../latents/latents.js";
import { cutTile } from "../../latents/tiles.js";
import type { KlConfig } from "../../models/vae.js";
import { goldenPath } from "../../testing/golden.js";
import { inProcess } from "../../testing/in-process.js";
import { pseudoRandom } from "../../testing/tiny.js";
import { openFolder } from "../../weights/folder.js";
import { readModel } from "../model.js";
import type { PlainVae } from "./autoencoder.js";
import { createNetworks } from "./networks.js";
import { anySizeVae } from "./tiled-vae.js";

const config: KlConfig = {
  ...{ kind: "kl", inChannels: 3, outChannels: 3, latentChannels: 3, factor: 4, sampleSize: 32 },
  ...{ blockOutChannels: [128, 256, 512], layersPerBlock: 1, normGroups: 8, midBlockAttention: true },
  ...{ quantConv: true, postQuantConv: true, scalingFactor: 1, shiftFactor: 0 },
};

const random = (...shape: number[]): Values => ({ shape, data: pseudoRandom(size(shape)) });

/** A VAE that looks at one cell at a time, so that tiles cannot change its answer; it says how much it was given. */
function pointwise(areas: number[] = []): PlainVae {
  const pick = (from: Values, factor: number): Values => {
    const [b, h, w, c] = from.shape as [number, number, number, number];
    areas.push(h * w);
    const shape = [b, Math.floor(h * factor), Math.floor(w * factor), c];
    const data = new Float32Array(size(shape));
    let to = 0;
    for (let n = 0; n < b; n++)
      for (let y = 0; y < shape[1]!; y++)
        for (let x = 0; x < shape[2]!; x++)
          for (let k = 0; k < c; k++)
            data[to++] = from.data[((n * h + Math.floor(y / factor)) * w + Math.floor(x / factor)) * c + k]!;
    return { shape, data };
  };
  return {
    config,
    encode: async (image) => {
      const mean = pick(image, 1 / 4);
      return { mean, logvar: mean };
    },
    decode: async (latents) => pick(latents, 4),
  };
}

describe("VAE of any size", () => {
  it.each([
    [2, 20, 17],
    [1, 8, 9],
    [1, 3, 40],
  ])("tiles of %i x %i x %i latents give what the whole gives", async (batch, height, width) => {
    const latents = random(batch, height, width, 3);
    const areas: number[] = [];
    const vae = anySizeVae(pointwise(areas), true);
    const whole = await pointwise().decode(latents);
    const tiled = await vae.decode(latents);
    expect(tiled.shape).toEqual(whole.shape);
    expect(tiled.data).toBeCloseTo32(whole.data, { abs: 1e-6 });
    expect(Math.max(...areas)).toBeLessThanOrEqual(8 * 8);
  });

  it("tiles of an image, and odd sides continued", async () => {
    const image = random(1, 70, 45, 3);
    const areas: number[] = [];
    const { mean, logvar } = await anySizeVae(pointwise(areas), true).encode(image);
    expect(mean.shape).toEqual([1, 18, 12, 3]);
    expect(logvar).toEqual(mean);
    expect(Math.max(...areas)).toBeLessThanOrEqual(32 * 32);
    const inside = cutTile(mean, { left: 0, top: 0, right: 11, bottom: 17 });
    const whole = (await pointwise().encode(image)).mean;
    expect(inside.data).toBeCloseTo32(whole.data, { abs: 1e-6 });
  });

  it("uses tiles where the whole would need too much memory", async () => {
    const areas: number[] = [];
    const vae = anySizeVae(pointwise(areas));
    await vae.decode(random(1, 256, 256, 3)); // 1024x1024 pixels
    expect(areas).toEqual([256 * 256]);
    areas.length = 0;
    const latents = random(1, 300, 320, 3);
    const tiled = await vae.decode(latents);
    expect(areas.length).toBe(9);
    // Each cell is worked on 1.07 times on average.
    expect(areas.reduce((a, b) => a + b)).toBeLessThan(1.1 * 300 * 320);
    areas.length = 0;
    const whole = await vae.decode(latents, { tiling: false });
    expect(areas).toEqual([300 * 320]);
    expect(tiled.data).toBeCloseTo32(whole.data, { abs: 1e-6 });
  });

  it("the same for a large image of odd sides", async () => {
    const areas: number[] = [];
    const image = random(1, 1201, 1278, 3);
    const { mean, logvar } = await anySizeVae(pointwise(areas)).encode(image);
    expect(areas.length).toBe(9);
    expect(mean.shape).toEqual([1, 301, 320, 3]);
    expect(logvar).toEqual(mean);
    const inside = { left: 0, top: 0, right: 319, bottom: 300 };
    const whole = (await pointwise().encode(image)).mean;
    expect(cutTile(mean, inside).data).toBeCloseTo32(whole.data, { abs: 1e-6 });
  });

  it("says how far it is, and stops between tiles", async () => {
    const vae = anySizeVae(pointwise(), true);
    const progress: string[] = [];
    await vae.decode(random(1, 9, 8, 3), { onTile: (done, total) => progress.push(`${done}/${total}`) });
    expect(progress).toEqual(["1/4", "2/4", "3/4", "4/4"]);
    const stop = new AbortController();
    const stopped = vae.decode(random(1, 9, 8, 3), { signal: stop.signal, onTile: () => stop.abort() });
    await expect(stopped).rejects.toThrow(/abort/i);
  });

  it("a real VAE: what lies inside the first tile is that tile's", async () => {
    const { engine, options } = inProcess("eager");
    const { vae } = createNetworks(readModel(openFolder(goldenPath("models/tiny-sd1"))), engine, options);
    const latents = random(1, 10, 12, 4);
    const tiled = await vae!.decode(latents, { tiling: true });
    expect(tiled.shape).toEqual([1, 80, 96, 3]);
    const { sampleSize, factor } = vae!.config;
    const cells = sampleSize / factor;
    const first = await vae!.decode(cutTile(latents, { left: 0, top: 0, right: cells, bottom: cells }));
    const kept = { left: 0, top: 0, right: 0.75 * sampleSize, bottom: 0.75 * sampleSize };
    expect(cutTile(tiled, kept).data).toEqual(cutTile(first, kept).data);
  });
});
