import type { Family } from "./config.js";
import type { Prediction } from "./schedulers.js";

/** What the ModelSpec standard calls the families (`modelspec.architecture`), by how the names begin. */
const named: readonly (readonly [start: RegExp, family: Family | "other"])[] = [
  [/^stable-diffusion-xl.*refiner/, "refiner"],
  [/^stable-diffusion-xl/, "sdxl"],
  [/^stable-diffusion-v?2/, "sd2"],
  [/^stable-diffusion-v?1/, "sd1"],
  [/^(stable-diffusion-v?3|stable-cascade|stable-video|flux|auraflow|lumina|hunyuan|pixart)/, "other"],
];

const inWords: Readonly<Record<Family, string>> = {
  sd1: "Stable Diffusion 1",
  sd2: "Stable Diffusion 2",
  turbo: "Stable Diffusion 2",
  upscaler: "Stable Diffusion 2's upscaler",
  sdxl: "Stable Diffusion XL",
  refiner: "Stable Diffusion XL's refiner",
};
/** SD-Turbo and the upscaler are of the second version. */
const versionOf = (family: Family): Family => (/^(turbo|upscaler)$/.test(family) ? "sd2" : family);

type Metadata = ReadonlyMap<string, string>;
const saidIn = (metadata: Metadata): string => metadata.get("modelspec.architecture")?.trim() ?? "";

/** Says where a file's metadata names another family than its tensors are of, which decide. */
export function architectureNotes(metadata: Metadata, family: Family): string[] {
  const said = saidIn(metadata);
  const meant = named.find(([start]) => start.test(said.toLowerCase()))?.[1];
  return meant === undefined || meant === versionOf(family)
    ? []
    : [
        `the file's modelspec.architecture says ${JSON.stringify(said.slice(0, 100))}; its tensors are those of ${inWords[family]}, and are used so`,
      ];
}

/** What the UNet of a version of Stable Diffusion 2 predicts, where the name tells which it is. */
export function architecturePrediction(metadata: Metadata): Prediction | undefined {
  const [, version] = /^stable-diffusion-v?2-(512|768-v)/.exec(saidIn(metadata).toLowerCase()) ?? [];
  if (version === undefined) return undefined;
  return version === "512" ? "epsilon" : "v_prediction";
}
