"""T2I-Adapters with random weights: their features, a UNet with them, and pictures of tiny-sd1 that follow them.

Made with torch 2.15.0, diffusers 0.42.1, transformers 5.23.0, numpy 2.4.6, pillow 13.0.0: python make.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, MultiAdapter, StableDiffusionAdapterPipeline, StableDiffusionPipeline
from diffusers import T2IAdapter, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file

here = Path(__file__).parent
tiny = here.parents[1] / "golden/models/tiny-sd1"
torch.manual_seed(3)
random = np.random.default_rng(3)
cases, tensors = {"features": [], "unet": {}, "pipelines": []}, {}


def stirred(module, scale=0.15):
    """Every parameter random, so that none of them can be forgotten."""
    for p in module.parameters():
        torch.nn.init.normal_(p, 0, scale if p.ndim > 1 else 0.1)
    return module.half().eval().requires_grad_(False)


def saved(module, folder):
    """Stored in half precision, used in single."""
    module.save_pretrained(here / folder)
    return module.float()


def keep(name, tensor):
    tensors[name] = tensor.contiguous()
    return name


adapters = {
    "full": dict(adapter_type="full_adapter", channels=[16, 24, 24], num_res_blocks=1, downscale_factor=8),
    "light": dict(adapter_type="light_adapter", channels=[16, 24], num_res_blocks=2, downscale_factor=4, in_channels=1),
    "xl": dict(adapter_type="full_adapter_xl", channels=[8, 16, 16, 16], num_res_blocks=1, downscale_factor=4),
}
made = {}
for name, config in adapters.items():
    made[name] = saved(stirred(T2IAdapter(**config), 0.05 if name == "full" else 0.1), name)

# 88 x 72 pixels are 11 x 9 cells: sides that do not halve evenly.
for name, (width, height) in {"full": (88, 72), "light": (32, 48), "xl": (32, 16)}.items():
    x = torch.rand(2, adapters[name].get("in_channels", 3), height, width)
    features = made[name](x)
    cases["features"].append({
        "adapter": name,
        "image": keep(f"{name}.image", x),
        "features": [keep(f"{name}.feature.{i}", f) for i, f in enumerate(features)],
    })

# A UNet as SDXL's: no attention at the first level, and features for the middle.
unet = UNet2DConditionModel(
    sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16, 16),
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    cross_attention_dim=8, attention_head_dim=(1, 2, 2), norm_num_groups=4, use_linear_projection=True,
)
unet = saved(stirred(unet), "unet")
sample, context = torch.randn(2, 4, 8, 16), torch.randn(2, 5, 8)
features = made["xl"](torch.rand(2, 3, 16, 32))
cases["unet"] = {
    "sample": keep("unet.sample", sample),
    "context": keep("unet.context", context),
    "timestep": 501,
    "features": [keep(f"unet.feature.{i}", f) for i, f in enumerate(features)],
    "output": keep("unet.output", unet(
        sample, 501, context, down_intrablock_additional_residuals=[f.clone() for f in features]
    ).sample),
}

base = StableDiffusionPipeline.from_pretrained(tiny, safety_checker=None, feature_extractor=None)
factor = base.vae_scale_factor
for i in range(2):
    pixels = random.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(here / f"picture-{i}.png")
pictures = [Image.open(here / f"picture-{i}.png") for i in range(2)]
assert factor == adapters["full"]["downscale_factor"]
other = saved(stirred(T2IAdapter(**adapters["full"]), 0.05), "full-2")


def run(name, adapter, image, scale, **call):
    pipe = StableDiffusionAdapterPipeline(
        vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, unet=base.unet, adapter=adapter,
        scheduler=DDIMScheduler.from_config(base.scheduler.config), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    size = 8 * factor
    latents = pipe("a cat", image=image, height=size, width=2 * size, num_inference_steps=4, guidance_scale=5.0,
                   adapter_conditioning_scale=scale, generator=torch.Generator().manual_seed(11),
                   output_type="latent", **call).images
    cases["pipelines"].append({"name": name, "scale": scale, "latents": keep(f"pipeline.{name}", latents)})


run("one", made["full"], pictures[0], 0.8)
run("several", MultiAdapter([made["full"], other]), pictures, [0.7, 0.4])
cases["pipeline"] = {"prompt": "a cat", "width": 16 * factor, "height": 8 * factor, "steps": 4, "guidance": 5,
                     "seed": 11, "scheduler": "ddim"}
save_file(tensors, here / "t2i-adapter.safetensors")
(here / "cases.json").write_text(json.dumps(cases, indent=2) + "\n")
