/** What a model is best drawn with, beside its model_index.json: names and values of `generate`'s options. */
export const generationDefaultsFile = "generation_defaults.json";

/** Whose names the weights of a network have: diffusers' for UNets and autoencoders, transformers' for text encoders. */
export type Naming = "diffusers" | "transformers";

const stems: Readonly<Record<Naming, { readonly safe: string; readonly pickles: readonly string[] }>> = {
  diffusers: { safe: "diffusion_pytorch_model", pickles: ["diffusion_pytorch_model"] },
  transformers: { safe: "model", pickles: ["pytorch_model", "model"] },
};

/**
 * What the weights of a network may be called, best first: the wished variant, else the plain ones, else those in half
 * precision; a whole file before shards. Pickles, from before safetensors, come after all of these: they are read, not
 * run.
 */
export function weightNames(namings: readonly Naming[], variant?: string): string[] {
  const variants = [variant, "", "fp16"].filter((name) => name !== undefined);
  const named = (stemsOf: (naming: Naming) => readonly string[], ending: string) =>
    variants.flatMap((name) => namings.flatMap(stemsOf).flatMap((stem) => namesOf(stem, name, ending)));
  return [
    ...named((naming) => [stems[naming].safe], "safetensors"),
    ...named((naming) => stems[naming].pickles, "bin"),
  ];
}

/** The file, its index as it is named today, and as diffusers named it before 0.28. */
function namesOf(stem: string, variant: string, ending: string): string[] {
  if (variant === "") return [`${stem}.${ending}`, `${stem}.${ending}.index.json`];
  return [
    `${stem}.${variant}.${ending}`,
    `${stem}.${ending}.index.${variant}.json`,
    `${stem}.${variant}.${ending}.index.json`,
  ];
}

/** An index says in which of several files a tensor is. */
export const isShardIndex = (file: string): boolean =>
  /\.(safetensors|bin)\.index(\.[\w-]+)?\.json$/.test(file);

/** Shards lie beside their index, and hold weights: an index that names anything else is refused. */
export const isShardName = (name: unknown): name is string =>
  typeof name === "string" && /^[\w-][\w.-]*\.(safetensors|bin)$/.test(name);
