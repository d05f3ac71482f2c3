import { currentNames, type Mapping, type Origin, type Tensors } from "../checkpoint.js";
import { count, hintConvolutions, type Part, vaeLevels } from "./config.js";

import { controlNetName, openClipName, unetName, vaeName } from "./names.js";
import { below, type TextPart, unetPart } from "./parts.js";
import { unetLevels } from "./unet-config.js";

/** The tensors as a mapping shows them. */
export function mapped(stored: Tensors, mapping: Mapping): Part {
  return new Map(
    [...mapping(stored)].map(([name, { from, shape }]) => {
      const info = stored.get(from)!;
      return [name, shape ? { ...info, shape } : info];
    }),
  );
}

export const unetMapping =
  (prefix: string): Mapping =>
  (stored) => {
    const part = unetPart(stored, prefix);
    const layers = unetLevels(part).map(({ resnets }) => resnets);
    return new Map([...part.keys()].map((name) => [unetName(name, layers), { from: prefix + name }]));
  };

/** A ControlNet's, in the original layout or in diffusers' in a file of its own. */
export const controlNetMapping =
  (prefix: string): Mapping =>
  (stored) => {
    const part = below(stored, prefix);
    if (!part.has("input_hint_block.0.weight")) return currentNames(stored);
    const layers = unetLevels(part).map(({ resnets }) => resnets);
    const hints = hintConvolutions(part).length;
    return new Map(
      [...part.keys()].map((name) => [controlNetName(name, layers, hints), { from: prefix + name }]),
    );
  };

export const vaeMapping =
  (prefix: string): Mapping =>
  (stored) => {
    const part = below(stored, prefix);
    const levels = vaeLevels(part);
    const origins = new Map<string, Origin>();
    for (const [name, { shape }] of part) {
      if (!/^(encoder|decoder|quant_conv|post_quant_conv)\./.test(name)) continue; // discriminators of the training
      const today = vaeName(name, levels);
      const isConvolved = shape.length === 4 && /attentions\.\d+\.to_/.test(today);
      origins.set(today, { from: prefix + name, ...(isConvolved ? { shape: shape.slice(0, 2) } : {}) });
    }
    return origins;
  };

export function textMapping(text: TextPart): Mapping {
  return (stored) => {
    const part = below(stored, text.prefix);
    if (text.openClip) return openClipOrigins(part, text);
    return new Map([...currentNames(part)].map(([name, { from }]) => [name, { from: text.prefix + from }]));
  };
}

/** Not weights of the text tower. */
const openClipBuffers = new Set(["logit_scale", "attn_mask"]);

function openClipOrigins(part: Part, { prefix, penultimate }: TextPart): ReadonlyMap<string, Origin> {
  const blocks = "transformer.resblocks.";
  const unused = penultimate ? `${blocks}${count(part, blocks) - 1}.` : undefined;
  const origins = new Map<string, Origin>();
  for (const [name, { shape }] of part) {
    const from = prefix + name;
    const [, layer, kind] = /^transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)$/.exec(name) ?? [];
    if (openClipBuffers.has(name) || (unused !== undefined && name.startsWith(unused))) continue;
    if (name.startsWith("text_projection")) {
      if (!penultimate) origins.set("text_projection.weight", projection(from, name, shape));
    } else if (kind === undefined) origins.set(openClipName(name), { from });
    else
      ["q_proj", "k_proj", "v_proj"].forEach((projection, i) => {
        const [height, ...rest] = [shape[0]! / 3, ...shape.slice(1)];
        const to = `text_model.encoder.layers.${layer}.self_attn.${projection}.${kind}`;
        origins.set(to, { from, rows: [i * height, (i + 1) * height], shape: [height, ...rest] });
      });
  }
  return origins;
}

/** A bare parameter [width, projection], or a linear layer already. */
function projection(from: string, name: string, shape: readonly number[]): Origin {
  return name.endsWith(".weight") ? { from } : { from, transposed: true, shape: [...shape].reverse() };
}
