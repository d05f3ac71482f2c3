"""Reference values for `guidanceRescale` of InstructPix2Pix, with torch and diffusers on the tiny golden model.

Run: python make.py <folder of the golden set>. Writes cases.json and cases.safetensors beside this file.

diffusers' pipeline for SDXL rescales the guided answer towards that for image and prompt (`rescale_noise_cfg`); the one
for Stable Diffusion 1 has no such argument, so that the same function is put between its guidance and its scheduler.
"""

import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionInstructPix2PixPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_instruct_pix2pix import rescale_noise_cfg
from PIL import Image
from safetensors.torch import save_file

GOLDEN = Path(sys.argv[1])
HERE = Path(__file__).parent
PROMPT, NEGATIVE, SEED, SIZE = "make it a marble fox", "blurry, text", 7, 48
CASES = [
    {"id": "whole", "rescale": 1, "steps": 3, "guidance": 7.5, "imageGuidance": 1.5},
    {"id": "partly", "rescale": 0.4, "steps": 3, "guidance": 4, "imageGuidance": 2},
]


def picture():
    """A picture that any language can draw: [H, W, 3] in 0..255."""
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.stack([(x * 5) % 256, (y * 5) % 256, (x * 3 + y * 2) % 256], axis=-1).astype(np.uint8)


def draw(case):
    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(GOLDEN / "models/tiny-ip2p", safety_checker=None)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    answers, step = [], pipe.scheduler.step
    pipe.unet.register_forward_hook(lambda _, __, answer: answers.append(answer[0]))

    def rescaled(noise_pred, *args, **kwargs):
        text, _image, _nothing = answers[-1].chunk(3)
        return step(rescale_noise_cfg(noise_pred, text, case["rescale"]), *args, **kwargs)

    pipe.scheduler.step = rescaled
    return pipe(
        PROMPT,
        image=Image.fromarray(picture()),
        negative_prompt=NEGATIVE,
        num_inference_steps=case["steps"],
        guidance_scale=case["guidance"],
        image_guidance_scale=case["imageGuidance"],
        generator=torch.Generator().manual_seed(SEED),
        output_type="latent",
    ).images


with torch.no_grad():
    tensors = {case["id"]: draw(case).contiguous() for case in CASES}
save_file(tensors, HERE / "cases.safetensors")
about = {
    "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
    "prompt": PROMPT,
    "negativePrompt": NEGATIVE,
    "seed": SEED,
    "size": SIZE,
    "cases": CASES,
}
(HERE / "cases.json").write_text(json.dumps(about, indent=2) + "\n")
