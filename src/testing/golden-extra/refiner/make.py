"""Reference values for Stable Diffusion XL's refiner, with torch and diffusers on a tiny one.

Run: python make.py <folder of the golden set>. Writes cases.json and cases.safetensors beside this file.

The UNet of the tiny refiner is not stored: `recipe` makes its weights from torch's generator, tensor by tensor in the
order of `weights` in cases.json, and so does the test. Everything else is of models/tiny-sdxl, without its first text
encoder.
"""

import json
import math
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

GOLDEN = Path(sys.argv[1])
HERE = Path(__file__).parent
BASE = GOLDEN / "models/tiny-sdxl"
PROMPT, NEGATIVE, SEED, SIZE, WEIGHT_SEED = "a marble fox dancing on the moon", "blurry, text", 7, 48, 11

CASES = [
    {"id": "hand-over", "steps": 5, "guidance": 5, "switch": 0.6},
    {"id": "picture", "steps": 5, "guidance": 4, "strength": 0.3},
    {"id": "scores", "steps": 4, "guidance": 5, "strength": 0.5, "score": 7.5, "negative_score": 1.5, "original": [64, 80], "crop": [3, 5]},
]


def recipe(shapes):
    generator = torch.Generator().manual_seed(WEIGHT_SEED)
    weights = {}
    for name, shape in shapes.items():
        noise = torch.randn(math.prod(shape), generator=generator).reshape(shape)
        if len(shape) == 1:
            weights[name] = 0.1 * noise + (1 if "norm" in name and name.endswith("weight") else 0)
        else:
            weights[name] = noise * math.sqrt(1 / math.prod(shape[1:]))
    return weights


def refiner():
    config = json.loads((BASE / "unet/config.json").read_text())
    config |= {"cross_attention_dim": 40, "projection_class_embeddings_input_dim": 24 + 5 * 8}
    unet = UNet2DConditionModel.from_config(config)
    shapes = {name: list(value.shape) for name, value in unet.state_dict().items()}
    unet.load_state_dict(recipe(shapes))
    pipe = StableDiffusionXLImg2ImgPipeline(
        vae=AutoencoderKL.from_pretrained(BASE / "vae"),
        text_encoder=None,
        text_encoder_2=CLIPTextModelWithProjection.from_pretrained(BASE / "text_encoder_2"),
        tokenizer=None,
        tokenizer_2=CLIPTokenizer.from_pretrained(BASE / "tokenizer_2"),
        unet=unet.eval(),
        scheduler=EulerDiscreteScheduler.from_pretrained(BASE / "scheduler"),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    return pipe, config, shapes


def picture():
    """A picture that any language can draw."""
    y, x = np.mgrid[:SIZE, :SIZE]
    return Image.fromarray(np.stack([(x * 5) % 256, (y * 5) % 256, (x * 3 + y * 2) % 256], axis=-1).astype(np.uint8))


def run(pipe, case):
    call = {
        "prompt": PROMPT,
        "negative_prompt": NEGATIVE,
        "num_inference_steps": case["steps"],
        "guidance_scale": case["guidance"],
        "output_type": "latent",
    }
    generator = lambda: torch.Generator().manual_seed(SEED)
    if "switch" in case:
        base = StableDiffusionXLPipeline.from_pretrained(BASE)
        latents = base(**call, height=SIZE, width=SIZE, denoising_end=case["switch"], generator=generator()).images
        return {
            case["id"] + ".base": latents,
            case["id"]: pipe(**call, image=latents, denoising_start=case["switch"], generator=generator()).images,
        }
    scores = {"aesthetic_score": case["score"], "negative_aesthetic_score": case["negative_score"]} if "score" in case else {}
    sizes = {"original_size": tuple(case["original"]), "crops_coords_top_left": tuple(case["crop"])} if "original" in case else {}
    image = pipe(**call, image=picture(), strength=case["strength"], generator=generator(), **scores, **sizes).images
    return {case["id"]: image}


with torch.no_grad():
    pipe, config, shapes = refiner()
    tensors = {}
    for case in CASES:
        tensors |= {name: value.contiguous() for name, value in run(pipe, case).items()}
save_file(tensors, HERE / "cases.safetensors")
about = {
    "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
    "prompt": PROMPT,
    "negativePrompt": NEGATIVE,
    "seed": SEED,
    "size": SIZE,
    "cases": CASES,
    "unet": config,
    "weight_seed": WEIGHT_SEED,
    "weights": shapes,
}
(HERE / "cases.json").write_text(json.dumps(about, indent=2) + "\n")
print({name: (tuple(t.shape), t.std().item()) for name, t in tensors.items()})
