import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { goldenCase, goldenPath } from "../testing/golden.js";
import { dictPickle, torchArchive } from "../testing/torch-writer.js";
import type { ModelSource } from "./component.js";
import { writeModel } from "./convert-model.js";
import { openFolder } from "./folder.js";
import { float16ToFloat32, float32ToFloat16 } from "./formats/float16.js";
import { openModel } from "./model.js";
import { loadTokenizer } from "./tokenizer-files.js";

const folder = mkdtempSync(join(tmpdir(), "convert-"));
afterAll(() => rmSync(folder, { recursive: true }));

const networks = ({ unet, vae, textEncoders }: ModelSource) => [unet, ...(vae ? [vae] : []), ...textEncoders];

function weightsOf(source: ModelSource): Map<string, Float32Array> {
  return new Map(
    networks(source).flatMap((network, i) => {
      const checkpoint = network.open();
      const values = [...checkpoint.tensors.keys()].map(
        (name) => [`${i} ${name}`, checkpoint.readFloat32(name)] as const,
      );
      checkpoint.close();
      return values;
    }),
  );
}

describe("writeModel", () => {
  it.each(["tiny-sd1", "tiny-sd2", "tiny-sdxl", "tiny-ddpm"].map((name) => [name] as const))(
    "%s: the same weights, configs and schedulers come back",
    (name) => {
      const source = openFolder(goldenPath(`models/${name}`));
      const target = join(folder, name);
      writeModel(source, target);
      const written = openFolder(target);
      expect(weightsOf(written)).toEqual(weightsOf(source));
      expect(networks(written).map(({ config }) => config)).toEqual(
        networks(source).map(({ config }) => config),
      );
      expect(written.scheduler).toEqual(source.scheduler);
      expect(written.pipeline).toBe(source.pipeline);
      expect(() => writeModel(source, target)).toThrow(/exists already/);
    },
  );

  it("a single file in half precision, with its pad token", async () => {
    const { config } = goldenCase("single-file/tiny-sd2");
    const opening = { tokenizer: "", config: goldenPath(config.config_from) };
    const source = openModel(goldenPath(config.checkpoint), opening);
    const tokenizers = source.tokenizers.map((tokenizer) => ({ ...tokenizer, padToken: "!" }));
    const target = join(folder, "half");
    writeModel({ ...source, tokenizers }, target, "fp16");
    const written = openFolder(target);
    for (const [name, data] of weightsOf(source))
      expect(weightsOf(written).get(name)).toEqual(float16ToFloat32(float32ToFloat16(data)));
    const { pad } = await loadTokenizer(written.tokenizers[0]!.folder);
    expect(pad).toBe((await loadTokenizer(source.tokenizers[0]!.folder, { padToken: "!" })).pad);
  });

  it("a pickle that holds no model is refused by what it lacks", () => {
    const path = join(folder, "empty.ckpt");
    writeFileSync(path, torchArchive(dictPickle({})));
    expect(() => openModel(path, { tokenizer: "" })).toThrow(/empty\.ckpt/);
  });
});
