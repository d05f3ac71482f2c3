"""Reference values for `freeu`, `pag` and `softMask`, with torch and diffusers on the tiny golden models.

Run: python make.py <folder of the golden set>. Writes cases.json and cases.safetensors beside this file.

- FreeU (Si et al. 2023): diffusers' `enable_freeu`.
- Perturbed attention guidance (Ahn et al. 2024): diffusers' PAG pipelines, with CFG and without.
- Differential diffusion (Levin and Fried 2023): the loop below. At call i of n, what the mask (1: repaint) has not
  released yet, where 1 - mask > i / n, is the original at the noise level of the call. The mask is brought to the
  latents' size by bilinear interpolation without antialiasing.
"""

import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPAGPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPAGPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import retrieve_latents
from safetensors.torch import save_file

GOLDEN = Path(sys.argv[1])
HERE = Path(__file__).parent
PROMPT, NEGATIVE, SEED, SIZE = "a marble fox dancing on the moon", "blurry, text", 7, 48
SD1, SDXL = "models/tiny-sd1", "models/tiny-sdxl"
FREEU = {"b1": 1.5, "b2": 1.6, "s1": 0.9, "s2": 0.2}

CASES = [
    {"id": "freeu", "model": SD1, "scheduler": "ddim", "steps": 4, "guidance": 7.5, "freeu": FREEU},
    {"id": "freeu-xl", "model": SDXL, "scheduler": "euler", "steps": 3, "guidance": 5, "freeu": FREEU},
    {"id": "freeu-odd", "model": SD1, "scheduler": "ddim", "steps": 2, "guidance": 7.5, "freeu": FREEU, "size": [56, 72]},
    {"id": "freeu-flat", "model": SD1, "scheduler": "ddim", "steps": 2, "guidance": 7.5, "freeu": FREEU, "size": [32, 16]},
    {"id": "pag", "model": SD1, "scheduler": "ddim", "steps": 4, "guidance": 7.5, "pag": {"scale": 3, "layers": ["mid"]}},
    {"id": "pag-alone", "model": SD1, "scheduler": "ddim", "steps": 4, "guidance": 1, "pag": {"scale": 2.5, "layers": ["mid"]}},
    {"id": "pag-layers", "model": SD1, "scheduler": "ddim", "steps": 3, "guidance": 4, "rescale": 0.5,
     "pag": {"scale": 3, "layers": ["down_blocks.1", "up_blocks.1.attentions.0"]}},
    {"id": "pag-xl", "model": SDXL, "scheduler": "euler", "steps": 3, "guidance": 5, "pag": {"scale": 3, "layers": ["mid", "up"]}},
    {"id": "differential", "model": SD1, "scheduler": "ddim", "steps": 6, "guidance": 7.5, "strength": 1},
    {"id": "differential-half", "model": SD1, "scheduler": "euler", "steps": 8, "guidance": 5, "strength": 0.6},
    {"id": "differential-xl", "model": SDXL, "scheduler": "euler", "steps": 4, "guidance": 5, "strength": 0.8},
]
PIPELINES = {
    (SD1, "plain"): StableDiffusionPipeline,
    (SDXL, "plain"): StableDiffusionXLPipeline,
    (SD1, "pag"): StableDiffusionPAGPipeline,
    (SDXL, "pag"): StableDiffusionXLPAGPipeline,
    (SD1, "image"): StableDiffusionImg2ImgPipeline,
    (SDXL, "image"): StableDiffusionXLImg2ImgPipeline,
}


def picture():
    """A picture and a mask that any language can draw: [H, W, 3] and [H, W] in 0..255."""
    y, x = np.mgrid[:SIZE, :SIZE]
    image = np.stack([(x * 5) % 256, (y * 5) % 256, (x * 3 + y * 2) % 256], axis=-1).astype(np.uint8)
    return image, (x * 255 // (SIZE - 1)).astype(np.uint8)


def pipeline(case, kind, **options):
    pipe = PIPELINES[case["model"], kind].from_pretrained(GOLDEN / case["model"], **options)
    swap = {"ddim": DDIMScheduler, "euler": EulerDiscreteScheduler}[case["scheduler"]]
    pipe.scheduler = swap.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def from_noise(case):
    pag = case.get("pag")
    pipe = pipeline(case, "pag", pag_applied_layers=pag["layers"]) if pag else pipeline(case, "plain")
    if "freeu" in case:
        pipe.enable_freeu(**case["freeu"])
    height, width = case.get("size", [SIZE, SIZE])
    return pipe(
        PROMPT,
        negative_prompt=NEGATIVE,
        height=height,
        width=width,
        num_inference_steps=case["steps"],
        guidance_scale=case["guidance"],
        guidance_rescale=case.get("rescale", 0),
        generator=torch.Generator().manual_seed(SEED),
        output_type="latent",
        **({"pag_scale": pag["scale"]} if pag else {}),
    ).images


def differential(case):
    pipe = pipeline(case, "image")
    xl = case["model"] == SDXL
    image, mask = (torch.from_numpy(values.astype(np.float32)) / 255 for values in picture())
    cond, uncond, *pooled = pipe.encode_prompt(
        PROMPT, negative_prompt=NEGATIVE, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    context = torch.cat([uncond, cond])
    ids = torch.tensor([[SIZE, SIZE, 0, 0, SIZE, SIZE]], dtype=torch.float32).repeat(2, 1)
    added = {"text_embeds": torch.cat([pooled[1], pooled[0]]), "time_ids": ids} if xl else None
    pipe.scheduler.set_timesteps(case["steps"])
    timesteps, _ = pipe.get_timesteps(case["steps"], case["strength"], "cpu")
    generator = torch.Generator().manual_seed(SEED)
    pixels = image.permute(2, 0, 1)[None] * 2 - 1
    clean = retrieve_latents(pipe.vae.encode(pixels), generator=generator) * pipe.vae.config.scaling_factor
    noise = torch.randn(clean.shape, generator=generator)
    keep = 1 - torch.nn.functional.interpolate(mask[None, None], size=clean.shape[-2:], mode="bilinear", align_corners=False)
    total = len(timesteps)
    for i, t in enumerate(timesteps):
        original = pipe.scheduler.add_noise(clean, noise, t[None])
        if i == 0:
            latents = original
        else:
            kept = (keep > i / total).to(clean.dtype)
            latents = original * kept + latents * (1 - kept)
        x = pipe.scheduler.scale_model_input(torch.cat([latents] * 2), t)
        out = pipe.unet(x, t, encoder_hidden_states=context, added_cond_kwargs=added).sample
        out = out[:1] + case["guidance"] * (out[1:] - out[:1])
        latents = pipe.scheduler.step(out, t, latents).prev_sample
    return latents


with torch.no_grad():
    tensors = {}
    for case in CASES:
        tensors[case["id"]] = (differential if "strength" in case else from_noise)(case).contiguous()
        print(case["id"], tensors[case["id"]].std().item())
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
