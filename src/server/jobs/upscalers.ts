import {
  defaultUpscaler,
  describeUpscaler,
  type Image,
  type ImageInput,
  ImageUpscaler,
  type LoadOptions,
  type UpscaleOptions,
} from "../../index.js";
import { ownUpscalerName, webuiUpscalerName } from "../../options/upscaler-names.js";
import { publicErrorOf, Refusal } from "../refusal.js";
import { weightFiles } from "./weight-files.js";

/** Upscalers that need no network; the web UI has them under the same names. */
export const resamplers = ["Lanczos", "Nearest"] as const;

/** A network that requests can name. */
export interface NamedUpscaler {
  readonly name: string;
  /** Its file, or the name of the included one. */
  readonly model: string;
  /** How many times as wide and high a picture becomes at once. */
  readonly scale: number;
}

const endings = [".pth", ".pt", ".safetensors"];

/** The networks that enlarge pictures: the included one, and those of a folder. One is in memory at a time. */
export class Upscalers {
  readonly #folder: string | undefined;
  readonly #load: Pick<LoadOptions, "threads" | "cacheDir" | "memoryLimit" | "hangMs">;
  /** By path; a file that cannot be used is not looked into again. */
  readonly #known = new Map<string, Promise<NamedUpscaler | undefined>>();
  /** Files of the folder that cannot be used, and why. */
  readonly unusable = new Map<string, string>();
  #loaded: { readonly model: string; readonly upscaler: ImageUpscaler } | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(folder: string | undefined, { threads, cacheDir, memoryLimit, hangMs }: LoadOptions) {
    this.#folder = folder;
    this.#load = {
      ...(threads !== undefined && { threads }),
      ...(cacheDir !== undefined && { cacheDir }),
      ...(memoryLimit !== undefined && { memoryLimit }),
      ...(hangMs !== undefined && { hangMs }),
    };
  }

  /** The included one first, then what lies in the folder now. */
  async list(): Promise<readonly NamedUpscaler[]> {
    const files = await weightFiles(this.#folder, { endings });
    const all = [{ name: defaultUpscaler, path: defaultUpscaler }, ...files];
    const found = await Promise.all(all.map(({ name, path }) => this.#describe(name, path)));
    const usable = found.filter((upscaler) => upscaler !== undefined);
    // Of several that one name means, the first is taken.
    return usable.filter(
      ({ name }, i) => usable.findIndex((other) => plain(other.name) === plain(name)) === i,
    );
  }

  #describe(name: string, model: string): Promise<NamedUpscaler | undefined> {
    const known = this.#known.get(model) ?? this.#look(name, model);
    this.#known.set(model, known);
    return known;
  }

  async #look(name: string, model: string): Promise<NamedUpscaler | undefined> {
    try {
      const { scale } = await describeUpscaler(model);
      return { name, model, scale };
    } catch (error) {
      this.unusable.set(name, publicErrorOf(error).message);
      return undefined;
    }
  }

  /** @param name of the list in any case, the web UI's for it, or with the file's ending */
  async find(name: string): Promise<NamedUpscaler | undefined> {
    const wanted = plain(name);
    return (await this.list()).find((upscaler) => plain(upscaler.name) === wanted);
  }

  /** Says what there is, and why a file of this name is not. */
  async missing(name: string, others: readonly string[]): Promise<Refusal> {
    const names = [...others, ...(await this.list()).map((upscaler) => upscaler.name)];
    const [, why] = [...this.unusable].find(([file]) => plain(file) === plain(name)) ?? [];
    const own = ownUpscalerName(name);
    const webui = webuiUpscalerName(own);
    const said = webui === own ? name : `${webui} (${own})`;
    return new Refusal(501, "UNSUPPORTED", why ?? `there is no upscaler ${said.slice(0, 100)}`, {
      hint: `there are ${names.join(", ")}${this.#folder ? "" : "; start the server, and each worker of a queue, with --upscaler-dir for more"}`,
    });
  }

  /** Enlarges one picture after the other. */
  enlarge({ model }: NamedUpscaler, image: ImageInput, options: UpscaleOptions): Promise<Image> {
    const result = this.#turn.then(async () => {
      if (this.#loaded?.model !== model) {
        await this.#unload();
        this.#loaded = { model, upscaler: await ImageUpscaler.load(model, this.#load) };
      }
      return this.#loaded.upscaler.upscale(image, options);
    });
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #unload(): Promise<void> {
    const loaded = this.#loaded;
    this.#loaded = undefined;
    await loaded?.upscaler.dispose();
  }

  async dispose(): Promise<void> {
    await this.#unload();
  }
}

/** Names are compared without case and endings, and the web UI's stand for those of the files. */
function plain(name: string): string {
  return ownUpscalerName(name.trim().replace(/\.(pth|pt|safetensors)$/i, "")).toLowerCase();
}
