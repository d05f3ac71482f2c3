import { readFile } from "node:fs/promises";
import { z } from "zod";
import { writeWhole } from "../../disk/whole-file.js";
import { precisions } from "../../index.js";

const schema = z.object({
  /** Label of the model that requests without one use. */
  model: z.string().optional(),
  /** As the web UI counts: 1 is the last layer. */
  clipSkip: z.number().int().min(1).max(12).default(1),
  rng: z.enum(["torch", "philox"]).default("torch"),
  /** Name of the autoencoder in place of the models' own. */
  vae: z.string().optional(),
  samplesFormat: z.enum(["png", "jpg", "webp"]).default("png"),
  /** Whether pictures that were prepared for ControlNets stand behind those of the web UI's API. */
  detectedMaps: z.boolean().default(true),
  /** Models that were prepared under "Optimize model", for the list at the next start. */
  prepared: z
    .array(
      z.object({
        name: z.string(),
        source: z.string(),
        precision: z.enum(precisions),
        info: z.object({
          path: z.string(),
          name: z.string(),
          kind: z.enum(["text", "inpainting", "instruct", "upscaling", "unconditional"]),
          size: z.number(),
          factor: z.number(),
          scheduler: z.string(),
          tokenizer: z.string().optional(),
        }),
      }),
    )
    .default([]),
});
export type SettingsData = z.infer<typeof schema>;

/** What the server remembers between starts. No token is ever part of it. */
export interface Settings {
  readonly data: Readonly<SettingsData>;
  set(changes: Partial<SettingsData>): Promise<void>;
}

/** Settings in a JSON file. One that cannot be read counts as absent: it holds nothing but conveniences. */
export async function openSettings(path: string): Promise<Settings> {
  const text = await readFile(path, "utf8").catch(() => "{}");
  let data = schema.parse({});
  try {
    data = schema.parse(JSON.parse(text));
  } catch {
    // As absent.
  }
  let last: Promise<void> = Promise.resolve();
  return {
    get data() {
      return data;
    },
    set(changes) {
      data = { ...data, ...changes };
      const written = last.then(() => writeWhole(path, JSON.stringify(data, null, 2), { mode: 0o600 }));
      last = written.catch(() => {});
      return written;
    },
  };
}
