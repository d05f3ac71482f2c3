import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { goldenPath } from "../testing/golden.js";
import type { ModelSource } from "../weights/component.js";
import { openFolder } from "../weights/folder.js";
import { writeSafetensors } from "../weights/formats/safetensors.js";
import {
  type Adapters,
  adaptCheckpoint,
  adaptedModel,
  adaptedPlaces,
  encoderNames,
  encoderWidths,
  tokenTable,
} from "./adapted-checkpoint.js";
import { plainMatMul } from "./lora-delta.js";

const folder = mkdtempSync(join(tmpdir(), "adapted-"));
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, tensors: Record<string, readonly number[]>): string {
  const path = join(folder, `${name}.safetensors`);
  const filled = Object.entries(tensors).map(([key, shape]) => {
    const data = new Float32Array(shape.reduce((product, n) => product * n, 1)).fill(1);
    return [key, { dtype: "F32", shape, data }] as const;
  });
  writeSafetensors(path, new Map(filled));
  return path;
}

test("the only text encoder of XL's refiner is what adapters call the second: LoRAs and learned words reach it", () => {
  const xl = openFolder(goldenPath("models/tiny-sdxl"));
  const second = xl.textEncoders[1]!;
  const settings = { ...xl.settings, text_encoder: [null, null] };
  const refiner: ModelSource = { ...xl, settings, textEncoders: [second] };
  expect([encoderNames(xl), encoderNames(refiner)]).toEqual([
    ["text_encoder", "text_encoder_2"],
    ["text_encoder_2"],
  ]);
  const width = second.config.hidden_size as number;
  expect(encoderWidths(adaptedModel(refiner))).toEqual({ text_encoder: width });

  const module = "text_model.encoder.layers.0.self_attn.out_proj";
  const key = `lora_te2_${module.replaceAll(".", "_")}`;
  const lora = write("lora", {
    [`${key}.lora_down.weight`]: [1, width],
    [`${key}.lora_up.weight`]: [width, 1],
  });
  const word = write("word", { clip_l: [1, 8], clip_g: [1, width] });
  const plain = second.open();
  const rows = plain.tensors.get(tokenTable)!.shape[0]!;
  const adapters: Adapters = {
    loras: [{ path: lora, scales: { unet: 0, text: 0.5 } }],
    words: [{ path: word, word: "word", vectors: 1, ids: [rows] }],
  };
  const adapted = adaptCheckpoint(second.open(), "text_encoder_2", {
    places: adaptedPlaces(refiner),
    adapters,
    matMul: plainMatMul,
  });
  const name = `${module}.weight`;
  const want = plain.readFloat32(name).map((value) => value + 0.5);
  expect(adapted.readFloat32(name)).toEqual(want);
  const table = adapted.readFloat32(tokenTable);
  expect(table).toHaveLength((rows + 1) * width);
  expect([...table.subarray(rows * width)]).toEqual(Array(width).fill(1));
  adapted.close();
  plain.close();
});
