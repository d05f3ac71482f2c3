import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { cachedRepositories, repoCache } from "../hub/cache.js";
import { hubSettings } from "../hub/settings.js";
import { defaultModels, describeModel } from "../index.js";
import { clipTokenizerFolder, defaultModelFolder } from "../pipeline/model-source.js";
import { readModel } from "../runtime/model.js";
import {
  type CachedModel,
  cleanGraphs,
  cleanModels,
  isOrphan,
  listModels,
} from "../weights/cache-entries.js";
import { cacheRoot } from "../weights/cache-root.js";
import type { Component, ModelSource } from "../weights/component.js";
import { openModel } from "../weights/model.js";
import { readAge } from "./arguments.js";
import { type Session, say, sayJson } from "./session.js";
import { bytesInWords, countInWords, tableOf } from "./wording.js";

export function addModels(program: Command, session: Session): void {
  const models = program
    .command("models")
    .summary("list, describe, check and clean models")
    .description("The models on this machine.");
  models
    .command("list")
    .description("Lists the models that come along, those from the hub, and converted weights.")
    .option("--cache-dir <folder>", "where converted weights are")
    .action(async ({ cacheDir }: { cacheDir?: string }) => list(session, cacheDir));
  models
    .command("info <model>")
    .description("Tells what a model is: a folder, file, hub name or name of a default model.")
    .action((model: string) => info(session, model));
  models
    .command("verify <model>")
    .description("Checks that a model's weights are all there, in the shapes that its configs ask for.")
    .action((model: string) => verify(session, model));
  models
    .command("clean")
    .description(
      "Removes converted weights whose model is gone or that were not used for long, and tells what stays. They are made again when they are needed. Models stay.",
    )
    .option("--older-than <age>", "not used for so long: 12h, 30d, 8w (default: 30d)", readAge)
    .option("--all", "all of them, and the saved graphs")
    .option("--cache-dir <folder>", "where converted weights are")
    .action((flags: CleanFlags) => clean(session, flags));
}

/** A model that is there, in bytes on disk. */
interface Found {
  readonly name: string;
  readonly folder: string;
  readonly bytes: number;
}

/** The models that come with the library, as far as they are there. */
export const foundDefaults = (): Found[] =>
  defaultModels
    .map((name) => ({ name, folder: defaultModelFolder(name) }))
    .filter(({ folder }) => existsSync(join(folder, "model_index.json")))
    .map((model) => ({ ...model, bytes: bytesOf(model.folder) }));

/** The repositories in the cache that all Hugging Face tools share; not all of them hold models of our kind. */
export async function foundInHubCache(): Promise<Found[]> {
  const { cacheDir } = hubSettings();
  const names = await cachedRepositories(cacheDir);
  return names.map((name) => {
    const { folder } = repoCache(cacheDir, name);
    return { name, folder, bytes: bytesOf(join(folder, "blobs")) };
  });
}

/** Bytes of all files below a folder; links count nothing, files that vanish meanwhile neither. */
export function bytesOf(folder: string): number {
  if (!existsSync(folder)) return 0;
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0)
    .reduce((sum, bytes) => sum + bytes, 0);
}

async function list(session: Session, cacheDir: string | undefined): Promise<void> {
  const root = cacheRoot(cacheDir);
  const [included, hub, converted] = [foundDefaults(), await foundInHubCache(), listModels(root)];
  if (session.json) return sayJson({ included, hub, converted, cache: root });
  const show = (title: string, rows: string[][]) =>
    say(`${title}\n${rows.length > 0 ? tableOf(rows.map((row) => ["", ...row])) : "  none"}\n`);
  const row = ({ name, bytes, folder }: Found) => [name, bytesInWords(bytes), folder];
  show("Included", included.map(row));
  show("From the hub", hub.map(row));
  show(
    `Converted weights in ${root}`,
    converted.map(({ label, precision, bytes, lastUsed }) => [
      label,
      precision,
      bytesInWords(bytes),
      `used ${dayOf(lastUsed)}`,
    ]),
  );
}

const open = async (model: string, { signal }: Session): Promise<ModelSource> =>
  openModel((await describeModel(model, { signal })).path, { tokenizer: clipTokenizerFolder() });

function networksOf({ unet, vae, textEncoders }: ModelSource): [part: string, network: Component][] {
  const encoders = textEncoders.map((network, i): [string, Component] => [
    i === 0 ? "text encoder" : `text encoder ${i + 1}`,
    network,
  ]);
  return [...encoders, ["UNet", unet], ...(vae ? [["VAE", vae] satisfies [string, Component]] : [])];
}

/** How many numbers a network has, and how they are stored. */
function measure(network: Component): { parameters: number; tensors: number; dtypes: string[] } {
  const checkpoint = network.open();
  try {
    const tensors = [...checkpoint.tensors.values()];
    const sizes = tensors.map(({ shape }) => shape.reduce((a, b) => a * b, 1));
    return {
      parameters: sizes.reduce((a, b) => a + b, 0),
      tensors: tensors.length,
      dtypes: [...new Set(tensors.map(({ dtype }) => dtype))],
    };
  } finally {
    checkpoint.close();
  }
}

const plain = (value: unknown): string => (typeof value === "object" ? JSON.stringify(value) : String(value));

async function info(session: Session, model: string): Promise<void> {
  const described = await describeModel(model, { signal: session.signal });
  const source = await open(model, session);
  const networks = networksOf(source).map(([part, network]) => ({
    part,
    className: network.className,
    path: network.weights.path,
    ...measure(network),
  }));
  if (session.json) return sayJson({ ...described, pipeline: source.pipeline, networks });
  const { name, path, kind, size, factor, scheduler, usual } = described;
  const of = kind === "text" ? "text to image" : kind;
  say(`${name}: ${of}, ${size}x${size}, sizes in steps of ${factor}, ${scheduler}\n${path}`);
  const defaults = Object.entries(usual).map(([key, value]) => `${key} ${plain(value)}`);
  say(`where nothing is said: ${defaults.join(", ")}\n`);
  say(
    tableOf(
      networks.map(({ part, className, parameters, dtypes }) => [
        part,
        className,
        `${countInWords(parameters)} parameters`,
        dtypes.join(", "),
      ]),
    ),
  );
}

async function verify(session: Session, model: string): Promise<void> {
  const source = await open(model, session);
  readModel(source); // strict: throws for a tensor that is missing, unused, or of another shape
  const networks = networksOf(source);
  const tensors = networks.reduce((sum, [, network]) => sum + measure(network).tensors, 0);
  if (session.json) return sayJson({ ok: true, path: source.path, networks: networks.length, tensors });
  say(
    `${source.path}: all ${tensors} tensors of ${networks.length} network${networks.length === 1 ? "" : "s"} are there and fit the configs`,
  );
}

interface CleanFlags {
  olderThan?: number;
  all?: boolean;
  cacheDir?: string;
}

const monthMs = readAge("30d");

function clean(session: Session, { olderThan = monthMs, all, cacheDir }: CleanFlags): void {
  const root = cacheRoot(cacheDir);
  const before = Date.now() - olderThan;
  const isOld = (lastUsed: Date) => all === true || lastUsed.getTime() < before;
  const removed = cleanModels(root, (model) => isOld(model.lastUsed) || isOrphan(model));
  const kept = listModels(root);
  const bytes = removed.reduce((sum, model) => sum + model.bytes, cleanGraphs(root, isOld));
  if (session.json) {
    const shown = ({ label, precision }: CachedModel) => ({ label, precision });
    sayJson({ removed: removed.map(shown), kept: kept.map(shown), bytes });
    return;
  }
  for (const { label, precision, bytes } of removed)
    say(`removed ${label} ${precision}, ${bytesInWords(bytes)}`);
  const days = Math.round(olderThan / readAge("1d"));
  const rest = all ? "" : ` (not used for ${days} days, or of models that are gone; --all takes the rest)`;
  say(`${bytesInWords(bytes)} freed${rest}`);
  for (const { label, precision, bytes, lastUsed } of kept)
    say(`kept ${label} ${precision}, ${bytesInWords(bytes)}, used ${dayOf(lastUsed)}`);
}

const dayOf = (time: Date): string => time.toISOString().slice(0, 10);
