import { createHash } from "node:crypto";
import type { Values } from "../latents/latents.js";
import { type Checkpoint, contentId } from "../weights/checkpoint.js";
import { type ModelSource, openWeights, type WeightsPlace } from "../weights/component.js";
import { openTensorFile } from "../weights/formats/tensor-file.js";
import { bundledWords } from "./bundle.js";
import { withPictureAttention } from "./ip-adapter.js";
import { loraFile, type OpenLora, openLora } from "./lora.js";
import type { MatMul } from "./lora-delta.js";
import type { AdaptedModel, AdaptedNetwork } from "./lora-keys.js";
import { adaptWeight, type Contributions, lowRankChange, planMerge } from "./lora-merge.js";
import { type EncoderWidths, extendEmbeddings, readTextualInversion } from "./textual-inversion.js";

/** What is laid over a model's weights; plain data, the same for the same adapters in use. */
export interface Adapters {
  readonly loras: readonly {
    readonly path: string;
    readonly scales: { readonly unet: number; readonly text: number };
  }[];
  /** Words of textual inversions, and the first id that each has in each text encoder's table. */
  readonly words: readonly {
    readonly path: string;
    readonly word: string;
    readonly vectors: number;
    readonly ids: readonly number[];
    /** The file is a LoRA's, which carries the word. */
    readonly bundled?: boolean;
  }[];
  /** Files of IP-Adapters, which add to a UNet and change nothing in it. */
  readonly pictures?: readonly string[];
}

export const noAdapters: Adapters = { loras: [], words: [] };

/** Where transformers keeps the rows that tokens are looked up in. */
export const tokenTable = "text_model.embeddings.token_embedding.weight";

/** Where the networks are that adapters may change, under the names that adapters use. */
export type AdaptedPlaces = { readonly [network in AdaptedNetwork]?: WeightsPlace };

export const adaptedPlaces = (source: ModelSource): AdaptedPlaces => ({
  unet: source.unet.weights,
  ...Object.fromEntries(
    encoderNames(source).map((name, i) => [name, source.textEncoders[i]!.weights] as const),
  ),
});

/** What adapters call a model's text encoders, in their order; the only one of XL's refiner is the second of XL. */
export function encoderNames({ textEncoders, settings }: ModelSource): AdaptedNetwork[] {
  const second = settings.text_encoder_2;
  const isLone = textEncoders.length === 1 && Array.isArray(second) && second[1] !== null;
  const names = isLone ? (["text_encoder_2"] as const) : (["text_encoder", "text_encoder_2"] as const);
  return names.slice(0, textEncoders.length);
}

/** Names and shapes of all tensors that an adapter may change. */
export const adaptedModel = (source: ModelSource): AdaptedModel => namesAt(adaptedPlaces(source));

function namesAt(places: AdaptedPlaces): AdaptedModel {
  return Object.fromEntries(
    Object.entries(places).map(([name, place]) => {
      const checkpoint = openWeights(place);
      checkpoint.close();
      return [name, checkpoint.tensors];
    }),
  );
}

/** Widths of the rows that a textual inversion must have; a lone encoder is the first. */
export function encoderWidths(model: AdaptedModel): EncoderWidths | undefined {
  const [first, second] = [model.text_encoder, model.text_encoder_2].map(
    (tensors) => tensors?.get(tokenTable)?.shape[1],
  );
  if (first === undefined) return second === undefined ? undefined : { text_encoder: second };
  return { text_encoder: first, ...(second !== undefined && { text_encoder_2: second }) };
}

/**
 * A network's weights with adapters over them. Tensors that none of them touches are those of the checkpoint, and
 * keep their place in the cache. Closing it closes the checkpoint and the adapters.
 *
 * @param places all networks of the model that an adapter may change: which of them a key means can depend on the others
 * @param matMul multiplies the factors of LoRA
 * @throws DiffusionError for adapters that do not fit, as `openLora` and `readTextualInversion`
 */
export function adaptCheckpoint(
  checkpoint: Checkpoint,
  network: AdaptedNetwork,
  { places, adapters, matMul }: { places: AdaptedPlaces; adapters: Adapters; matMul: MatMul },
): Checkpoint {
  const model = namesAt(places);
  const uses: { lora: OpenLora; scale: number }[] = [];
  const close = () => {
    for (const { lora } of uses) lora.close();
    checkpoint.close();
  };
  try {
    for (const { path, scales } of adapters.loras)
      uses.push({ lora: openLora(path, model), scale: network === "unet" ? scales.unet : scales.text });
    const plan = planMerge(uses).get(network) ?? new Map<string, Contributions>();
    const { table, ids } = extendedTable(checkpoint, network, model, adapters.words);
    const names = new Set([...plan.keys(), ...(table ? [tokenTable] : [])]);
    const pictures = network === "unet" ? (adapters.pictures ?? []) : [];
    if (names.size === 0) {
      for (const { lora } of uses) lora.close();
      return pictures.length > 0 ? withPictureAttention(checkpoint, pictures) : checkpoint;
    }
    const id = digest([checkpoint.id, uses.map(({ lora, scale }) => [lora.id, scale]), ids]);
    const tensors = new Map(checkpoint.tensors);
    // Layers that use a weight in two halves (GEGLU) ask for it twice in a row.
    let last: { readonly name: string; readonly values: Float32Array } | undefined;
    if (table) tensors.set(tokenTable, { dtype: "F32", shape: table.shape });
    const changed: Checkpoint = {
      ...checkpoint,
      tensors,
      changed: {
        id,
        names,
        lowRank: (name) => (name === tokenTable ? undefined : lowRankChange(plan.get(name) ?? [])),
      },
      readFloat32(name) {
        if (last?.name === name) return last.values;
        const original = name === tokenTable && table ? table.data : checkpoint.readFloat32(name);
        const changes = plan.get(name);
        if (!changes) return original;
        last = { name, values: adaptWeight(original, changes, matMul) };
        return last.values;
      },
      close,
    };
    return pictures.length > 0 ? withPictureAttention(changed, pictures) : changed;
  } catch (error) {
    close();
    throw error;
  }
}

/** The token table of a text encoder with the rows of new words behind its own, and a key for them. */
function extendedTable(
  checkpoint: Checkpoint,
  network: AdaptedNetwork,
  model: AdaptedModel,
  words: Adapters["words"],
): { readonly table?: Values; readonly ids: readonly unknown[] } {
  const widths = encoderWidths(model);
  const stored = checkpoint.tensors.get(tokenTable);
  if (network === "unet" || words.length === 0 || !widths || !stored) return { ids: [] };
  const used: unknown[] = [];
  let table: Values = { shape: stored.shape, data: checkpoint.readFloat32(tokenTable) };
  const encoder = network === "text_encoder" || !model.text_encoder ? 0 : 1;
  for (const { path, word, ids, bundled } of words) {
    const file = openTensorFile(bundled ? loraFile(path) : path);
    try {
      const own = bundled ? bundledWords(file).get(word)! : file;
      const { rows } = readTextualInversion(own, widths, { word });
      const added = encoder === 0 ? rows.text_encoder : rows.text_encoder_2!;
      table = extendEmbeddings(table, ids[encoder]!, [added]);
      used.push([contentId([file], word), ids[encoder]]);
    } finally {
      file.close();
    }
  }
  return { table, ids: used };
}

const digest = (value: unknown): string =>
  createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 32);
