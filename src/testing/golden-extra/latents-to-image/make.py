"""Image to image that starts from the model's own latents, in diffusers on the tiny golden models.

Run: python make.py <folder of the golden set>. Writes cases.json and cases.safetensors beside this file.

diffusers takes what has as many channels as its latents in a picture's place: they are not encoded, and not scaled.
"""

import json
import sys
from pathlib import Path

import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionXLImg2ImgPipeline,
)
from safetensors.torch import save_file

GOLDEN = Path(sys.argv[1])
HERE = Path(__file__).parent
ASKED = {"prompt": "a marble fox", "negative_prompt": "blurry", "guidance_scale": 6.0}
SEED = 11

CASES = [
    {"id": "sd1", "model": "models/tiny-sd1", "scheduler": "ddim", "steps": 5, "strength": 0.6, "cells": [6, 4]},
    {"id": "sd2", "model": "models/tiny-sd2", "scheduler": "euler", "steps": 4, "strength": 1.0, "cells": [4, 4]},
    {"id": "sdxl", "model": "models/tiny-sdxl", "scheduler": "euler", "steps": 6, "strength": 0.5, "cells": [6, 6]},
]

torch.set_num_threads(1)
tensors = {}
for case in CASES:
    kind = StableDiffusionXLImg2ImgPipeline if "xl" in case["model"] else StableDiffusionImg2ImgPipeline
    more = {} if "xl" in case["model"] else {"safety_checker": None, "requires_safety_checker": False}
    pipe = kind.from_pretrained(GOLDEN / case["model"], **more)
    pipe.set_progress_bar_config(disable=True)
    scheduler = DDIMScheduler if case["scheduler"] == "ddim" else EulerDiscreteScheduler
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    latents = torch.randn((1, 4, *case["cells"]), generator=torch.Generator().manual_seed(3))
    result = pipe(
        image=latents,
        strength=case["strength"],
        num_inference_steps=case["steps"],
        generator=torch.Generator().manual_seed(SEED),
        output_type="latent",
        **ASKED,
    )
    tensors[f"{case['id']}.image"] = latents
    tensors[f"{case['id']}.latents"] = result.images.contiguous()

save_file(tensors, HERE / "cases.safetensors")
(HERE / "cases.json").write_text(json.dumps({"seed": SEED, "asked": ASKED, "cases": CASES}, indent=2) + "\n")
