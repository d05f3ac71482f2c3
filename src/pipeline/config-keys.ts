import { imageEncoderKeys, textEncoderKeys } from "../models/clip-config.js";
import { controlNetKeys } from "../models/controlnet-config.js";
import { hasKBlocks, kUNetKeys } from "../models/k-unet-config.js";
import { t2iAdapterKeys } from "../models/t2i-adapter-config.js";
import { unet2dKeys } from "../models/unconditional-config.js";
import { unetKeys } from "../models/unet-config.js";
import { vaeKeys } from "../models/vae-config.js";

/** What every config.json may hold. */
const everywhere = ["_class_name", "_diffusers_version", "_name_or_path"];

/** Keys that are not looked at, as they change no picture here, and why. */
const harmless: readonly (readonly [reason: string, keys: readonly string[]])[] = [
  ["acts in training only", ["dropout", "attention_dropout", "initializer_factor", "initializer_range"]],
  [
    "is about half precision: attention and autoencoder compute in 32 bits here",
    ["upcast_attention", "force_upcast"],
  ],
  ["is read by blocks that the network does not have", ["mid_block_only_cross_attention"]],
  ["is read with addition_embed_type text, which is refused", ["addition_embed_type_num_heads"]],
  ["is read with a learned time_embedding_type, which is refused", ["num_train_timesteps"]],
  ["is for those who store latents as pictures", ["latent_magnitude", "latent_shift"]],
];

/** AutoencoderTiny writes this for other code; of UNets it is read. */
const ofTiny = ["block_out_channels"];

/** What transformers keeps of a model whatever it is: its own name and form, and how it would write text. */
const ofTransformers =
  /^(architectures|model_type|transformers_version|torch_dtype|dtype|(bos|pad|eos|sep|cls|decoder_start)_token_id|id2label|label2id|add_cross_attention|bad_words_ids|begin_suppress_tokens|chunk_size_feed_forward|cross_attention_hidden_size|diversity_penalty|do_sample|early_stopping|encoder_no_repeat_ngram_size|exponential_decay_length_penalty|finetuning_task|forced_(bos|eos)_token_id|gradient_checkpointing|is_decoder|is_encoder_decoder|length_penalty|max_length|min_length|no_repeat_ngram_size|num_beams|num_beam_groups|num_return_sequences|output_attentions|output_hidden_states|output_scores|prefix|problem_type|pruned_heads|remove_invalid_values|repetition_penalty|return_dict|return_dict_in_generate|suppress_tokens|task_specific_params|temperature|tf_legacy_loss|tie_encoder_decoder|tie_word_embeddings|tokenizer_class|top_k|top_p|torchscript|typical_p|use_bfloat16|use_cache|gradient_checkpointing)$/;

function keysRead(
  className: string,
  config: Readonly<Record<string, unknown>>,
): readonly string[] | undefined {
  switch (className) {
    case "UNet2DConditionModel":
      return hasKBlocks(config) ? [...unetKeys, ...kUNetKeys] : unetKeys;
    case "UNet2DModel":
      return unet2dKeys;
    case "ControlNetModel":
      return [...unetKeys, ...controlNetKeys];
    case "T2IAdapter":
      return t2iAdapterKeys;
    case "CLIPTextModel":
    case "CLIPTextModelWithProjection":
      return textEncoderKeys;
    case "CLIPVisionModelWithProjection":
      return imageEncoderKeys;
    case "AutoencoderTiny":
      return [...vaeKeys.AutoencoderTiny, ...ofTiny];
    case "AutoencoderKL":
    case "VQModel":
      return vaeKeys[className];
    default:
      return undefined;
  }
}

/**
 * Keys of a network's config that are neither read nor known to be harmless (none for a class that is not known).
 * The readers themselves refuse values that they cannot follow.
 */
export function unknownKeys(className: string, config: Readonly<Record<string, unknown>>): readonly string[] {
  const read = keysRead(className, config);
  if (!read) return [];
  const known = new Set([...everywhere, ...read, ...harmless.flatMap(([, keys]) => keys)]);
  const isTransformers = className.startsWith("CLIP");
  return Object.keys(config).filter(
    (key) => !known.has(key) && !(isTransformers && ofTransformers.test(key)),
  );
}
