"""Latents of tiny-sd1 whose prompt and negative prompt take different numbers of chunks, as the web UI makes them: the
UNet runs once for each, with as many chunks as it has (pad_cond_uncond off, its default), or with empty chunks behind
the shorter one (on). Parts of AND are continued by their last vector, as reconstruct_multicond_batch does.

Made with torch 2.15.0, diffusers 0.42.1, transformers 5.23.0: python make.py
"""

import json
from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from safetensors.torch import save_file

here = Path(__file__).parent
pipe = StableDiffusionPipeline.from_pretrained(here.parents[1] / "golden/models/tiny-sd1", safety_checker=None)
tokenizer, encoder, unet = pipe.tokenizer, pipe.text_encoder, pipe.unet
scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
scale, steps, seed, size = 5.0, 4, 3, 64
long = " ".join(["red fox"] * 50)
longest = " ".join(["old house"] * 90)
cases = {
    "prompt": (["a small " + long], "a cat"),
    "negative": (["a cat"], long),
    "both": ([long], longest),
    "and": (["a cat", long], "a dog"),
}


def chunks(text):
    ids = tokenizer(text, add_special_tokens=False, truncation=False).input_ids
    return [ids[i : i + 75] for i in range(0, max(1, len(ids)), 75)]


@torch.no_grad()
def embed(parts):
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    rows = [torch.tensor([[begin, *part, *[end] * (76 - len(part))]]) for part in parts]
    return torch.cat([encoder(row).last_hidden_state for row in rows], 1)


@torch.no_grad()
def run(texts, negative, pad):
    parts = [chunks(text) for text in [negative, *texts]]
    if pad:
        most = max(map(len, parts))
        parts = [part + [[]] * (most - len(part)) for part in parts]
    against, *conds = map(embed, parts)
    longest_part = max(cond.shape[1] for cond in conds)
    conds = [torch.cat([cond, cond[:, -1:].repeat(1, longest_part - cond.shape[1], 1)], 1) for cond in conds]
    scheduler.set_timesteps(steps)
    edge = size // pipe.vae_scale_factor
    x = torch.randn(1, 4, edge, edge, generator=torch.Generator().manual_seed(seed)) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        nothing = unet(x, t, encoder_hidden_states=against).sample
        noise = nothing + sum(scale * (unet(x, t, encoder_hidden_states=cond).sample - nothing) for cond in conds)
        x = scheduler.step(noise, t, x).prev_sample
    return x.contiguous()


out, described = {}, []
for name, (texts, negative) in cases.items():
    for pad in (False, True):
        key = f"{name}-padded" if pad else name
        out[key] = run(texts, negative, pad)
        print(key, [len(chunks(t)) for t in [*texts, negative]], out[key].abs().max())
    print("  padding changes", (out[name] - out[f"{name}-padded"]).abs().max())
    described.append({"name": name, "prompt": " AND ".join(texts), "negativePrompt": negative})
save_file(out, here / "latents.safetensors")
options = {"guidance": scale, "steps": steps, "seed": seed, "width": size, "height": size, "scheduler": "ddim"}
(here / "cases.json").write_text(json.dumps({"options": options, "cases": described}, indent=2) + "\n")
