import { describe, expect, it } from "vitest";
import { checkDescribeOptions, checkLayerOptions, checkLoadOptions, loadOptionNames } from "./load.js";

describe("options of loading", () => {
  it("are taken where they are sound", () => {
    checkLoadOptions({});
    checkLoadOptions({
      ...{ precision: "bf16", runtime: "eager", prediction: "v_prediction", threads: 2, memoryLimit: 1.5e9 },
      ...{ hangMs: 0.5, keepLoaded: false, vaeTiling: true, config: "a", vae: "b", taesd: "c", loraDir: "d" },
      ...{ cacheDir: "e", revision: "f", token: "g", offline: true },
      ...{ signal: new AbortController().signal, onProgress: () => {} },
    });
    checkLoadOptions({ precision: undefined } as never);
    checkLayerOptions({ model: "a", variant: "fp16", batch: 2, width: 64 });
  });

  it.each([
    [{ precison: "fp16" }, "there is no option precison", "did you mean precision?"],
    [{ keepLoded: false }, "there is no option keepLoded", "did you mean keepLoaded?"],
    [{ zebra: "fp16" }, "there is no option zebra", `options are ${loadOptionNames.join(", ")}`],
    [
      { variant: "fp16" },
      "there is no option variant",
      'precision "fp16" takes the float16 files where a model has both',
    ],
    [{ precision: "fp8" }, "precision must be fp32, fp16 or bf16, got fp8"],
    [{ runtime: "gpu" }, "runtime must be graph or eager, got gpu"],
    [{ prediction: "x" }, "prediction must be epsilon or v_prediction, got x"],
    [{ keepLoaded: "no" }, "keepLoaded must be true or false, got no"],
    [{ vaeTiling: 1 }, "vaeTiling must be true or false, got 1"],
    [{ threads: 0 }, "threads must be a whole number above 0, got 0"],
    [{ threads: 1.5 }, "threads must be a whole number above 0, got 1.5"],
    [{ threads: 100_000 }, "threads must be at most 1024, got 100000"],
    [{ memoryLimit: 0 }, "memoryLimit must be above 0, got 0"],
    [{ hangMs: "1" }, "hangMs must be a number above 0, got 1"],
    [{ vae: 3 }, "vae must be text, got 3"],
    [{ taesdFor: "previews" }, "taesdFor needs taesd", "it says what that decodes"],
    [{ onProgress: 1 }, "onProgress must be a function, got 1"],
  ])("%j is refused", (options, message, hint?: string) => {
    expect(() => checkLoadOptions(options as never)).toThrow(
      expect.objectContaining({ code: "BAD_OPTION", message, ...(hint && { hint }) }),
    );
  });

  it("of a layer, and of a model that is only described, are checked as well", () => {
    expect(() => checkLayerOptions({ widht: 64 } as never)).toThrow(
      expect.objectContaining({ message: "there is no option widht", hint: "did you mean width?" }),
    );
    expect(() => checkDescribeOptions({ ofline: true } as never)).toThrow(
      expect.objectContaining({ message: "there is no option ofline", hint: "did you mean offline?" }),
    );
  });
});
