import { freemem, totalmem } from "node:os";
import { basename } from "node:path";
import type { Hono } from "hono";
import { schedulerEntries, scheduleTypes } from "../../../index.js";
import type { Parts } from "../../jobs/accept.js";
import { upscalerNames } from "../../jobs/accept-upscale.js";
import { shortHash } from "../../jobs/weight-hashes.js";

/** What there is, and what there is none of. Where the web UI's schema says string, "" is what is not known. */
export function addLists(app: Hono, { models, styles }: Parts): void {
  const list = (path: string, value: () => object | Promise<object>) =>
    app.get(`/sdapi/v1/${path}`, async (c) => c.json(await value()));
  list("samplers", () =>
    schedulerEntries.map(({ label, name, aliases }) => ({
      name: label,
      aliases: [...new Set([...aliases, name])].filter((alias) => alias !== label),
      options: {},
    })),
  );
  list("schedulers", () =>
    ["automatic", ...scheduleTypes].map((name) => ({
      name,
      label: name.replaceAll("_", " ").replace(/\b\w/g, (letter) => letter.toUpperCase()),
      aliases: [],
      default_rho: { karras: 7, polyexponential: 1 }[name] ?? -1,
      need_inner_model: ["uniform", "sgm_uniform", "simple", "normal", "ddim_uniform", "beta"].includes(name),
    })),
  );
  list("sd-models", () =>
    models.list().map(({ label, name, info }) => {
      const sha256 = models.hashes.of(info.path) ?? "";
      return {
        title: label,
        model_name: label,
        hash: shortHash(sha256),
        sha256,
        filename: name,
        config: "",
      };
    }),
  );
  list("upscalers", async () => {
    const networks = new Map((await models.upscalers.list()).map(({ name, scale }) => [name, scale]));
    return ["None", ...(await upscalerNames(models))].map((name) => ({
      name,
      model_name: networks.has(name) ? name : "",
      model_path: networks.has(name) ? name : "",
      model_url: "",
      scale: name === "None" ? 1 : (networks.get(name) ?? 4),
    }));
  });
  list("latent-upscale-modes", () =>
    ["", " (antialiased)", " (bicubic)", " (bicubic antialiased)", " (nearest)", " (nearest-exact)"].map(
      (mode) => ({ name: `Latent${mode}` }),
    ),
  );
  list("embeddings", async () => {
    const found = (await models.files.learnedWords()).map(({ name, vectors, width }) => [
      name,
      { step: null, sd_checkpoint: null, sd_checkpoint_name: null, shape: width, vectors },
    ]);
    return { loaded: Object.fromEntries(found), skipped: {} };
  });
  list("scripts", async () => {
    const scripts = (await models.files.controls()).length > 0 ? ["controlnet"] : [];
    return { txt2img: scripts, img2img: scripts };
  });
  list("cmd-flags", () => ({}));
  list("memory", () => {
    const total = totalmem();
    const free = freemem();
    return { ram: { free, used: total - free, total }, cuda: { error: "unavailable" } };
  });
  // Names, not paths: where things lie on this machine is nobody's business.
  list("sd-vae", async () =>
    (await models.files.vaes()).map(({ name, path }) => ({ model_name: name, filename: basename(path) })),
  );
  list("loras", async () =>
    (await models.files.loras()).map(({ name, path }) => ({
      name,
      alias: name,
      path: basename(path),
      metadata: {},
    })),
  );
  list("prompt-styles", async () =>
    (await styles.list()).map(({ negativePrompt, ...style }) => ({
      ...style,
      negative_prompt: negativePrompt,
    })),
  );
  for (const none of ["hypernetworks", "face-restorers", "realesrgan-models", "script-info", "extensions"])
    list(none, () => []);
}
