"""Latents of tiny-sd1 with tiny-controlnet, which is shown a picture with holes of -1, as diffusers' example of
control_v11p_sd15_inpaint makes them.

Made with torch 2.15.0, diffusers 0.42.1, transformers 5.23.0: python make.py
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, StableDiffusionControlNetPipeline
from PIL import Image
from safetensors.torch import save_file

here = Path(__file__).parent
models = here.parents[1] / "golden/models"
net = ControlNetModel.from_pretrained(models / "tiny-controlnet")
pipe = StableDiffusionControlNetPipeline.from_pretrained(models / "tiny-sd1", controlnet=net, safety_checker=None)
pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
pipe.set_progress_bar_config(disable=True)
picture = Image.open(here.parent / "controlnet-xl/picture.png").convert("RGB")
levels = np.zeros((picture.height, picture.width), np.uint8)
levels[10:50, 20:61] = 255
levels[0:8, 0:8] = 127  # not half: stays
levels[0:8, 40:48] = 128
mask = Image.fromarray(levels)
mask.save(here / "mask.png")


def inpaint_condition(image, image_mask):
    image = np.array(image.convert("RGB")).astype(np.float32) / 255.0
    image_mask = np.array(image_mask.convert("L")).astype(np.float32) / 255.0
    image[image_mask > 0.5] = -1.0
    return torch.from_numpy(np.expand_dims(image, 0).transpose(0, 3, 1, 2))


out = {}
for name, shown in {"latents": inpaint_condition(picture, mask), "whole": picture}.items():
    out[name] = pipe("a cat", image=shown, num_inference_steps=3, guidance_scale=5.0, height=picture.height,
                     width=picture.width, generator=torch.Generator().manual_seed(13), output_type="latent").images.contiguous()
print((out["latents"] - out["whole"]).abs().max(), out["latents"].abs().max())
save_file({"latents": out["latents"]}, here / "latents.safetensors")
