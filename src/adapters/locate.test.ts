import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { goldenPath } from "../testing/golden.js";
import { thrown } from "../testing/thrown.js";
import { openFolder } from "../weights/folder.js";
import { writeSafetensors } from "../weights/formats/safetensors.js";
import { AdapterSet } from "./set.js";

const folder = mkdtempSync(join(tmpdir(), "locate-"));
afterAll(() => rmSync(folder, { recursive: true }));

const key = "lora_te_text_model_encoder_layers_0_self_attn_q_proj";
const ones = (shape: number[]) => ({
  dtype: "F32",
  shape,
  data: new Float32Array(shape.reduce((product, n) => product * n, 1)).fill(1),
});

/** A LoRA of one module, as kohya's scripts write it. */
function lora(path: string, trainedAs?: string): string {
  const tensors = { [`${key}.lora_down.weight`]: ones([1, 32]), [`${key}.lora_up.weight`]: ones([32, 1]) };
  const metadata = trainedAs === undefined ? {} : { ss_output_name: trainedAs };
  writeSafetensors(join(folder, path), new Map(Object.entries(tensors)), metadata);
  return join(folder, path);
}

describe("what a prompt calls a LoRA of the folder", () => {
  mkdirSync(join(folder, "more"));
  const style = lora("style-v3.safetensors", "Inky Style");
  lora("plain.safetensors");
  lora("one.safetensors", "twin");
  lora("more/two.safetensors", "twin");
  const named = lora("Taken.safetensors", "plain");
  writeFileSync(join(folder, "damaged.safetensors"), "not weights at all");
  const set = new AdapterSet(openFolder(goldenPath("models/tiny-sd1")), [], folder);
  const paths = (name: string) =>
    set.inUse([{ kind: "lora", name, weight: 1, unetWeight: 1 }]).adapters.loras.map(({ path }) => path);

  test("its file's name, wherever it lies", () => {
    expect(paths("style-v3")).toEqual([style]);
    expect(paths("two")).toEqual([join(folder, "more/two.safetensors")]);
  });

  test("the name that it was trained under", () => {
    expect(paths("Inky Style")).toEqual([style]);
    expect(paths("inky style")).toEqual([style]);
  });

  test("a file's name goes before another's training", () => {
    expect(paths("plain")).toEqual([join(folder, "plain.safetensors")]);
    expect(paths("Taken")).toEqual([named]);
  });

  test("several of one name are told", () => {
    const error = thrown(() => paths("twin"));
    expect(error.code).toBe("BAD_OPTION");
    expect(error.message).toMatch(/several LoRAs were trained under the name twin .*(one, two|two, one)/);
    expect(error.hint).toMatch(/by its file/);
  });

  test("a name that nothing has", () => {
    expect(thrown(() => paths("stile-v3"))).toMatchObject({ hint: expect.stringMatching(/style-v3/) });
  });
});
