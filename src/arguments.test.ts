import { describe, expect, it } from "vitest";
import * as library from "./index.js";

/** What JavaScript programs pass by mistake. */
const slips: Readonly<Record<string, unknown>> = {
  nothing: undefined,
  null: null,
  "a number": 3,
  NaN: Number.NaN,
  "a bigint": 10n,
  "a text": "no-such-thing",
  "a promise": Promise.resolve(1),
  "an object": {},
  "a list": [],
  "a function": () => 1,
  "a symbol": Symbol("s"),
  "a URL": new URL("file:///tmp"),
  bytes: Buffer.from("no-such-thing"),
  "a picture without pixels": { width: 4, height: 4, data: new Uint8Array(3) },
};
const picture = { width: 8, height: 8, data: new Uint8Array(192) };

/** Public functions that load nothing; each slip stands in place of `undefined` in one of their calls. */
const calls: readonly [name: keyof typeof library, ...args: readonly (readonly unknown[])[]][] = [
  ["brownianNoise", [undefined]],
  ["countTokens", [undefined], ["a", undefined]],
  ["createRng", [undefined, 1]],
  ["createScheduler", [undefined], ["ddim", undefined], [{ sampler: undefined }]],
  ["decodePng", [undefined], [new Uint8Array(9), undefined]],
  ["defaultModelFor", [undefined]],
  ["describeHubModel", [undefined]],
  ["describeLearnedWord", [undefined]],
  ["describeModel", [undefined]],
  ["encodePng", [undefined], [picture, undefined]],
  ["findLora", [undefined, "a"], [".", undefined]],
  [
    "fitImage",
    [undefined, { width: 4, height: 4 }],
    [picture, undefined],
    [picture, { width: 4, height: 4 }, undefined],
  ],
  ["formatParameters", [undefined]],
  [
    "generateRefined",
    [undefined, { generate() {} }, { switchAt: 0.5 }],
    [{ generate() {} }, undefined, { switchAt: 0.5 }],
    [{ generate() {} }, { generate() {} }, undefined],
  ],
  ["hashWeights", [undefined]],
  ["infotext", [undefined], [{ options: undefined }]],
  ["loadTokenizer", [undefined]],
  ["namedLists", [undefined, {}]],
  ["nearest", [undefined, []], ["a", undefined]],
  ["parseFields", [undefined]],
  ["parseParameters", [undefined]],
  ["planGeneration", [undefined, undefined], [{}, undefined]],
  ["preprocess", [undefined, []], [picture, undefined]],
  ["readImage", [undefined], [picture, undefined]],
  ["readImageTexts", [undefined]],
  [
    "resize",
    [undefined, { width: 4, height: 4 }],
    [picture, undefined],
    [picture, { width: 4, height: 4 }, undefined],
  ],
  ["samplerPair", [undefined]],
  ["schedulerConfig", [undefined], ["ddim", undefined]],
  ["seedsOfPicture", [undefined, 0]],
  ["withParameters", [undefined, "a"], [new Uint8Array(9), undefined]],
];

const functions: Readonly<Record<string, unknown>> = { ...library };
const table = calls.flatMap(([name, ...forms]) => forms.map((form, i) => ({ name, form, i })));

describe("a slip in an argument is an error of ours, in words, or none", () => {
  it.each(table)("$name, form $i", async ({ name, form }) => {
    const call = functions[name] as (...args: unknown[]) => unknown;
    const told: string[] = [];
    for (const [slip, value] of Object.entries(slips)) {
      const at = form.indexOf(undefined);
      const given =
        at >= 0
          ? form.with(at, value)
          : form.map((argument) =>
              Object.fromEntries(Object.keys(argument as object).map((key) => [key, value])),
            );
      try {
        await call(...given);
      } catch (error) {
        if (error instanceof library.DiffusionError && error.code !== "INTERNAL") continue;
        told.push(`${slip}: ${error}`);
      }
    }
    expect(told).toEqual([]);
  });

  it.each([
    [5n, "5"],
    [Symbol("model"), "a symbol"],
    [() => "model", "a function"],
    [["emoji-diffusion-256"], "a list"],
    [new URL("file:///tmp"), "a URL"],
    [Buffer.from("emoji-diffusion-256"), "bytes"],
    ["", "an empty text"],
    [null, "null"],
    [{ path: "x" }, "an object"],
  ])("no model is called %s", async (given, inWords) => {
    const model = given as never;
    const error = new library.DiffusionError(
      "BAD_OPTION",
      `model: expected a folder, a file or a name, got ${inWords}`,
    );
    const ways = [
      () => library.generate({ model, prompt: "" }),
      () => library.StableDiffusion.load(model),
      () => library.describeModel(model),
      () => library.ImageUpscaler.load(model),
      () => library.describeUpscaler(model),
      () => library.isImageUpscaler(model),
      () => library.upscale(picture, { model }),
      () => library.unload(model),
    ];
    for (const way of ways) await expect(way()).rejects.toThrow(error.message);
    const hint = given instanceof URL ? "give its path: fileURLToPath(url)" : undefined;
    await expect(library.StableDiffusion.load(model)).rejects.toMatchObject({
      code: "BAD_OPTION",
      ...(hint && { hint }),
    });
  });

  it.each<[string, () => unknown, string]>([
    // The bytes of the numbers would be a picture of noise.
    [
      "pixels that are no bytes",
      () => library.encodePng({ width: 1, height: 1, data: new Float32Array(3) as never }),
      "Image: expected data as bytes (Uint8Array), got Float32Array",
    ],
    [
      "a picture to come",
      () => library.readImage(Promise.resolve() as never),
      "Image: expected a picture, got a promise",
    ],
    ["a folder", () => library.readImage("."), "Image: . is a folder"],
    ["a shape", () => library.createRng("torch", 1).normal([2, -1]), "shape: expected whole numbers, got -1"],
    [
      "no shape",
      () => library.createRng("torch", 1).normal(undefined as never),
      "shape: expected a list, got nothing",
    ],
    [
      "a run's setting",
      () => library.createScheduler("euler", { step: 20 } as never),
      "a run of a scheduler has no step",
    ],
    [
      "a listener",
      () => library.generate({ prompt: "", onProgress: true as never }),
      "onProgress: expected a function, got true",
    ],
    [
      "a signal",
      () => library.generate({ prompt: "", signal: {} as never }),
      "signal: expected an AbortSignal, got an object",
    ],
  ])("%s is told in words", async (_, call, message) => {
    await expect(async () => call()).rejects.toMatchObject({ name: "DiffusionError", message });
  });

  it("says what was expected and what came", () => {
    expect(() => library.parseParameters(null as never)).toThrow("parameters: expected text, got null");
    expect(() => library.resize(Promise.resolve() as never, { width: 1, height: 1 })).toThrow(
      expect.objectContaining({
        message: "image: expected a picture (an object with width, height and data), got a promise",
        hint: "await it first",
      }),
    );
  });
});
