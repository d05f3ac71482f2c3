"""Reference values of the x2 latent upscaler (StableDiffusionLatentUpscalePipeline), with torch and diffusers.

Run: python make.py <folder of the golden set>. Writes cases.json and cases.safetensors beside this file.

The tiny UNet of K blocks is not stored: `recipe` makes its weights from torch's generator, tensor by tensor in the order
of `weights` in cases.json, and so does the test. Text encoder, VAE and tokenizer are those of models/tiny-sd1.
"""

import json
import math
import sys
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionLatentUpscalePipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

SD1 = Path(sys.argv[1]) / "models" / "tiny-sd1"
HERE = Path(__file__).parent
WEIGHT_SEED = 11

# As in sd-x2-latent-upscaler, but narrower and with one resolution less.
UNET = {
    "act_fn": "gelu",
    "attention_head_dim": 16,
    "block_out_channels": [32, 64, 64],
    "conv_in_kernel": 1,
    "conv_out_kernel": 1,
    "cross_attention_dim": 32,
    "down_block_types": ["KDownBlock2D", "KCrossAttnDownBlock2D", "KCrossAttnDownBlock2D"],
    "in_channels": 8,
    "layers_per_block": 2,
    "mid_block_type": None,
    "norm_num_groups": None,
    "only_cross_attention": False,
    "out_channels": 5,
    "resnet_time_scale_shift": "scale_shift",
    "sample_size": 32,
    "time_cond_proj_dim": 128 + 32,
    "time_embedding_type": "fourier",
    "timestep_post_act": "gelu",
    "up_block_types": ["KCrossAttnUpBlock2D", "KCrossAttnUpBlock2D", "KUpBlock2D"],
}
SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "prediction_type": "sample",
}


def recipe(shapes):
    """Norms of attention scale by about one, products keep the size of what they multiply, the rest is small."""
    generator = torch.Generator().manual_seed(WEIGHT_SEED)
    weights = {}
    for name, shape in shapes.items():
        noise = torch.randn(math.prod(shape), generator=generator).reshape(shape)
        if name == "time_proj.weight":
            weights[name] = noise
        elif name.endswith("norm_cross.weight"):
            weights[name] = 1 + 0.1 * noise
        elif len(shape) == 1:
            weights[name] = 0.1 * noise
        else:
            weights[name] = noise * math.sqrt(1 / math.prod(shape[1:]))
    return weights


def numbers(seed, shape):
    return torch.randn(math.prod(shape), generator=torch.Generator().manual_seed(seed)).reshape(shape)


unet = UNet2DConditionModel(**UNET)
shapes = {name: list(tensor.shape) for name, tensor in sorted(unet.state_dict().items())}
unet.load_state_dict(recipe(shapes))
unet.eval()
text_encoder = CLIPTextModel.from_pretrained(SD1 / "text_encoder").eval()
pipe = StableDiffusionLatentUpscalePipeline(
    vae=AutoencoderKL.from_pretrained(SD1 / "vae").eval(),
    text_encoder=text_encoder,
    tokenizer=CLIPTokenizer.from_pretrained(SD1 / "tokenizer"),
    unet=unet,
    scheduler=EulerDiscreteScheduler.from_config(SCHEDULER),
)
pipe.set_progress_bar_config(disable=True)

tensors, cases = {}, []

# The network alone: batch 2, not square, at the smallest size in one direction.
sample, context = numbers(1, [2, 8, 8, 12]), numbers(2, [2, 77, 32])
condition, time = numbers(3, [2, 160]), 0.25 * math.log(1.7)
with torch.no_grad():
    out = unet(sample, torch.tensor(time), encoder_hidden_states=context, timestep_cond=condition).sample
tensors["unet.sample"] = out
print("unet", out.std())

ids = pipe.tokenizer("a dog", padding="max_length", return_tensors="pt").input_ids
with torch.no_grad():
    encoded = text_encoder(ids, output_hidden_states=True)
    tied = torch.equal(encoded.hidden_states[-1], encoded.last_hidden_state)
print("hidden_states[-1] is the normed state:", tied)

# Made from numbers, so that no file is needed.
pixels = ((numbers(5, [64, 96, 3]) * 40 + 128).clamp(0, 255)).round().to(torch.uint8)
image = Image.fromarray(pixels.numpy())
latents = numbers(6, [1, 4, 16, 8])
for name, given in [
    ("image", {"image": image, "num_inference_steps": 4, "guidance_scale": 9.0, "negative_prompt": "blurry"}),
    ("unguided", {"image": image, "num_inference_steps": 3, "guidance_scale": 1.0}),
    ("latents", {"image": latents, "num_inference_steps": 5, "guidance_scale": 3.0}),
]:
    call = {"prompt": "a marble fox", **given}
    if name == "latents":
        call["image"] = latents
    result = pipe(**call, generator=torch.Generator().manual_seed(7), output_type="latent").images
    tensors[f"{name}.latents"] = result
    print(name, tuple(result.shape), result.std())
    cases.append({"id": name, **{k: v for k, v in given.items() if k != "image"}})

save_file({k: v.contiguous() for k, v in tensors.items()}, HERE / "cases.safetensors")
facts = {
    "made_with": {"torch": torch.__version__, "diffusers": diffusers.__version__, "transformers": transformers.__version__},
    "hidden_is_normed": tied,
    "unet": {"_class_name": "UNet2DConditionModel", **UNET},
    "scheduler": SCHEDULER,
    "weight_seed": WEIGHT_SEED,
    "weights": shapes,
    "cases": cases,
}
(HERE / "cases.json").write_text(json.dumps(facts, indent=1) + "\n")
