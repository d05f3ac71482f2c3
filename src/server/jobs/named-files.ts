import { DiffusionError, defaultUpscaler, hiresUpscalers } from "../../index.js";
import { mentionedLoras, mentionedWords } from "../../options/mentions.js";
import type { Lack } from "../queue/queue.js";
import { publicErrorOf, Refusal } from "../refusal.js";
import { gridCells } from "../requests/grid.js";
import type { NamedFile, StoredRequest } from "../requests/request.js";
import type { Models } from "./models.js";
import { resamplers } from "./upscalers.js";
import { fileKinds, notFound } from "./weight-files.js";

type Named = Pick<NamedFile, "kind" | "name">;

/** What a request names beside its model, each once. @param words that prompts may say */
function namedIn(request: StoredRequest, words: readonly string[] = []): readonly Named[] {
  const named: Named[] = [];
  if (request.kind === "upscale") named.push({ kind: "upscaler", name: request.upscaler });
  else {
    for (const { prompt = "", negativePrompt = "" } of [request, ...gridCells(request)]) {
      for (const name of mentionedLoras(prompt))
        if (!(request.wildcards && isOpen(name))) named.push({ kind: "lora", name });
      for (const text of [prompt, negativePrompt])
        for (const name of mentionedWords(text, words)) named.push({ kind: "embed", name });
    }
    // Words that only the server has.
    for (const { kind, name } of request.files ?? []) if (kind === "embed") named.push({ kind, name });
    if (request.vae !== undefined) named.push({ kind: "vae", name: request.vae });
    for (const { model } of request.controlnet ?? []) named.push({ kind: "control", name: model });
    for (const { model } of request.ipAdapter ?? []) named.push({ kind: "ip-adapter", name: model });
    if (request.hires?.upscaler) named.push({ kind: "upscaler", name: request.hires.upscaler });
  }
  const included: readonly string[] = [...resamplers, ...hiresUpscalers, defaultUpscaler];
  const keys = new Set<string>();
  return named.filter(({ kind, name }) => {
    const key = `${kind} ${name}`;
    const first = !keys.has(key) && !(kind === "upscaler" && included.includes(name));
    keys.add(key);
    return first;
  });
}

/** Which one it is, wildcards draw: `<lora:{ink|oil}:1>`. */
const isOpen = (name: string): boolean => /[{}|]|__/.test(name);

/** Where it lies here. @throws Refusal when it does not */
async function pathOf({ kind, name }: Named, models: Models): Promise<string> {
  if (kind === "vae") return (await models.files.findVae(name))!.path;
  if (kind === "control") return (await models.files.findControl(name)).path;
  if (kind === "ip-adapter") return (await models.files.findIpAdapter(name)).path;
  if (kind === "embed") {
    const found = (await models.files.embeddings()).find((word) => word.name === name);
    if (found) return found.path;
    throw notFound("embed", name);
  }
  if (kind === "upscaler") {
    const found = await models.upscalers.find(name);
    if (found) return found.model;
    throw await models.upscalers.missing(name, []);
  }
  const found = models.files.findLora(name);
  if (found !== undefined) return found;
  throw notFound("lora", name, await models.files.loras());
}

const wordsOf = async (models: Models): Promise<readonly string[]> =>
  (await models.files.embeddings()).map(({ name }) => name);

/** The files that a request names and that are here, with the SHA-256 of each. */
export async function namedFiles(request: StoredRequest, models: Models): Promise<readonly NamedFile[]> {
  const found = namedIn(request, await wordsOf(models)).map(async (named) => {
    const path = await pathOf(named, models).catch(() => undefined);
    return path === undefined ? [] : [{ ...named, sha256: await models.hashes.content(path) }];
  });
  return (await Promise.all(found)).flat();
}

/** What keeps this process from making the picture that was asked for: a file that is not here, or is another one. */
export async function lacking(request: StoredRequest, models: Models): Promise<Lack | undefined> {
  let dispensable: Lack | undefined;
  for (const named of namedIn(request, await wordsOf(models))) {
    const { kind, name } = named;
    const path = await pathOf(named, models).catch((error: unknown) => {
      if (error instanceof Refusal || error instanceof DiffusionError) return error;
      throw error;
    });
    const wanted = request.files?.find((file) => file.kind === kind && file.name === name)?.sha256;
    if (typeof path !== "string") {
      const error = publicErrorOf(path);
      const mayBeMissing = error.code === "LORA_NOT_FOUND" && wanted === undefined;
      if (!mayBeMissing || request.kind !== "generate" || request.missingLoras !== "ignore")
        return { error, dispensable: false };
      // What cannot be done without may come behind it.
      dispensable ??= { error, dispensable: true };
      continue;
    }
    // A word that only this worker has would be one to it alone.
    const here = wanted || kind === "embed" ? await models.hashes.content(path) : undefined;
    if (here === wanted) continue;
    const { what, flag } = fileKinds[kind];
    const error = {
      code: "OTHER_FILE",
      message: `the ${what} ${name} of this worker (SHA-256 ${here?.slice(0, 12)}) is not the one of the server that accepted the job (${wanted?.slice(0, 12) ?? "there is none"})`,
      hint: `give servers and workers the same ${flag}`,
    };
    return { error, dispensable: false };
  }
  return dispensable;
}
