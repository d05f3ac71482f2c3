/** What a file can be given as. */
export type Role = "model" | "lora" | "control" | "vae" | "ip-adapter" | "word" | "upscaler";

interface Kind {
  /** In some tensor's name. */
  readonly mark: RegExp;
  readonly what: string;
  /** What to do with it; absent: it is not supported. */
  readonly use?: string;
  readonly as?: Role;
  /**
   * What is to be said where it lies beside a UNet: it changes the pictures of the model that it was put to, or the model
   * is of another kind because of it.
   */
  readonly beside?: "a part" | "the model";
  /** Only where no name is like this. */
  readonly without?: RegExp;
}

/** Below it, whole models have their UNet or what stands in its place. */
const root = "^(?:model\\.diffusion_model\\.|diffusion_model\\.)?";
const at = (rest: string): RegExp => new RegExp(root + rest);

/**
 * What people's files are, by the names of their tensors; the first that fits counts, so what is special stands before
 * what is common.
 */
const kinds: readonly Kind[] = [
  {
    mark: /^(lora_unet_|lora_transformer_|lycoris_)(double|single|joint)_blocks_|^(transformer|base_model\.model)\.(single_|joint_)?transformer_blocks\..*lora|^diffusion_model\.(double|single|joint)_blocks\..*lora/,
    what: "a LoRA for Flux, Stable Diffusion 3 or another transformer",
  },
  { mark: /motion_modules\..*lora/, what: "a motion LoRA of AnimateDiff" },
  { mark: /(^|\.)motion_modules\./, what: "a motion module of AnimateDiff", beside: "a part" },
  { mark: /^lllite_/, what: "a ControlNet-LLLite" },
  { mark: /^lora_controlnet$/, what: "a Control-LoRA" },
  { mark: /^difference$/, what: "a ControlNet that holds only differences from a model" },
  {
    mark: /^(control_model\.)?task_embedding$/,
    what: "a union ControlNet (ProMax)",
    without: /^(seq_proj|ln_pre\.)/,
  },
  {
    mark: /^(controlnet_x_embedder|controlnet_blocks|controlnet_mode_embedder)\./,
    what: "a ControlNet for Flux, Stable Diffusion 3 or another transformer",
  },
  {
    mark: /^(style_embedding|transformer_layes\.)/,
    what: "a T2I-Adapter for styles, or one that joins others (CoAdapter)",
  },
  { mark: /^id_encoder\./, what: "PhotoMaker" },
  { mark: /^id_adapter/, what: "PuLID" },
  {
    mark: /ip_adapter_proj_model\.|ip_adapter_double_stream|^pulid_/,
    what: "an adapter of pictures for Flux",
  },
  { mark: /\.time_(stack|mixer)\./, what: "Stable Video Diffusion", beside: "the model" },
  { mark: /\.temopral_conv\.|\.temporal_conv\./, what: "a video model (ModelScope)", beside: "the model" },
  { mark: /\.(position_net|fuser)\./, what: "GLIGEN's places of things (position_net)", beside: "a part" },
  {
    mark: /^cc_projection\./,
    what: "Zero123, which is told a camera and a picture (cc_projection)",
    beside: "the model",
  },
  {
    mark: /^depth_model\./,
    what: "the depth-to-image version of Stable Diffusion 2 (depth_model)",
    beside: "the model",
  },
  {
    mark: /^(noise_augmentor|embedder)\./,
    what: "unCLIP, which is told a picture (noise_augmentor)",
    beside: "the model",
  },
  {
    mark: /^(cond_stage_model|conditioner)\..*\b(visual|vision_model)\./,
    what: "a model that is told a picture in place of a text (image variations, Paint by Example)",
    beside: "the model",
    without: /^(cond_stage_model|conditioner)\..*\btoken_embedding\b/,
  },
  { mark: /joint_transformer_blocks\./, what: "AuraFlow" },
  { mark: at("joint_blocks\\."), what: "Stable Diffusion 3" },
  { mark: at("txt_in\\.individual_token_refiner\\."), what: "Hunyuan Video" },
  {
    mark: at("(double_blocks|double_stream_blocks|single_transformer_blocks)\\."),
    what: "Flux, or a transformer like it",
  },
  {
    mark: at("transformer_blocks\\.\\d+\\.attn\\.add_k_proj\\."),
    what: "a transformer of text and pictures (Stable Diffusion 3, Qwen-Image)",
  },
  { mark: at("(clip_txt_mapper|clip_txt_pooled_mapper|clip_mapper)\\."), what: "Stable Cascade (Würstchen)" },
  { mark: /^vquantizer\./, what: "the autoencoder of Stable Cascade (its stage A)" },
  {
    mark: at("(encoder_hid_proj|encoder_pooling|clip_to_seq|to_model_dim_n|ln_model_n|ln_model)\\."),
    what: "Kandinsky, Kolors or DeepFloyd IF",
    beside: "the model",
  },
  { mark: at("cap_embedder\\."), what: "Lumina or Z-Image" },
  { mark: /^net\.(blocks|x_embedder)\./, what: "Cosmos" },
  { mark: at("(text|visual)_transformer_blocks\\."), what: "Kandinsky 5" },
  { mark: /^(model\.)?double_layers\./, what: "AuraFlow" },
  { mark: /^(llm\.|time_caption_embed\.|ref_image_patch_embedder\.)/, what: "OmniGen" },
  {
    mark: at("(transformer_)?blocks\\.\\d+\\.(attn|attn1|self_attn|cross_attn)\\."),
    what: "a diffusion transformer (PixArt, Hunyuan, Wan or the like)",
  },
  {
    mark: /^cond_stage_model\.transformer\.(token_emb|attn_layers)\./,
    what: "the first latent diffusion of texts, whose text encoder is BERT",
    beside: "the model",
  },
  {
    mark: /^cond_stage_model\..*\broberta\./,
    what: "AltDiffusion, whose text encoder is XLM-RoBERTa",
    beside: "the model",
  },
  {
    mark: /^first_stage_model\.quantize\./,
    what: "a model whose autoencoder has a codebook (VQ) in the original layout",
    beside: "the model",
  },
  {
    mark: /^model_ema\.diffusion_model/,
    what: "a model of which only averaged copies (model_ema) are left",
    without: /^model\.diffusion_model\./,
  },
  {
    mark: /^(lora_|lycoris_|base_model\.model\.)|^(unet|text_encoder|text_encoder_2)\..*(lora|processor)|\.(lora_(up|down|A|B)|hada_w1_a|lokr_w1|lokr_w2)\b/,
    what: "a LoRA",
    use: "load a model first, then add it",
    as: "lora",
    beside: "a part",
  },
  {
    mark: /^(control_model\.|controlnet_cond_embedding\.|input_hint_block\.)/,
    what: "a ControlNet",
    use: "load a model first, then give it as one",
    as: "control",
    beside: "a part",
  },
  {
    mark: /^(image_proj|ip_adapter)\./,
    what: "an IP-Adapter",
    use: "load a model first, then add it",
    as: "ip-adapter",
    beside: "a part",
  },
  {
    mark: /^(adapter\.)?body\.\d+\.(block1|in_conv|resnets)\b/,
    what: "a T2I-Adapter",
    use: "load a model first, then give it as a ControlNet is given",
    as: "control",
  },
  {
    mark: /^(model\.diffusion_model\.)?input_blocks\.0\.0\.weight$/,
    what: "a whole model, or the UNet of one",
    use: "give it as the model",
    as: "model",
  },
  {
    mark: /^(down_blocks|up_blocks|mid_block)\./,
    what: "the UNet of a diffusers folder",
    use: "give the folder that holds its model_index.json, or give that of a model of its family as config",
  },
  {
    mark: /^(emb_params|string_to_param\..*|clip_[lg]|<.*>)$/,
    what: "a textual inversion",
    use: "load a model first, then add it",
    as: "word",
  },
  { mark: /^(shared|encoder\.embed_tokens)\.|^encoder\.block\./, what: "a T5 text encoder" },
  {
    mark: /^(visual_projection|vision_model|visual)\./,
    what: "the image encoder (CLIP vision) of an IP-Adapter",
    use: "give the folder that holds its config.json as the adapter's imageEncoder",
  },
  { mark: /^text_model\./, what: "a text encoder", use: "give the folder that holds its model_index.json" },
  {
    mark: /^(decoder|encoder|first_stage_model|vae)\./,
    what: "a VAE",
    use: "load a model first, and give it as vae",
    as: "vae",
  },
  {
    mark: /^(taesd_(en|de)coder\.\d|[0-9]+\.conv\.0\.weight$)/,
    what: "a small autoencoder (TAESD) in its original layout",
    use: "load a model first, and give it as taesd",
    as: "vae",
  },
  {
    mark: /^(params_ema\.|params\.)?(style_convs|stylegan_decoder|layers\.\d+\.residual_group)\./,
    what: "a network that restores faces or enlarges pictures by attention (GFPGAN, CodeFormer, SwinIR)",
  },
  { mark: /^(model\.)?(layers\.\d+\.self_attn|lm_head)\b/, what: "a language model" },
  { mark: /^\d+\.\d+\.linear\.|^(320|640|768|1024|1280)\.\d+\./, what: "a hypernetwork" },
  {
    mark: /^(params_ema\.|params\.)?(conv_body|RRDB_trunk\.|body\.\d+\.rdb1|model\.1\.sub\.)/,
    what: "a network that enlarges pictures",
    use: "give it to upscale or to hires.upscaler",
    as: "upscaler",
  },
];

const fits = (names: readonly string[], { mark, without }: Kind): boolean =>
  names.some((name) => mark.test(name)) && !(without && names.some((name) => without.test(name)));

/**
 * What a file is that is not what was asked for, and what to do with it, in words; undefined for what is not known, and
 * for what would be the role that was asked for.
 */
export function looksLike(names: Iterable<string>, wanted: Role): string | undefined {
  const all = [...names];
  if (all.length === 0) return "a file without any tensor: download it again";
  const found = kinds.find((kind) => fits(all, kind));
  if (!found || found.as === wanted) return undefined;
  return found.use ? `${found.what}: ${found.use}` : `${found.what}, which is not supported`;
}

/** Says of a file with a UNet that it is no model that can be used, or holds more than that, which would change its pictures. */
export function besideModel(names: Iterable<string>): string | undefined {
  const all = [...names];
  const found = kinds.find((kind) => kind.beside && fits(all, kind));
  if (!found) return undefined;
  return found.beside === "a part"
    ? `it holds ${found.what} beside its networks`
    : `it is ${found.what}, which is not supported`;
}
