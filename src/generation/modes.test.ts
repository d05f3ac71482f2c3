import { afterAll, describe, expect, it } from "vitest";
import type { ProgressEvent } from "../events.js";
import { crop, type Image, type Mask } from "../image/image.js";
import { createRng } from "../latents/rng.js";
import type { GenerateOptions } from "../options/options.js";
import { createScheduler, schedulerConfig } from "../schedulers/scheduler.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

const sd1 = () => tinyModel("models/tiny-sd1");
const inpainting = () => tinyModel("models/tiny-sd1-inpaint");

const base: GenerateOptions = { prompt: "a fox", steps: 2, guidance: 1, seed: 5, scheduler: "ddim" };

/** Blobs in many colours: something that a VAE cannot give back to the bit. */
function picture(width: number, height: number): Image {
  const noise = createRng("torch", width * height).normal([height * width * 3]);
  return { width, height, data: Uint8Array.from(noise, (v) => Math.min(255, Math.max(0, 128 + 60 * v))) };
}

/** White inside, black outside. */
function rectangle(width: number, height: number, [left, top, right, bottom]: number[]): Mask {
  const data = Uint8Array.from({ length: width * height }, (_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    return x >= left! && x < right! && y >= top! && y < bottom! ? 255 : 0;
  });
  return { width, height, data };
}

/** Bytes that differ where the mask is 0, and where it is 255. */
function changes(before: Image, after: Image, mask: Mask): { outside: number; inside: number } {
  expect([after.width, after.height]).toEqual([before.width, before.height]);
  const counts = { outside: 0, inside: 0 };
  for (let i = 0; i < before.data.length; i++)
    if (before.data[i] !== after.data[i]) counts[mask.data[Math.floor(i / 3)] === 0 ? "outside" : "inside"]++;
  return counts;
}

describe("inpainting changes nothing outside the mask, to the bit", () => {
  const image = picture(48, 40);
  const mask = rectangle(48, 40, [9, 5, 30, 27]);
  it.each<[string, GenerateOptions, typeof sd1?]>([
    ["by default", {}],
    ["with nine channels", {}, inpainting],
    ["with a hard edge", { maskBlur: 0 }],
    ["with a wide edge", { maskBlur: 20, strength: 0.6, maskedContent: "fill" }],
    ["from noise in the mask", { strength: 0.6, maskedContent: "noise" }],
    ["from nothing in the mask", { strength: 0.6, maskedContent: "nothing" }],
    ["in its surroundings alone", { onlyMasked: { padding: 3 }, width: 48, height: 48 }],
  ])("%s", async (_, options, model = sd1) => {
    const { images, notes } = await (await model()).generate({ ...base, image, mask, ...options });
    const { outside, inside } = changes(image, images[0]!, mask);
    expect(outside).toBe(0);
    expect(inside).toBeGreaterThan(500);
    expect(notes).toEqual([]);
  });

  it("at sizes that are no multiples of 8", async () => {
    const odd = picture(45, 39);
    const oddMask = rectangle(45, 39, [30, 20, 45, 39]);
    const { images, options } = await (await sd1()).generate({ ...base, image: odd, mask: oddMask });
    expect(options).toMatchObject({ width: 48, height: 40 });
    expect(changes(odd, images[0]!, oddMask)).toEqual({ outside: 0, inside: expect.any(Number) });
  });

  it.each([
    ["a hard mask", {}],
    ["a soft one", { softMask: true }],
  ])("nor in previews, whose corner is the picture's own at every step: %s", async (_, options) => {
    const corners: number[][] = [];
    await (await sd1()).generate({
      ...{ ...base, image, mask, steps: 5, strength: 1, preview: true, ...options },
      onProgress: (event) => {
        if (event.type === "step") corners.push([...event.previews![0]!.data.slice(0, 3)]);
      },
    });
    // After the last evaluation a soft mask keeps what that has made.
    const [first, ...others] = corners.slice(0, -1);
    expect(others.length).toBeGreaterThan(2);
    for (const corner of others) expect(corner).toEqual(first);
  });

  it("nor in the previews, where only the mask's surroundings are worked on", async () => {
    const previews: Image[] = [];
    await (await sd1()).generate({
      ...{ ...base, image, mask, onlyMasked: { padding: 3 }, width: 48, height: 48, preview: true },
      onProgress: (event) => {
        if (event.type === "step") previews.push(...event.previews!);
      },
    });
    expect(previews).toHaveLength(2);
    for (const shown of previews) {
      const { outside, inside } = changes(image, shown, mask);
      expect(outside).toBe(0);
      expect(inside).toBeGreaterThan(500);
    }
  });

  it("with a mask of another size, and says that it was resized", async () => {
    const small = rectangle(24, 20, [5, 3, 15, 13]);
    const { images, notes } = await (await sd1()).generate({ ...base, image, mask: small });
    expect(notes).toEqual(["the mask of 24x20 was resized to the image's 48x40"]);
    expect(changes(image, images[0]!, rectangle(48, 40, [4, 0, 36, 32])).outside).toBe(0);
  });

  it("whether the mask is black and white, inverted, or transparency", async () => {
    const rgba = { ...image, data: new Uint8Array(48 * 40 * 4).fill(255) };
    for (let i = 0; i < mask.data.length; i++) rgba.data[i * 4 + 3] = 255 - mask.data[i]!;
    const inverted = { ...mask, data: mask.data.map((v) => 255 - v) };
    const model = await sd1();
    const data = async (options: GenerateOptions) =>
      (await model.generate({ ...base, image, ...options })).images[0]!.data;
    const want = await data({ mask });
    expect(await data({ mask: inverted, maskInvert: true })).toEqual(want);
    expect(await data({ mask: rgba })).toEqual(want);
  });

  it("nor farther outside than a blur of both sides reaches, which leaves no rim", async () => {
    for (const options of [{}, { onlyMasked: { padding: 6 }, width: 48, height: 48 }]) {
      const { images } = await (await sd1()).generate({
        ...{ ...base, image, mask, maskBlur: 1, maskBlurY: 2, maskBlurSide: "both" as const, ...options },
      });
      // The Gaussian has int(2.5 * sigma + 0.5) taps on each side: 3 in a row, 5 in a column.
      const wide = rectangle(48, 40, [9 - 3, 5 - 5, 30 + 3, 27 + 5]);
      const beside = rectangle(48, 40, [30, 5, 31, 27]);
      expect(changes(image, images[0]!, wide).outside).toBe(0);
      expect(changes(image, images[0]!, beside).inside).toBeGreaterThan(20);
    }
  });

  it("at all with strength 0", async () => {
    for (const options of [{ mask }, { mask, onlyMasked: true }, {}]) {
      const { images } = await (await sd1()).generate({ ...base, image, strength: 0, ...options });
      expect(images[0]!.data).toEqual(image.data);
    }
  });

  it("and refuses an empty mask", async () => {
    const empty = { ...mask, data: new Uint8Array(48 * 40) };
    await expect((await sd1()).generate({ ...base, image, mask: empty })).rejects.toThrow(
      "the mask is empty",
    );
    await expect((await sd1()).generate({ ...base, image, mask: empty, onlyMasked: true })).rejects.toThrow(
      "the mask is empty",
    );
  });
});

describe("outpainting", () => {
  const image = picture(48, 45);

  it("grows every side in passes, and keeps the image but for its faded edges", async () => {
    const events: ProgressEvent[] = [];
    const { images } = await (await inpainting()).generate({
      ...base,
      image,
      expand: { left: 21, top: 8, bottom: 3 },
      strength: 1,
      expandStep: 16,
      onProgress: (event) => events.push(event),
    });
    const [grown] = images;
    expect([grown!.width, grown!.height]).toEqual([69, 56]);
    const inner = { left: 8, top: 8, right: 48, bottom: 37 };
    const moved = { left: 29, top: 16, right: 69, bottom: 45 };
    expect(crop(grown!, moved).data).toEqual(crop(image, inner).data);
    // two passes to the left, one up, one down
    const steps = events.filter((event) => event.type === "step");
    expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(new Set(steps.map(({ steps }) => steps))).toEqual(new Set([8]));
  });

  it("previews the whole canvas, with the picture where it will stand", async () => {
    const previews: Image[] = [];
    const { images } = await (await sd1()).generate({
      ...{ ...base, image, expand: { left: 24, bottom: 16 }, strength: 1, expandStep: 16, preview: true },
      onProgress: (event) => {
        if (event.type === "step") previews.push(event.previews![0]!);
      },
    });
    const [grown] = images;
    expect(previews.length).toBeGreaterThan(3);
    const size = ({ width, height }: Image) => ({ width, height });
    const scale = previews[0]!.width / grown!.width;
    for (const shown of previews) {
      expect(size(shown)).toEqual({
        width: Math.round(grown!.width * scale),
        height: Math.round(grown!.height * scale),
      });
      expect(shown.width / shown.height).toBeCloseTo(grown!.width / grown!.height, 0);
    }
    // What nobody has painted yet is grey: the lower edge, while the left side grows.
    const [first] = previews;
    const last = first!.data.length - 3;
    expect([...first!.data.slice(last)]).toEqual([128, 128, 128]);
    expect([...previews.at(-1)!.data.slice(last)]).not.toEqual([128, 128, 128]);
  });

  it("keeps every pixel with maskBlur 0, and changes both sides of the seam with seamStrength", async () => {
    const kept = async (options: GenerateOptions) => {
      const { images } = await (await sd1()).generate({ ...base, image, expand: { right: 16 }, ...options });
      return crop(images[0]!, { left: 0, top: 0, right: 48, bottom: 45 }).data;
    };
    expect(await kept({ maskBlur: 0 })).toEqual(image.data);
    expect(await kept({ maskBlur: 0, seamStrength: 0.5 })).not.toEqual(image.data);
  });
});

describe("image to image", () => {
  const image = picture(48, 40);
  const stepsOf = async (options: GenerateOptions) => {
    let steps = 0;
    await (await sd1()).generate({
      ...base,
      ...options,
      output: "latents",
      onProgress: ({ type }) => {
        if (type === "step") steps++;
      },
    });
    return steps;
  };

  it("runs strength of the steps, or exactly the steps", async () => {
    expect(await stepsOf({ image, steps: 10, strength: 0.35 })).toBe(3);
    expect(await stepsOf({ image, steps: 4, strength: 0.35, exactSteps: true })).toBe(4);
    expect(await stepsOf({ image, steps: 3, strength: 1, exactSteps: true })).toBe(3);
    await expect(stepsOf({ image, steps: 4, strength: 0.1 })).rejects.toThrow("leaves none of 4 steps");
  });

  it("stretches, crops or fills up the picture", async () => {
    const model = await sd1();
    const results = [];
    for (const resizeMode of ["stretch", "crop", "fill"] as const) {
      const { images } = await model.generate({ ...base, image, width: 48, height: 48, resizeMode });
      results.push(Buffer.from(images[0]!.data).toString("base64"));
    }
    expect(new Set(results).size).toBe(3);
  });

  it("brings the latents of a picture to the size in place of its pixels", async () => {
    const small = picture(32, 24);
    const made = async (options: GenerateOptions) =>
      (await (await sd1()).generate({ ...base, image: small, strength: 0.5, ...options })).latents;
    const latent = await made({ width: 48, height: 40, resizeMode: "latent" });
    expect(latent.shape).toEqual([1, 5, 6, 4]);
    expect(latent.data).not.toEqual((await made({ width: 48, height: 40 })).data);
    // Of its own size, nothing is brought to anything.
    expect((await made({ resizeMode: "latent" })).data).toEqual((await made({})).data);
  });

  it("gives each image of a call the noise of its own seed", async () => {
    const model = await sd1();
    const both = await model.generate({ ...base, image, count: 2, output: "latents" });
    const second = await model.generate({ ...base, image, seed: 6, output: "latents" });
    expect(both.seeds).toEqual([5, 6]);
    expect(both.latents.data.subarray(both.latents.data.length / 2)).toEqual(second.latents.data);
  });
});

describe("text to image", () => {
  const size = { width: 48, height: 40 };
  const latentsOf = async (options: GenerateOptions, model = sd1) =>
    (await (await model()).generate({ ...base, ...size, ...options, output: "latents" })).latents;

  it("runs on an inpainting model as on a mask of everything", async () => {
    const grey = { ...size, data: new Uint8Array(48 * 40 * 3).fill(128) };
    const white = { ...size, data: new Uint8Array(48 * 40).fill(255) };
    const plain = await latentsOf({}, inpainting);
    const masked = await latentsOf({ image: grey, mask: white }, inpainting);
    expect(plain.data).toEqual(masked.data);
  });

  it("varies between two seeds", async () => {
    const first = await latentsOf({});
    expect((await latentsOf({ variation: { seed: 6, strength: 0 } })).data).toEqual(first.data);
    const other = await latentsOf({ seed: 6 });
    expect((await latentsOf({ variation: { seed: 6, strength: 1 } })).data).toBeCloseTo32(other.data, {
      abs: 1e-4,
    });
    const between = await latentsOf({ variation: { seed: 6, strength: 0.2 } });
    expect(distance(between.data, first.data)).toBeLessThan(distance(between.data, other.data));
  });

  it("keeps the noise of another size in the middle", async () => {
    const wide = await latentsOf({ width: 64, seedSize: size, steps: 1 });
    const own = await latentsOf({ steps: 1 });
    const plain = await latentsOf({ width: 64, steps: 1 });
    const middle = (data: Float32Array) =>
      Float32Array.from({ length: own.data.length }, (_, i) => {
        const [cell, c] = [Math.floor(i / 4), i % 4];
        return data[(Math.floor(cell / 6) * 8 + (cell % 6) + 1) * 4 + c]!;
      });
    expect(distance(middle(wide.data), own.data)).toBeLessThan(distance(middle(plain.data), own.data) / 2);
  });

  it("makes a second pass at a larger size", async () => {
    for (const upscaler of ["latent", "latent-nearest-exact", "lanczos"] as const) {
      let total = 0;
      const { images, latents } = await (await sd1()).generate({
        ...base,
        ...size,
        hires: { scale: 1.5, strength: 0.5, steps: 3, upscaler },
        onProgress: (event) => {
          if (event.type === "step") total = event.steps;
        },
      });
      expect([images[0]!.width, images[0]!.height]).toEqual([72, 56]);
      expect(latents.shape).toEqual([1, 7, 9, 4]);
      expect(total).toBe(5);
    }
  });

  it("makes a second pass of other proportions from the middle of the first picture", async () => {
    const made = async (hires: object) => {
      const { images, latents } = await (await sd1()).generate({
        ...{ ...base, ...size, width: 32, height: 64 },
        hires: { strength: 0.5, upscaler: "lanczos", ...hires },
      });
      return { shape: latents.shape, picture: images[0]! };
    };
    for (const upscaler of ["lanczos", "latent"]) {
      const { shape, picture } = await made({ width: 64, height: 64, upscaler });
      expect([shape, picture.width, picture.height]).toEqual([[1, 8, 8, 4], 64, 64]);
    }
    expect((await made({ width: 64 })).shape).toEqual([1, 16, 8, 4]);
  });

  it("stops with what the network expects by then, before a second pass", async () => {
    const stop = new AbortController();
    const seen: Float32Array[] = [];
    const { images, latents } = await (await sd1()).generate({
      ...{ ...base, ...size, scheduler: "euler", steps: 4, hires: {}, stop: stop.signal },
      onProgress: (event) => {
        if (event.type !== "step") return;
        seen.push(event.latents.data);
        if (event.step === 2) stop.abort();
      },
    });
    expect([seen.length, images[0]!.width]).toEqual([2, size.width]);
    // Euler's step goes straight towards it: how far, the levels say.
    const model = (await sd1()).schedulerConfig;
    const { sigmas } = createScheduler(schedulerConfig("euler", model), { steps: 4 });
    const left = sigmas![2]! / sigmas![1]!;
    const expected = seen[1]!.map((x, i) => (x - left * seen[0]![i]!) / (1 - left));
    expect(latents.data).toBeCloseTo32(expected, { abs: 1e-4, rel: 1e-4 });
  });

  it("repeats schedulers whose noise is one Brownian path", async () => {
    const scheduler = "dpmpp_sde";
    const first = await latentsOf({ scheduler, steps: 3 });
    expect((await latentsOf({ scheduler, steps: 3 })).data).toEqual(first.data);
    const other = await latentsOf({ scheduler, steps: 3, seed: 6 });
    expect(distance(other.data, first.data)).toBeGreaterThan(1);
  });

  it("goes on where another run has stopped", async () => {
    const whole = await latentsOf({ steps: 4 });
    const first = await latentsOf({ steps: 4, denoisingEnd: 0.5 });
    const second = await latentsOf({ steps: 4, denoisingStart: 0.5, latents: first });
    expect(second.data).toBeCloseTo32(whole.data, { abs: 1e-5 });
  });
});

const distance = (a: Float32Array, b: Float32Array): number =>
  Math.sqrt(a.reduce((sum, v, i) => sum + (v - b[i]!) ** 2, 0));
