"""Latents of tiny-sd1 with tiny-controlnet where only the masked part is repainted (padding_mask_crop), of which the
control picture is cropped, too: what it holds outside of that part changes nothing. In "corner" the part has the aspect
ratio generated at; in "edge" it is narrower than that and filled up.

Made with torch 2.15.0, diffusers 0.42.1, transformers 5.23.0: python make.py
"""

import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, StableDiffusionControlNetInpaintPipeline, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import save_file

here = Path(__file__).parent
models = Path(sys.argv[1]) if len(sys.argv) > 1 else here.parents[1] / "golden/models"
plain = StableDiffusionPipeline.from_pretrained(models / "tiny-sd1", safety_checker=None)
plain.components.pop("image_encoder", None)
pipe = StableDiffusionControlNetInpaintPipeline(
    vae=plain.vae, text_encoder=plain.text_encoder, tokenizer=plain.tokenizer, unet=plain.unet,
    controlnet=ControlNetModel.from_pretrained(models / "tiny-controlnet"),
    scheduler=DDIMScheduler.from_config(plain.scheduler.config), safety_checker=None, feature_extractor=None)
pipe.set_progress_bar_config(disable=True)


def waves(width, height):
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return x, y, Image.fromarray(np.stack([x * 7 % 256, y * 5 % 256, (x + y) * 3 % 256], -1).astype(np.uint8))


def run(width, height, box, outside):
    x, y, image = waves(width, height)
    left, top, right, bottom = box
    mask = Image.fromarray(((x >= left) & (x < right) & (y >= top) & (y < bottom)).astype(np.uint8) * 255)
    board = (x // 8 + y // 8) % 2 * 255
    control = Image.fromarray(np.where((x < 64) & (y < 64), board, outside).astype(np.uint8)).convert("RGB")
    found = []

    def keep(_pipe, _step, _timestep, tensors):
        found.append(tensors["latents"])
        return tensors

    # diffusers gives back pictures alone here, so the latents are those of the last step
    pipe("a cat", image=image, mask_image=mask, control_image=control, height=64, width=64, strength=0.8,
         num_inference_steps=5, guidance_scale=5.0, padding_mask_crop=16, controlnet_conditioning_scale=4.0,
         generator=torch.Generator().manual_seed(5), callback_on_step_end=keep)
    return found[-1].contiguous()


cases = {"corner": (128, 128, (0, 0, 40, 40)), "edge": (48, 128, (0, 4, 40, 48))}
out = {}
for name, (width, height, box) in cases.items():
    out[name], other = [run(width, height, box, outside) for outside in (0, 255)]
    print(name, (out[name] - other).abs().max(), out[name].abs().max())
save_file(out, here / "latents.safetensors")
