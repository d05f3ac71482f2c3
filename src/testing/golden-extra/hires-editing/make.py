"""Reference values of whole generations with hires fix and prompt editing, of diffusers' pieces on a tiny golden model.

Run: python make.py <folder of the golden set>. Writes cases.json and cases.safetensors beside this file.

What is said at each evaluation is written out by hand, by the web UI's rules: the first pass counts fractions of its steps
and whole numbers; in the second pass fractions count from 1, whole numbers go on from the first pass's last step; a
prompt holds up to and including the evaluation (from 0) whose number is `when`. Latents are enlarged bilinearly, the
second pass draws its noise by the same seed anew and runs all its steps, on a schedule of int(steps / strength).
"""

import json
import sys
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

GOLDEN = Path(sys.argv[1])
HERE = Path(__file__).parent
MODEL = GOLDEN / "models/tiny-sd1"
NEGATIVE, SEED, SIZE, SCALE, GUIDANCE, STRENGTH = "blurry, text", 5, 32, 1.5, 4, 0.7

CASES = [
    # A fraction of the second pass: 1.5 is its middle, two of four steps, and so three evaluations.
    {
        "id": "fraction",
        "prompt": "a [cat:dog:1.5]",
        "steps": 4,
        "hires_steps": 4,
        "first": ["a cat"] * 4,
        "second": ["a cat"] * 3 + ["a dog"],
    },
    # 5 is the first step of the second pass; 2 is over by then; 0.5 as well, and what takes turns begins anew.
    {
        "id": "whole-numbers",
        "prompt": "a [cat:dog:5] in [snow:rain:2], [old:new:0.5] [red|blue]",
        "steps": 4,
        "hires_steps": 3,
        "first": [
            "a cat in snow, old red",
            "a cat in snow, old red",
            "a cat in snow, old blue",
            "a cat in rain, new red",
        ],
        "second": ["a cat in rain, new red", "a cat in rain, new red", "a dog in rain, new blue"],
    },
]

tokenizer = CLIPTokenizer.from_pretrained(MODEL / "tokenizer")
text_encoder = CLIPTextModel.from_pretrained(MODEL / "text_encoder").eval()
unet = UNet2DConditionModel.from_pretrained(MODEL / "unet").eval()
vae = AutoencoderKL.from_pretrained(MODEL / "vae").eval()
factor = 2 ** (len(vae.config.block_out_channels) - 1)


def encoded(text):
    ids = tokenizer(text, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt")
    return text_encoder(ids.input_ids)[0]


def denoise(latents, scheduler, timesteps, prompts):
    assert len(timesteps) == len(prompts)
    negative = encoded(NEGATIVE)
    for t, prompt in zip(timesteps, prompts):
        both = scheduler.scale_model_input(torch.cat([latents] * 2), t)
        uncond, cond = unet(both, t, encoder_hidden_states=torch.cat([negative, encoded(prompt)])).sample.chunk(2)
        latents = scheduler.step(uncond + GUIDANCE * (cond - uncond), t, latents).prev_sample
    return latents


def run(case):
    plain = PNDMScheduler.from_pretrained(MODEL / "scheduler")
    scheduler = EulerDiscreteScheduler.from_config(plain.config)
    scheduler.set_timesteps(case["steps"])
    cells = SIZE // factor
    noise = torch.randn(1, 4, cells, cells, generator=torch.Generator().manual_seed(SEED))
    first = denoise(noise * scheduler.init_noise_sigma, scheduler, scheduler.timesteps, case["first"])
    larger = torch.nn.functional.interpolate(first, scale_factor=SCALE, mode="bilinear")
    scheduler = EulerDiscreteScheduler.from_config(plain.config)
    steps = case["hires_steps"]
    scheduler.set_timesteps(int(steps / STRENGTH))
    timesteps = scheduler.timesteps[-steps:]
    scheduler.set_begin_index(len(scheduler.timesteps) - steps)
    noise = torch.randn(larger.shape, generator=torch.Generator().manual_seed(SEED))
    start = scheduler.add_noise(larger, noise, timesteps[:1])
    return {case["id"] + ".first": first, case["id"]: denoise(start, scheduler, timesteps, case["second"])}


with torch.no_grad():
    tensors = {}
    for case in CASES:
        tensors |= {name: value.contiguous() for name, value in run(case).items()}
save_file(tensors, HERE / "cases.safetensors")
about = {
    "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
    **{"negativePrompt": NEGATIVE, "seed": SEED, "size": SIZE, "guidance": GUIDANCE},
    **{"scale": SCALE, "strength": STRENGTH},
    "cases": CASES,
}
(HERE / "cases.json").write_text(json.dumps(about, indent=2) + "\n")
print({name: (tuple(t.shape), t.std().item()) for name, t in tensors.items()})
