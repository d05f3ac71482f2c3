import { afterAll, describe, expect, it } from "vitest";
import type { GenerateOptions } from "../options/options.js";
import { extraCases, type PromptCases } from "../testing/golden.js";
import { patternOf } from "../testing/golden-image.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

interface Case {
  readonly id: string;
  readonly model: string;
  readonly scheduler: "ddim" | "euler";
  readonly steps: number;
  readonly guidance: number;
  readonly rescale?: number;
  readonly size?: [height: number, width: number];
  readonly freeu?: GenerateOptions["freeu"];
  readonly pag?: GenerateOptions["pag"];
  readonly strength?: number;
}

const { about, expected } = extraCases<PromptCases<Case>>("quality");

/** The picture and the mask of make.py. */
function picture() {
  const side = about.size;
  const levels = Array.from({ length: side * side }, (_, i) => Math.floor(((i % side) * 255) / (side - 1)));
  return { image: patternOf(side), mask: { width: side, height: side, data: Uint8Array.from(levels) } };
}

const optionsOf = ({ scheduler, steps, guidance, ...c }: Case): GenerateOptions => ({
  ...{ prompt: about.prompt, negativePrompt: about.negativePrompt, seed: about.seed },
  ...{ scheduler, steps, guidance, output: "latents" },
  height: c.size?.[0] ?? about.size,
  width: c.size?.[1] ?? about.size,
  ...(c.rescale !== undefined && { guidanceRescale: c.rescale }),
  ...(c.freeu && { freeu: c.freeu }),
  ...(c.pag && { pag: c.pag }),
  ...(c.strength !== undefined && { ...picture(), softMask: true, strength: c.strength }),
});

describe("FreeU, perturbed attention guidance and soft masks, against diffusers", () => {
  it.each(about.cases.map((c) => [c.id, c] as const))("%s", async (id, c) => {
    const model = await tinyModel(c.model);
    const { latents } = await model.generate(optionsOf(c));
    const want = expected(id);
    expect(latents.shape).toEqual(want.shape);
    expect(latents.data).toBeCloseTo32(want.data, { abs: 1e-3, rel: 1e-3 });
  });

  it.each(["freeu", "pag-layers"])("%s as a graph, too", async (id) => {
    const c = about.cases.find((c) => c.id === id)!;
    const model = await tinyModel(c.model, { runtime: "graph" });
    const { latents } = await model.generate(optionsOf(c));
    expect(latents.data).toBeCloseTo32(expected(id).data, { abs: 1e-3, rel: 1e-3 });
  });
});

describe("what they change", () => {
  const base: GenerateOptions = {
    ...{ prompt: "a fox", seed: 3, steps: 3, width: 32, height: 32, guidance: 3 },
    ...{ scheduler: "ddim", output: "latents" },
  };
  const draw = async (options: GenerateOptions) =>
    (await (await tinyModel("models/tiny-sd1")).generate({ ...base, ...options })).latents.data;

  it("nothing with factors of 1 or a scale of 0", async () => {
    const plain = await draw({});
    expect(await draw({ freeu: { b1: 1, b2: 1, s1: 1, s2: 1 } })).toBeCloseTo32(plain, { abs: 1e-5 });
    expect(await draw({ pag: { scale: 0 } })).toEqual(plain);
    expect(await draw({ pag: { scale: 2 } })).not.toEqual(plain);
  });

  it("a soft mask keeps black pixels to the bit", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const { image, mask } = picture();
    const options = { ...base, ...picture(), width: 48, height: 48, output: "image" } as const;
    const { images } = await model.generate({ ...options, softMask: true, maskBlur: 0 });
    const changed = (level: (value: number) => boolean) =>
      [...mask.data.keys()].filter(
        (i) => level(mask.data[i]!) && images[0]!.data[3 * i] !== image.data[3 * i],
      ).length;
    expect(changed((level) => level === 0)).toBe(0);
    expect(changed((level) => level > 128)).toBeGreaterThan(0);
  });

  it("is refused by name where it means nothing", async () => {
    await expect(draw({ pag: { scale: 3, layers: ["middle"] } })).rejects.toMatchObject({
      message: "layers: the UNet has no self-attention in middle",
      hint: expect.stringContaining("down, mid, up, and down_blocks.0.attentions.0"),
    });
    const both = draw({ pag: { scale: 3 }, prompt: "a fox AND a castle", promptSyntax: "a1111" });
    await expect(both).rejects.toThrow("pag is for one prompt");
    await expect(draw({ pag: { scale: 3 }, deepCache: { interval: 2 } })).rejects.toThrow(/contradict/);
    await expect(draw({ softMask: true })).rejects.toThrow("softMask needs a mask");
    await expect(draw({ freeu: { b1: 1 } as never })).rejects.toThrow(/freeu\.b2/);
    const sees = await tinyModel("models/tiny-sd1-inpaint");
    const { image, mask } = picture();
    await expect(sees.generate({ prompt: "", image, mask, softMask: true })).rejects.toThrow(
      /sees the mask itself/,
    );
  });
});
