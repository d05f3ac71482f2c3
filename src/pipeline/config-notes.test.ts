import { existsSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../disk/json.js";
import { createScheduler } from "../schedulers/scheduler.js";
import { goldenPath } from "../testing/golden.js";
import { thrown } from "../testing/thrown.js";
import { openFolder } from "../weights/folder.js";
import { configNotes } from "./config-notes.js";
import { ownWeights } from "./model-source.js";

const model = openFolder(goldenPath("models/tiny-sd1"));
type Part = "unet" | "vae" | "text" | "scheduler" | "settings";

/** A model one of whose configurations holds more. */
function withKeys(part: Part, more: JsonObject) {
  const added = <T extends { readonly config: JsonObject }>(at: T): T => ({
    ...at,
    config: { ...at.config, ...more },
  });
  switch (part) {
    case "unet":
      return { ...model, unet: added(model.unet) };
    case "vae":
      return { ...model, vae: added(model.vae!) };
    case "text":
      return { ...model, textEncoders: model.textEncoders.map(added) };
    case "scheduler":
      return { ...model, scheduler: { ...model.scheduler, ...more } };
    case "settings":
      return { ...model, settings: { ...model.settings, ...more } };
  }
}

describe("configurations of models", () => {
  test.each<[Part, JsonObject, RegExp]>([
    [
      "unet",
      { attention_sinks: 4 },
      /^unet\/config\.json holds what is not known and not used: attention_sinks$/,
    ],
    ["vae", { tanh_out: true, resamp: 1 }, /^vae\/config\.json holds .*: tanh_out, resamp$/],
    ["text", { rope_theta: 1 }, /^text_encoder(_2)?\/config\.json holds .*: rope_theta$/],
    ["scheduler", { skip_every_other: true }, /^the scheduler's configuration holds .*: skip_every_other$/],
    ["settings", { is_cosxl_edit: true }, /^model_index\.json holds .*: is_cosxl_edit$/],
    [
      "settings",
      { controlnet: ["diffusers", "ControlNetModel"] },
      /^model_index\.json names a controlnet \(ControlNetModel\), which is not loaded$/,
    ],
  ])("%s: %j is named", (part, more, message) => {
    const notes = configNotes(withKeys(part, more));
    expect(notes.length).toBeGreaterThan(0);
    for (const note of notes) expect(note).toMatch(message);
  });

  test.each<[Part, JsonObject]>([
    ["unet", { dropout: 0.1, upcast_attention: true, _name_or_path: "x" }],
    ["vae", { force_upcast: true }],
    ["text", { torch_dtype: "float16", transformers_version: "4.25.0", use_cache: true, num_beams: 1 }],
    ["scheduler", { skip_prk_steps: true, solver_order: 2, flow_shift: 1, use_flow_sigmas: false }],
    ["scheduler", { noise_sampler_seed: 3 }], // of a class that reads it, and left over by others
    ["settings", { safety_checker: ["stable_diffusion", "SafetyChecker"], requires_safety_checker: true }],
    ["settings", { image_encoder: [null, null], controlnet: [null, null] }],
  ])("%s: %j changes no picture", (part, more) => {
    expect(configNotes(withKeys(part, more))).toEqual([]);
  });

  test("every model of the reference, and those that come along, are known to the last key", () => {
    const folders = readdirSync(goldenPath("models"))
      .map((name) => goldenPath(`models/${name}`))
      .filter((folder) => existsSync(`${folder}/model_index.json`));
    for (const name of ["emoji-diffusion-256", "emoji-diffusion-256-inpaint", "butterflies-64"])
      folders.push(ownWeights(name));
    for (const folder of folders) expect([folder, configNotes(openFolder(folder))]).toEqual([folder, []]);
    expect(folders.length).toBeGreaterThan(4);
  });
});

test.each([["UniPCMultistepScheduler", { solver_p: { _class_name: "DDIMScheduler" } }]])(
  "%s: %j is refused by its name",
  (_class_name, more) => {
    const [key] = Object.keys(more);
    const error = thrown(() => createScheduler({ _class_name, ...more }, { steps: 3 }));
    expect([error.code, error.message]).toEqual(["UNSUPPORTED", expect.stringContaining(key!)]);
    const unset = { _class_name, [key!]: null };
    expect(createScheduler(unset, { steps: 3 }).timesteps.length).toBeGreaterThan(2);
    expect(
      createScheduler({ ...more, _class_name: "EulerDiscreteScheduler" }, { steps: 3 }).timesteps,
    ).toHaveLength(3);
  },
);
