import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { JsonObject } from "../disk/json.js";
import { goldenExtra, goldenPath, readTensors } from "../testing/golden.js";
import { thrown } from "../testing/thrown.js";
import { openCheckpoint } from "../weights/checkpoint.js";
import { openFolder } from "../weights/folder.js";
import { writeSafetensors } from "../weights/formats/safetensors.js";
import { openLora } from "./lora.js";
import { AdapterSet } from "./set.js";

const at = (name: string) => goldenExtra(`peft-kin/${name}`);
const tiny = goldenPath("models/tiny-sd1");
const base = openCheckpoint(join(tiny, "unet/diffusion_pytorch_model.safetensors"));
const folder = mkdtempSync(join(tmpdir(), "peft-"));
afterAll(() => {
  base.close();
  rmSync(folder, { recursive: true });
});

describe("kin of LoRA in PEFT's layout, against PEFT", () => {
  const merged = readTensors(at("merged.safetensors"));

  it.each(["loha", "loha-kernels", "lokr", "lokr-whole"])("%s", (name) => {
    const lora = openLora(at(name), { unet: base.tensors });
    const want = new Map(
      [...merged].flatMap(([key, { data }]) => {
        const [owner, tensor] = key.split("|");
        return owner === name ? [[tensor!, data] as const] : [];
      }),
    );
    expect(lora.targets.map((target) => target.name).sort()).toEqual([...want.keys()].sort());
    expect(lora.unmatched).toEqual([]);
    for (const target of lora.targets) {
      const weight = base.readFloat32(target.name);
      target.apply(weight, 1);
      expect(weight).toBeCloseTo32(want.get(target.name)!, { abs: 1e-6, rel: 1e-5 });
    }
    lora.close();
  });
});

describe("what adapter_config.json says", () => {
  /** The LoHa with another configuration. */
  function changed(name: string, more: JsonObject): string {
    const made = mkdtempSync(join(folder, `${name}-`));
    copyFileSync(at("loha/adapter_model.safetensors"), join(made, "adapter_model.safetensors"));
    const config = JSON.parse(readFileSync(at("loha/adapter_config.json"), "utf8"));
    writeFileSync(join(made, "adapter_config.json"), JSON.stringify({ ...config, ...more }));
    return made;
  }

  it.each(["pissa", "pissa_niter_4", "olora", "corda", "loftq"])("%s is refused by name", (value) => {
    const path = changed(value, { init_lora_weights: value });
    const error = thrown(() => openLora(path, { unet: base.tensors }));
    expect([error.code, error.message]).toEqual([
      "UNSUPPORTED",
      expect.stringContaining(`(init_lora_weights "${value}")`),
    ]);
  });

  it("keys that are not known are in the notes, those that say nothing are not", () => {
    const set = new AdapterSet(openFolder(tiny), []);
    set.addLora(changed("quiet", { init_lora_weights: "gaussian", use_bdlora: false, arrow_config: null }), {
      name: "quiet",
    });
    expect(set.inUse().notes).toEqual([]);
    set.addLora(changed("more", { use_bdlora: { groups: 2 }, velora: 3 }), { name: "more" });
    expect(set.inUse().notes).toEqual([
      "adapter_config.json of the LoRA more holds what is not known and not used: use_bdlora, velora",
    ]);
  });

  it.each([
    ["modules_to_save", "base_model.model.conv_in.weight", [16, 4, 3, 3]],
    ["modules_to_save", "unet.base_model.model.conv_in.weight", [16, 4, 3, 3]],
    ["bias", "base_model.model.down_blocks.0.resnets.0.conv1.base_layer.bias", [16]],
    ["AdaLoRA", "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_E", [2, 1]],
  ])("%s is refused by name", (name, key, shape) => {
    const path = join(folder, `${name}.safetensors`);
    const data = new Float32Array(shape.reduce((a, b) => a * b));
    writeSafetensors(path, new Map([[key, { dtype: "F32", shape, data }]]));
    const error = thrown(() => openLora(path, { unet: base.tensors }));
    expect([error.code, error.message]).toEqual(["UNSUPPORTED", expect.stringContaining(name)]);
  });
});
