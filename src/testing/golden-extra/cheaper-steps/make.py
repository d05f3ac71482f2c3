"""Reference values for `guidanceInterval`, `deepCache` and `tokenMerging`, with torch and diffusers on the tiny golden models.

Run: python make.py <folder of the golden set>. Writes cases.json and cases.safetensors beside this file.

- Guidance interval (Kynkaanniemi et al. 2024): outside of the interval classifier-free guidance is off, as diffusers'
  guiders do it: on for int(start * calls) <= call < int(end * calls).
- Token merging (Bolya and Hoffman 2023): in the first level's self-attention that has some; the first of each 2x2
  tokens is a destination, and tokens are compared by the transformer block's input.
- DeepCache (Ma et al. 2023), uniform interval N, branch 0: at calls that N does not divide, the input of the last up
  layer is that of the last whole call, and only conv_in, that layer and the head are computed.
"""

import json
import sys
from pathlib import Path

import diffusers
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.models.attention import BasicTransformerBlock
from diffusers.schedulers import DDIMScheduler, EulerDiscreteScheduler
from safetensors.torch import save_file

GOLDEN = Path(sys.argv[1])
HERE = Path(__file__).parent
PROMPT, NEGATIVE = "a marble fox dancing on the moon", "blurry, text"
SIZE, GUIDANCE = 48, 7.5

CASES = [
    {"id": "interval", "model": "models/tiny-sd1", "scheduler": "ddim", "steps": 10, "interval": [0.3, 0.7]},
    {"id": "interval-start", "model": "models/tiny-sd2", "scheduler": "ddim", "steps": 7, "interval": [0, 0.5]},
    {"id": "interval-sdxl", "model": "models/tiny-sdxl", "scheduler": "euler", "steps": 6, "interval": [0.2, 1]},
    {"id": "deep-cache", "model": "models/tiny-sd1", "scheduler": "ddim", "steps": 8, "every": 3},
    {"id": "deep-cache-5", "model": "models/tiny-sd2", "scheduler": "ddim", "steps": 8, "every": 5},
    {"id": "deep-cache-sdxl", "model": "models/tiny-sdxl", "scheduler": "euler", "steps": 6, "every": 2},
    {
        "id": "both",
        "model": "models/tiny-sd1",
        "scheduler": "ddim",
        "steps": 9,
        "every": 3,
        "interval": [0.45, 0.7],
    },
    {"id": "merging", "model": "models/tiny-sd1", "scheduler": "ddim", "steps": 4, "merge": 0.5},
    {"id": "merging-most", "model": "models/tiny-sd2", "scheduler": "ddim", "steps": 4, "merge": 0.75},
    {"id": "merging-sdxl", "model": "models/tiny-sdxl", "scheduler": "euler", "steps": 4, "merge": 0.5},
    {"id": "merging-odd", "model": "models/tiny-sd1", "scheduler": "ddim", "steps": 3, "merge": 0.4, "size": [56, 72]},
    {
        "id": "all",
        "model": "models/tiny-sd2",
        "scheduler": "ddim",
        "steps": 6,
        "every": 2,
        "interval": [0.2, 0.7],
        "merge": 0.5,
    },
]


def merge_tokens(unet, ratio, height, width):
    """Makes the transformer blocks that see height x width tokens attend to fewer of them."""
    index = torch.arange(height * width).reshape(height, width)
    is_first = torch.zeros(height, width, dtype=torch.bool)
    is_first[: height // 2 * 2 : 2, : width // 2 * 2 : 2] = True
    destinations, sources = index[is_first], index[~is_first]
    count = min(len(sources), int(height * width * ratio))
    for block in [m for m in unet.modules() if isinstance(m, BasicTransformerBlock)]:
        block.register_forward_pre_hook(lambda module, args: setattr(module, "compared", args[0]))

        def forward(normed, *args, block=block, attend=block.attn1.forward, **kwargs):
            if normed.shape[1] != height * width:
                return attend(normed, *args, **kwargs)
            unit = block.compared / block.compared.norm(dim=-1, keepdim=True)
            rows, matches = [], []
            for x, y in zip(unit, normed):
                likeness, target = (x[sources] @ x[destinations].T).max(-1)
                order = likeness.argsort(descending=True)
                gone, left = order[:count], order[count:]
                into = y[destinations].scatter_reduce(
                    0, target[gone, None].expand(-1, y.shape[1]), y[sources][gone], reduce="mean"
                )
                rows.append(torch.cat([y[sources][left], into]))
                matches.append((gone, left, target[gone]))
            seen = attend(torch.stack(rows), *args, **kwargs)
            out = torch.zeros_like(normed)
            for i, (gone, left, target) in enumerate(matches):
                out[i, sources[left]] = seen[i, : len(left)]
                out[i, destinations] = seen[i, len(left) :]
                out[i, sources[gone]] = seen[i, len(left) + target]
            return out

        block.attn1.forward = forward


class DeepCache:
    """The UNet with its deep feature kept. `rows` are those of the guided batch that a call is about."""

    def __init__(self, unet, every):
        self.unet, self.every, self.kept = unet, every, {}
        last = unet.up_blocks[-1].resnets[-1]
        last.register_forward_pre_hook(lambda _, args: setattr(self, "seen", args[0]))

    def __call__(self, call, sample, t, context, rows, added):
        whole = self.every is None or call % self.every == 0
        # A row that the last whole call was not about has nothing to go on with.
        if whole or any(row not in self.kept for row in rows):
            out = self.unet(sample, t, encoder_hidden_states=context, added_cond_kwargs=added).sample
            width = self.unet.conv_in.out_channels
            self.kept = {row: self.seen[i, :-width] for i, row in enumerate(rows)}
            return out
        unet = self.unet
        emb = unet.time_embedding(unet.get_time_embed(sample, t))
        if unet.config.addition_embed_type:
            emb = emb + unet.get_aug_embed(emb, context, added)
        skip = unet.conv_in(sample)
        block = unet.up_blocks[-1]
        h = torch.cat([torch.stack([self.kept[row] for row in rows]), skip], dim=1)
        h = block.resnets[-1](h, emb)
        if getattr(block, "attentions", None):
            h = block.attentions[-1](h, encoder_hidden_states=context).sample
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(h)))


def run(case):
    xl = "sdxl" in case["model"]
    pipe = (StableDiffusionXLPipeline if xl else StableDiffusionPipeline).from_pretrained(GOLDEN / case["model"])
    swap = {"ddim": DDIMScheduler, "euler": EulerDiscreteScheduler}[case["scheduler"]]
    scheduler = swap.from_config(pipe.scheduler.config)
    scheduler.set_timesteps(case["steps"])
    cond, uncond, *pooled = pipe.encode_prompt(
        PROMPT, negative_prompt=NEGATIVE, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    contexts = torch.cat([uncond, cond])
    height, width = case.get("size", [SIZE, SIZE])
    ids = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32).repeat(2, 1)
    texts = torch.cat([pooled[1], pooled[0]]) if xl else None
    generator = torch.Generator().manual_seed(7)
    factor = pipe.vae_scale_factor
    height, width = height // factor, width // factor
    latents = torch.randn(1, pipe.unet.config.in_channels, height, width, generator=generator)
    if "merge" in case:
        # Where attention begins: with SDXL, behind the first halving.
        halvings = [hasattr(block, "attentions") for block in pipe.unet.down_blocks].index(True)
        for _ in range(halvings):
            height, width = (height + 1) // 2, (width + 1) // 2
        merge_tokens(pipe.unet, case["merge"], height, width)
    latents = latents * scheduler.init_noise_sigma
    calls = len(scheduler.timesteps)
    start, end = case.get("interval", [0, 1])
    network = DeepCache(pipe.unet, case.get("every"))
    for call, t in enumerate(scheduler.timesteps):
        rows = [0, 1] if int(start * calls) <= call < int(end * calls) else [1]
        x = scheduler.scale_model_input(latents, t).repeat(len(rows), 1, 1, 1)
        added = {"text_embeds": texts[rows], "time_ids": ids[rows]} if xl else None
        out = network(call, x, t, contexts[rows], rows, added)
        if len(rows) == 2:
            out = out[0] + GUIDANCE * (out[1] - out[0])
        latents = scheduler.step(out.reshape(latents.shape), t, latents).prev_sample
    return latents


with torch.no_grad():
    torch.manual_seed(0)
    tensors = {case["id"]: run(case).contiguous() for case in CASES}
save_file(tensors, HERE / "cases.safetensors")
about = {
    "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
    "prompt": PROMPT,
    "negativePrompt": NEGATIVE,
    "seed": 7,
    "size": SIZE,
    "guidance": GUIDANCE,
    "cases": CASES,
}
(HERE / "cases.json").write_text(json.dumps(about, indent=2) + "\n")
