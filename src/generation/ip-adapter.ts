import { existsSync, statSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { requireIpAdapter } from "../adapters/ip-adapter.js";
import { type Locate, locateAdapter } from "../adapters/locate.js";
import { DiffusionError, nearest } from "../errors.js";
import { parseHubReference } from "../hub/hub.js";
import { clipPixels } from "../image/clip-pixels.js";
import { readImage } from "../image/read.js";
import { batched } from "../latents/batch.js";
import type { Values } from "../latents/latents.js";
import type { ResolvedPicturePrompt } from "../options/resolved.js";
import type { UNetInput } from "../runtime/networks/inputs.js";
import type { IpAdapter } from "../runtime/networks/ip-adapter.js";
import { actsAt } from "./guidance.js";

export interface IpAdapterInfo {
  readonly name: string;
  readonly path: string;
  /** The folder of its image encoder. */
  readonly imageEncoder: string;
  /** What the image encoder's config holds that is not used. */
  readonly notes: readonly string[];
}

/** Pictures that the UNet sees beside the prompt. */
export interface PicturePrompt extends Pick<ResolvedPicturePrompt, "scale" | "start" | "end"> {
  /** The IP-Adapter's file. */
  readonly path: string;
  /** [1, T, D], and the same for no picture. */
  readonly tokens: Values;
  readonly none: Values;
  readonly notes: readonly string[];
}

/** Pictures that are not encoded yet, and the IP-Adapter that they are for. */
export interface OpenedPicturePrompt extends Pick<PicturePrompt, "path" | "notes"> {
  readonly input: ResolvedPicturePrompt;
  readonly networks: IpAdapter;
}

/** Makes the networks of an IP-Adapter; throws for one that does not fit the model. */
export type OpenIpAdapter = (
  path: string,
  imageEncoder: string,
) => { readonly networks: IpAdapter; readonly notes: readonly string[] };

/** The IP-Adapters of a model. */
export class IpAdapterSet {
  readonly #open: OpenIpAdapter;
  readonly #locate: Locate;
  readonly #loaded = new Map<string, IpAdapterInfo & { readonly networks: IpAdapter }>();

  constructor(open: OpenIpAdapter, locate: Locate) {
    this.#open = open;
    this.#locate = locate;
  }

  get all(): readonly IpAdapterInfo[] {
    return [...this.#loaded.values()].map(({ networks: _, ...info }) => info);
  }

  async add(name: string, options: { name?: string; imageEncoder?: string } = {}): Promise<IpAdapterInfo> {
    const path = await locateAdapter(name, this.#locate);
    if (statSync(path).isDirectory())
      throw new DiffusionError("BAD_OPTION", `${name} is a folder, and may hold several IP-Adapters`, {
        hint: `name the file, such as ${name}${existsSync(name) ? "/" : ":models/"}ip-adapter_sd15.safetensors`,
      });
    requireIpAdapter(path); // before an encoder is downloaded for it
    const imageEncoder = await locateEncoder(options.imageEncoder ?? encoderBeside(name, path), this.#locate);
    const { networks, notes } = this.#open(path, imageEncoder);
    const info = { name: options.name ?? basename(name, extname(name)), path, imageEncoder, notes };
    await this.#loaded.get(info.name)?.networks.unload();
    this.#loaded.set(info.name, { ...info, networks });
    return info;
  }

  async remove(name: string): Promise<void> {
    const { networks } = this.#known(name);
    this.#loaded.delete(name);
    await networks.unload();
  }

  /** Finds the IP-Adapters that pictures are for; those that are named by a path are loaded. */
  async open(inputs: readonly ResolvedPicturePrompt[]): Promise<OpenedPicturePrompt[]> {
    const opened: OpenedPicturePrompt[] = [];
    for (const input of inputs) opened.push({ ...(await this.#of(input)), input });
    return opened;
  }

  /** Reads and encodes pictures. */
  async read(opened: readonly OpenedPicturePrompt[]): Promise<PicturePrompt[]> {
    const prompts: PicturePrompt[] = [];
    for (const { path, networks, notes, input } of opened) {
      const pictures: Values[] = [];
      for (const image of input.images) pictures.push(clipPixels(await readImage(image), networks.imageSize));
      const { scale, start, end } = input;
      prompts.push({ path, ...(await networks.run(pictures)), scale, start, end, notes });
    }
    return prompts;
  }

  async #of({ model, imageEncoder }: ResolvedPicturePrompt) {
    if (model === undefined) {
      const [only, other] = this.#loaded.values();
      if (only && !other) return only;
      throw new DiffusionError(
        "BAD_OPTION",
        only ? "several IP-Adapters are loaded, so ipAdapter needs a model" : "no IP-Adapter is loaded",
        { hint: only ? this.#names() : "call loadIpAdapter, or name a file: ipAdapter.model" },
      );
    }
    const isName = !/[/\\]/.test(model) && !existsSync(model);
    if (isName) return this.#known(model);
    const known = this.#loaded.get(keyOf(model, imageEncoder));
    if (known) return known;
    const name = keyOf(model, imageEncoder);
    await this.add(model, { name, ...(imageEncoder !== undefined && { imageEncoder }) });
    return this.#loaded.get(name)!;
  }

  #known(name: string) {
    const found = this.#loaded.get(name);
    if (found) return found;
    const near = nearest(name, [...this.#loaded.keys()]);
    throw new DiffusionError("BAD_OPTION", `there is no IP-Adapter ${name}`, {
      hint: near ? `did you mean ${near}?` : this.#names(),
    });
  }

  #names(): string {
    return this.#loaded.size > 0 ? `there are ${[...this.#loaded.keys()].join(", ")}` : "none is loaded";
  }
}

const keyOf = (model: string, imageEncoder = ""): string => [model, imageEncoder].filter(Boolean).join(" ");

/** Where the published ones have it: in the same folder, of the disk or of the hub's repository. */
function encoderBeside(name: string, path: string): string {
  const reference = existsSync(name) ? undefined : parseHubReference(name);
  if (!reference?.file) return join(dirname(path), "image_encoder");
  const folder = dirname(reference.file);
  return `${name.slice(0, name.length - reference.file.length)}${folder === "." ? "" : `${folder}/`}image_encoder`;
}

/** A folder with config.json and weights: on disk, a repository, or a folder of one (owner/name:folder). */
async function locateEncoder(name: string, locate: Locate): Promise<string> {
  if (existsSync(name)) return statSync(name).isDirectory() ? name : dirname(name);
  const reference = parseHubReference(name);
  if (!reference)
    throw new DiffusionError("FILE_MISSING", `there is no image encoder ${name}`, {
      hint: "IP-Adapters come with one, a folder image_encoder; name it (imageEncoder), or owner/name:models/image_encoder",
    });
  if (!reference.file) return locate(name);
  const config = await locate(`${name}/config.json`);
  await locate(`${name}/model.safetensors`);
  return dirname(config);
}

/** What the UNet is shown at an evaluation: each picture's tokens for the rows asked about. */
export function picturesFor(
  pictures: readonly PicturePrompt[],
  rows: readonly { readonly negative: boolean }[],
  evaluations: number,
): (evaluation: number, asked: readonly number[]) => Pick<UNetInput, "pictures"> {
  const known = new Map<string, readonly Values[]>();
  const tokensOf = (asked: readonly number[]): readonly Values[] => {
    const key = asked.join();
    const tokens =
      known.get(key) ??
      pictures.map((picture) =>
        batched(asked.map((row) => (rows[row]!.negative ? picture.none : picture.tokens))),
      );
    known.set(key, tokens);
    return tokens;
  };
  return (evaluation, asked) => {
    if (pictures.length === 0) return {};
    const tokens = tokensOf(asked);
    return {
      pictures: pictures.map((picture, i) => ({
        tokens: tokens[i]!,
        scale: actsAt(picture, evaluation, evaluations) ? picture.scale : 0,
      })),
    };
  };
}
