import { expect, test } from "vitest";
import { hiresUpscalers } from "./choices.js";
import { ownUpscalerName, webuiUpscalerName } from "./upscaler-names.js";

test("the web UI's names lead back to ours, in any case", () => {
  for (const name of [...hiresUpscalers, "RealESRGAN_x4plus", "emoji-x4-compact"])
    expect(ownUpscalerName(webuiUpscalerName(name).toUpperCase()).toLowerCase()).toBe(name.toLowerCase());
  expect(webuiUpscalerName("latent-bilinear-antialiased")).toBe("Latent (antialiased)");
  expect(webuiUpscalerName("/x/RealESRGAN_x2plus.pth")).toBe("R-ESRGAN 2x+");
  expect(webuiUpscalerName("C:\\x\\4x-UltraSharp.safetensors")).toBe("4x-UltraSharp");
  expect(ownUpscalerName("Latent")).toBe("latent");
});
