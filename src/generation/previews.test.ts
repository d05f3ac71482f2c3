import { expect, it } from "vitest";
import type { Loaded } from "./loaded.js";
import { createPreviewer } from "./previews.js";

it("a preview that was aborted while its colours were learned leaves the next one as it would be", async () => {
  const shape = [1, 8, 8, 4];
  const latents = { shape, data: Float32Array.from({ length: 256 }, (_, i) => Math.sin(i)) };
  const previewer = (failures: number) => {
    let left = failures;
    /** Colours that follow the first three channels; the first calls end as those of an aborted generation do. */
    const decode = async ({ shape: [, height, width], data }: typeof latents) => {
      if (left-- > 0) throw new Error("aborted");
      const rgb = Float32Array.from(
        { length: height! * width! * 3 },
        (_, i) => data[Math.floor(i / 3) * 4 + (i % 3)]!,
      );
      return { shape: [1, height!, width!, 3], data: rgb };
    };
    const vae = { latentChannels: 4, scalingFactor: 1, shiftFactor: 0 };
    return createPreviewer({
      model: { vae },
      networks: { vae: { config: { kind: "kl" }, decode } },
    } as unknown as Loaded);
  };
  const preview = previewer(1);
  await expect(preview(latents)).rejects.toThrow("aborted");
  expect(await preview(latents)).toEqual(await previewer(0)(latents));
});
