import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { goldenExtra, goldenPath } from "../testing/golden.js";
import { thrown } from "../testing/thrown.js";
import { openCheckpoint } from "../weights/checkpoint.js";
import { openSafetensors, writeSafetensors } from "../weights/formats/safetensors.js";
import {
  crossAttentions,
  openImageProjection,
  openPictureAttention,
  withPictureAttention,
} from "./ip-adapter.js";

const folder = mkdtempSync(join(tmpdir(), "ip-adapter-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const plain = goldenExtra("ip-adapter/plain.safetensors");
const unetFile = goldenPath("models/tiny-sd1/unet/diffusion_pytorch_model.safetensors");

function unetTensors() {
  const unet = openCheckpoint(unetFile);
  unet.close();
  return unet.tensors;
}

/** The plain adapter with its tensors changed. */
function changed(
  change: (tensors: Map<string, { shape: readonly number[]; data: Float32Array }>) => void,
): string {
  const file = openSafetensors(plain);
  const tensors = new Map(
    [...file.tensors].map(([name, { shape }]) => [name, { shape, data: file.readFloat32(name) }] as const),
  );
  file.close();
  change(tensors);
  const path = join(folder, `${Math.random()}.safetensors`);
  writeSafetensors(
    path,
    new Map([...tensors].map(([name, { shape, data }]) => [name, { dtype: "F32", shape, data }])),
  );
  return path;
}

describe("the order of cross-attentions", () => {
  it("is the way down, the way up, the middle, and numbers are numbers", () => {
    const names = [
      "mid_block.attentions.0.transformer_blocks.0",
      "up_blocks.1.attentions.2.transformer_blocks.0",
      "up_blocks.0.attentions.0.transformer_blocks.10",
      "up_blocks.0.attentions.0.transformer_blocks.9",
      "down_blocks.2.attentions.1.transformer_blocks.0",
      "down_blocks.2.attentions.0.transformer_blocks.1",
      "down_blocks.10.attentions.0.transformer_blocks.0",
    ];
    const tensor = { dtype: "F32", shape: [4, 4] };
    const unet = new Map(
      names.flatMap((name) =>
        ["attn1", "attn2"].map((which) => [`${name}.${which}.to_k.weight`, tensor] as const),
      ),
    );
    expect(crossAttentions(unet)).toEqual([5, 4, 6, 3, 2, 1, 0].map((i) => `${names[i]}.attn2`));
  });
});

describe("an IP-Adapter over a UNet", () => {
  it("adds keys and values under diffusers' names, and changes nothing else", () => {
    const unet = openCheckpoint(unetFile);
    const both = withPictureAttention(unet, [plain, plain]);
    const stored = openSafetensors(plain);
    const layers = crossAttentions(unet.tensors);
    expect(both.tensors.size).toBe(unet.tensors.size + 4 * layers.length);
    expect(both.changed?.names.size).toBe(4 * layers.length);
    const name = `${layers[2]}.processor.to_v_ip.1.weight`;
    expect(both.readFloat32(name)).toEqual(stored.readFloat32("ip_adapter.5.to_v_ip.weight"));
    expect(both.readFloat32("conv_in.weight")).toEqual(unet.readFloat32("conv_in.weight"));
    expect(both.id).toBe(unet.id);
    stored.close();
    both.close();
  });

  it("names image_proj as it stands, and the queries of plus as a table", () => {
    const projection = openImageProjection(goldenExtra("ip-adapter/plus.safetensors"));
    expect(projection.tensors.get("latent_embedding")?.shape).toEqual([5, 16]);
    expect([...projection.tensors.keys()].some((name) => name.startsWith("ip_adapter"))).toBe(false);
    projection.close();
  });
});

describe("refuses", () => {
  const refusal = (path: string) => {
    const { code, message } = thrown(() => openPictureAttention(path, unetTensors(), 0).close());
    return `${code} ${message}`;
  };

  it.each([
    [
      "another width",
      /WEIGHT_SHAPE .*ip_adapter\.1\.to_k_ip\.weight is \[16,31\], .*to_k\.weight is \[16,32\]/,
      "shape",
    ],
    ["too few layers", /WEIGHT_SHAPE .*ip_adapter\.13\.to_k_ip\.weight is missing/, "missing"],
    ["too many layers", /WEIGHT_SHAPE .*is for 8 cross-attentions, this model has 7/, "extra"],
    ["FaceID", /UNSUPPORTED .*face embeddings/, "face"],
    ["what is none", /MODEL_KIND .*is no IP-Adapter/, "none"],
  ] as const)("%s", (_, message, what) => {
    const path = changed((tensors) => {
      const first = tensors.get("ip_adapter.1.to_k_ip.weight")!;
      if (what === "shape")
        tensors.set("ip_adapter.1.to_k_ip.weight", { shape: [16, 31], data: first.data.slice(0, 16 * 31) });
      if (what === "missing") tensors.delete("ip_adapter.13.to_k_ip.weight");
      if (what === "extra") tensors.set("ip_adapter.15.to_k_ip.weight", first);
      if (what === "face") tensors.set("ip_adapter.1.to_k_lora.down.weight", first);
      if (what === "none")
        for (const name of [...tensors.keys()]) if (name.startsWith("image_proj")) tensors.delete(name);
    });
    expect(refusal(path)).toMatch(message);
  });
});
