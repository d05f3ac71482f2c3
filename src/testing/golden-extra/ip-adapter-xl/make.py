"""An IP-Adapter with random weights for tiny-sdxl, whose attentions have several layers, and latents that follow a picture.

Made with torch 2.15.0, diffusers 0.42.1, transformers 5.23.0, from the full set of reference values beside the clone;
picture and image encoder are those of ../ip-adapter: python make.py
"""

from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import save_file

here = Path(__file__).parent
beside = here.parent / "ip-adapter"
tiny = here.parents[4] / "shared/golden/models/tiny-sdxl"
torch.manual_seed(8)
pipe = StableDiffusionXLPipeline.from_pretrained(tiny)
pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
pipe.set_progress_bar_config(disable=True)
width = pipe.unet.config.cross_attention_dim
EMBEDDING, HIDDEN = 20, 24  # of the image encoder


def normal(*shape, scale=0.2):
    return (torch.randn(shape) * scale).half()


flat = {"proj.weight": normal(4 * width, EMBEDDING), "proj.bias": normal(4 * width),
        "norm.weight": normal(width) + 1, "norm.bias": normal(width)}
flat = {f"image_proj.{key}": value for key, value in flat.items()}
index = 1
for name in pipe.unet.attn_processors:
    if "attn2" in name:
        module = pipe.unet.get_submodule(name.removesuffix(".processor"))
        for what in "kv":
            shape = getattr(module, f"to_{what}").weight.shape
            flat[f"ip_adapter.{index}.to_{what}_ip.weight"] = normal(*shape, scale=0.5)
        index += 2
save_file({key: value.contiguous() for key, value in flat.items()}, here / "plain.safetensors")

pipe.load_ip_adapter(here.as_posix(), subfolder="", weight_name="plain.safetensors",
                     image_encoder_folder=(beside / "image_encoder").as_posix())
pipe.set_ip_adapter_scale(0.6)
latents = pipe("a cat", num_inference_steps=3, guidance_scale=5.0, height=64, width=96,
               ip_adapter_image=Image.open(beside / "wide.png"), generator=torch.Generator().manual_seed(13),
               output_type="latent").images
save_file({"latents": latents.contiguous()}, here / "latents.safetensors")
print(latents.shape, latents.abs().max(), index)
