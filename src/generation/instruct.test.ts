import { afterAll, describe, expect, it } from "vitest";
import { extraCases, type PromptCases } from "../testing/golden.js";
import { patternOf } from "../testing/golden-image.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

interface Case {
  readonly id: string;
  readonly rescale: number;
  readonly steps: number;
  readonly guidance: number;
  readonly imageGuidance: number;
}

const { about, expected } = extraCases<PromptCases<Case>>("instruct");

const base = {
  prompt: about.prompt,
  seed: about.seed,
  scheduler: "ddim",
  image: patternOf(about.size),
} as const;

describe("InstructPix2Pix", () => {
  it.each(about.cases.map((c) => [c.id, c] as const))(
    "guidanceRescale as in diffusers: %s",
    async (id, { rescale: guidanceRescale, steps, guidance, imageGuidance }) => {
      const model = await tinyModel("models/tiny-ip2p");
      const { latents, notes } = await model.generate({
        ...{ ...base, negativePrompt: about.negativePrompt, output: "latents" },
        ...{ guidanceRescale, steps, guidance, imageGuidance },
      });
      const want = expected(id);
      expect(latents.shape).toEqual(want.shape);
      expect(latents.data).toBeCloseTo32(want.data, { abs: 1e-3, rel: 1e-3 });
      expect(notes).toEqual([]);
    },
  );

  it("notes what a scale that is off takes with it", async () => {
    const model = await tinyModel("models/tiny-ip2p");
    const notesOf = async (more: object) =>
      (await model.generate({ ...base, steps: 1, output: "latents", ...more })).notes;
    const below = "has no effect: imageGuidance 0.5 is below 1, which turns all guidance off";
    expect(await notesOf({ imageGuidance: 0.5, guidance: 7, guidanceRescale: 0.3 })).toEqual([
      `guidanceRescale ${below}`,
      `guidance ${below}`,
    ]);
    // As much is to be known where the default is switched off.
    expect(await notesOf({ imageGuidance: 0.5 })).toEqual([`guidance ${below}`]);
    expect(await notesOf({ imageGuidance: 3, guidance: 1 })).toEqual([
      "imageGuidance has no effect: guidance 1 turns guidance off",
    ]);
    expect(await notesOf({ guidance: 1 })).toEqual([]);
  });
});
