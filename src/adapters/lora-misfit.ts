import { DiffusionError } from "../errors.js";
import { looksLike } from "../weights/file-kinds.js";
import type { AdapterFile } from "../weights/formats/tensors.js";
import { type AdaptedModel, type AdaptedTensor, type LoraPart, parseLoraKey } from "./lora-keys.js";

export function misfit(
  file: AdapterFile,
  tensor: AdaptedTensor,
  keys: ReadonlyMap<LoraPart, string>,
): string {
  const shapes = [...keys.values()].map((key) => `${key} [${file.tensors.get(key)!.shape}]`);
  return `${shapes.join(", ")} for ${tensor.network}.${tensor.name} [${tensor.shape}]`;
}

const SHOWN = 8;

const supported =
  "LoRA, LoCon, LoHa, LoKr, DoRA, GLoRA, LyCORIS' IA3 and whole differences for Stable Diffusion 1, 2 and XL can be used.";

/** The message shows some of the keys, the cause (`--debug`) all of them. */
export function wrongBase(
  file: AdapterFile,
  model: AdaptedModel,
  misfits: readonly string[],
  unmatched: number,
): DiffusionError {
  const more = misfits.length > SHOWN ? `\n  and ${misfits.length - SHOWN} more` : "";
  const made = familyOf(adapterWidth(file));
  const ours = familyOf(modelWidth(model));
  return new DiffusionError(
    "WEIGHT_SHAPE",
    `${file.path} does not fit this model: ${misfits.length} of its modules are of another shape or incomplete\n  ${misfits.slice(0, SHOWN).join("\n  ")}${more}${unmatched > 0 ? `\n  ${unmatched} keys name no module of this model` : ""}`,
    {
      cause: new Error(`keys that do not fit:\n${misfits.join("\n")}`),
      hint:
        made && ours && made !== ours
          ? `It was made for ${made}; this model is ${ours}.`
          : "Use an adapter that was made for this model's family.",
    },
  );
}

export function nothingFits(
  file: AdapterFile,
  modules: number,
  unmatched: readonly { readonly key: string }[],
): DiffusionError {
  const keys = unmatched.slice(0, SHOWN).map(({ key }) => key);
  const what = modules > 0 ? "names no module of this model" : "is no LoRA";
  const other = looksLike(file.tensors.keys(), "lora");
  const look = other ? `; it looks like ${other}` : "";
  return new DiffusionError(
    "MODEL_KIND",
    `${file.path} ${what}; it holds ${keys.join(", ") || "nothing"}${look}`,
    {
      hint: supported,
    },
  );
}

/** Ways of changing a model that are not built, by the names of their factors. */
const otherMethods: readonly (readonly [RegExp, string])[] = [
  [/\.(oft_(blocks|diag|R\b)|boft_[Rs]\b)/, "turns weights by orthogonal matrices (OFT, BOFT)"],
  [/(^|\.)vera_(A|B|lambda_[bd])\b/, "shares its matrices between all layers (VeRA)"],
  [/\.ia3_l\b/, "is IA3 in PEFT's layout (LyCORIS' can be used)"],
  [/\.lora_E\b/, "is AdaLoRA"],
  [
    /^((unet|text_encoder|text_encoder_2)\.)?base_model\.model\.(?!.*\.(lora_|hada_|lokr_|dora_)).*\.(weight|bias)$/,
    "holds whole weights or biases in place of the model's (PEFT's modules_to_save, bias)",
  ],
  [/\.hra_u\b/, "reflects weights (HRA)"],
  [/\.fourierft_spectrum\b/, "is FourierFT"],
  [/\.(delta|spectral_shifts)$/, "shifts singular values (SVDiff)"],
  [/_custom_diffusion\b/, "is Custom Diffusion, with attention processors of its own"],
  [/^(unet|text_encoder):\d+:(up|down)/, "is in the layout of lora_diffusion, which names no modules"],
];

/** Refuses a file that one of its keys shows to be of a kind that is not supported. */
export function refuseOtherMethod(file: AdapterFile, key: string): void {
  const method = otherMethods.find(([pattern]) => pattern.test(key));
  if (!method) return;
  throw new DiffusionError(
    "UNSUPPORTED",
    `${file.path} ${method[1]}, which is not supported; it holds ${key}`,
    { hint: supported },
  );
}

/** Width of the text embedding that a UNet attends to, which tells the families apart. */
const families = new Map([
  [768, "Stable Diffusion 1"],
  [1024, "Stable Diffusion 2"],
  [2048, "Stable Diffusion XL"],
]);
const familyOf = (width: number | undefined): string | undefined =>
  width === undefined ? undefined : families.get(width);

function modelWidth(model: AdaptedModel): number | undefined {
  for (const [name, { shape }] of model.unet ?? []) if (name.endsWith("attn2.to_k.weight")) return shape[1];
  return undefined;
}

function adapterWidth(file: AdapterFile): number | undefined {
  for (const [key, { shape }] of file.tensors) {
    const parsed = parseLoraKey(key);
    if (parsed?.part === "down" && /attn2[._](processor\.)?to_k$/.test(parsed.module)) return shape[1];
  }
  return undefined;
}
