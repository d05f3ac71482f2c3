import { readFile } from "node:fs/promises";
import { z } from "zod";
import { diskError } from "../../disk/disk-error.js";
import { withFileLock } from "../../disk/file-lock.js";
import { writeWhole } from "../../disk/whole-file.js";
import { precisions } from "../../index.js";
import { emphasisLabels } from "../../options/choices.js";
import { dataFolderHint } from "./data-folder.js";

const score = z.number().min(0).max(10);

/** Settings that requests of the web UI's API go by where they say nothing else, under its names. */
export const webuiSettings = z.object({
  emphasis: z.enum(Object.values(emphasisLabels)).nullish(),
  /** For samplers that add noise at each step, and for DDIM. */
  eta_ancestral: z.number().min(0).max(1).nullish(),
  eta_ddim: z.number().min(0).max(1).nullish(),
  /** 0 is none. */
  token_merging_ratio: z.number().min(0).max(0.75).nullish(),
  /** In place of the other where it is not 0. */
  token_merging_ratio_img2img: z.number().min(0).max(0.75).nullish(),
  img2img_fix_steps: z.boolean().nullish(),
  pad_cond_uncond: z.boolean().nullish(),
  enable_prompt_comments: z.boolean().nullish(),
  sdxl_refiner_high_aesthetic_score: score.nullish(),
  sdxl_refiner_low_aesthetic_score: score.nullish(),
});
export type WebuiSettings = z.infer<typeof webuiSettings>;

const schema = z.object({
  /** Label of the model that requests without one use. */
  model: z.string().optional(),
  /** As the web UI counts: 1 is the last layer. */
  clipSkip: z.number().int().min(1).max(12).default(1),
  rng: z.enum(["torch", "philox"]).default("torch"),
  /** Name of the autoencoder in place of the models' own. */
  vae: z.string().optional(),
  /** Signs the addresses of pictures that OpenAI's clients fetch without a login. */
  linkSecret: z.string().optional(),
  samplesFormat: z.enum(["png", "jpg", "webp"]).default("png"),
  /** Whether pictures that were prepared for ControlNets stand behind those of the web UI's API. */
  detectedMaps: z.boolean().default(true),
  webui: webuiSettings.default({}),
  /** Keys of the pictures that somebody likes. */
  favourites: z.array(z.string()).default([]),
  /** Models that were prepared under "Optimize model", for the list at the next start. */
  prepared: z
    .array(z.object({ name: z.string(), source: z.string(), precision: z.enum(precisions) }))
    .default([]),
});
export type SettingsData = z.infer<typeof schema>;

type Change = Partial<SettingsData> | ((now: SettingsData) => Partial<SettingsData>);

/** What the server remembers between starts. No token is ever part of it. */
export interface Settings {
  readonly data: Readonly<SettingsData>;
  /** @param change what changes, or how to make it of what another server may have written meanwhile */
  set(change: Change): Promise<void>;
}

/**
 * Settings in a JSON file, which servers on one queue share: each change is made under a lock, to what the file says
 * by then. One that cannot be read counts as absent: it holds nothing but conveniences.
 */
export async function openSettings(path: string): Promise<Settings> {
  let data = await readSettings(path);
  let last: Promise<void> = Promise.resolve();
  return {
    get data() {
      return data;
    },
    set(change) {
      const changed = (now: SettingsData) => ({
        ...now,
        ...(typeof change === "function" ? change(now) : change),
      });
      data = changed(data); // at once for whoever asks here
      const write = async () => {
        data = changed(await readSettings(path));
        await writeWhole(path, JSON.stringify(data, null, 2), { mode: 0o600, hint: dataFolderHint });
      };
      const written = last
        .then(() => withFileLock(`${path}.lock`, undefined, write))
        .catch((cause: unknown) => {
          throw diskError(path, cause, dataFolderHint);
        });
      last = written.catch(() => {});
      return written;
    },
  };
}

async function readSettings(path: string): Promise<SettingsData> {
  try {
    return schema.parse(JSON.parse(await readFile(path, "utf8")));
  } catch {
    return schema.parse({});
  }
}
