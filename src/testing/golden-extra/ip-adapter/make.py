"""IP-Adapters with random weights for tiny-sd1, their image encoder, and latents that follow pictures.

Made with torch 2.15.0, diffusers 0.42.1, transformers 5.23.0 (Pillow backend), numpy 2.4.6, pillow 13.0.0:
python make.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

here = Path(__file__).parent
tiny = here.parents[1] / "golden/models/tiny-sd1"
torch.manual_seed(5)
random = np.random.default_rng(5)
cases, tensors = {}, {}
WIDTH, EMBEDDING, HIDDEN = 32, 20, 24  # of the context, of a pooled picture, of its tokens


def keep(name, tensor):
    tensors[name] = tensor.float().contiguous()
    return name


def normal(*shape, scale=0.2):
    return (torch.randn(shape) * scale).half()


encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(
    hidden_size=HIDDEN, intermediate_size=40, num_hidden_layers=3, num_attention_heads=3, image_size=30,
    patch_size=7, projection_dim=EMBEDDING, hidden_act="gelu",
)).eval().requires_grad_(False)
for p in encoder.parameters():
    torch.nn.init.normal_(p, 0, 0.2 if p.ndim > 1 else 0.3)
encoder = encoder.half()
encoder.save_pretrained(here / "image_encoder")
encoder = encoder.float()

for name, (width, height) in {"wide": (47, 31), "tall": (20, 53)}.items():
    low = random.integers(0, 256, (max(1, height // 8), max(1, width // 8), 3), dtype=np.uint8)
    Image.fromarray(low).resize((width, height), Image.Resampling.BICUBIC).save(here / f"{name}.png")
pictures = {name: Image.open(here / f"{name}.png") for name in ("wide", "tall")}
processor = CLIPImageProcessorPil(size=30, crop_size=30)
cases["encoder"] = []
for name, picture in pictures.items():
    pixels = processor(picture, return_tensors="pt").pixel_values
    out = encoder(pixels, output_hidden_states=True)
    cases["encoder"].append({
        "picture": f"{name}.png", "pixels": keep(f"{name}.pixels", pixels),
        "embedding": keep(f"{name}.embedding", out.image_embeds),
        "penultimate": keep(f"{name}.penultimate", out.hidden_states[-2]),
    })

pipe = StableDiffusionPipeline.from_pretrained(tiny, safety_checker=None, feature_extractor=None)
pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
pipe.set_progress_bar_config(disable=True)
attention = {}
index = 1
for name in pipe.unet.attn_processors:
    if "attn2" in name:
        module = pipe.unet.get_submodule(name.removesuffix(".processor"))
        for what in "kv":
            attention[f"{index}.to_{what}_ip.weight"] = normal(*getattr(module, f"to_{what}").weight.shape, scale=0.5)
        index += 2

plain = {"proj.weight": normal(4 * WIDTH, EMBEDDING), "proj.bias": normal(4 * WIDTH),
         "norm.weight": normal(WIDTH) + 1, "norm.bias": normal(WIDTH)}
full = {"proj.0.weight": normal(HIDDEN, HIDDEN), "proj.0.bias": normal(HIDDEN), "proj.2.weight": normal(WIDTH, HIDDEN),
        "proj.2.bias": normal(WIDTH), "proj.3.weight": normal(WIDTH) + 1, "proj.3.bias": normal(WIDTH)}
QUERIES, INNER, HEADS = 5, 16, 2
plus = {"latents": normal(1, QUERIES, INNER), "proj_in.weight": normal(INNER, HIDDEN), "proj_in.bias": normal(INNER),
        "proj_out.weight": normal(WIDTH, INNER), "proj_out.bias": normal(WIDTH),
        "norm_out.weight": normal(WIDTH) + 1, "norm_out.bias": normal(WIDTH)}
for i in range(4):
    for norm in ("norm1", "norm2"):
        plus[f"layers.{i}.0.{norm}.weight"], plus[f"layers.{i}.0.{norm}.bias"] = normal(INNER) + 1, normal(INNER)
    plus[f"layers.{i}.0.to_q.weight"] = normal(64 * HEADS, INNER)
    plus[f"layers.{i}.0.to_kv.weight"] = normal(2 * 64 * HEADS, INNER)
    plus[f"layers.{i}.0.to_out.weight"] = normal(INNER, 64 * HEADS)
    plus[f"layers.{i}.1.0.weight"], plus[f"layers.{i}.1.0.bias"] = normal(INNER) + 1, normal(INNER)
    plus[f"layers.{i}.1.1.weight"], plus[f"layers.{i}.1.3.weight"] = normal(4 * INNER, INNER), normal(INNER, 4 * INNER)

for name, projection in {"plain": plain, "plus": plus, "full": full}.items():
    flat = {f"image_proj.{k}": v for k, v in projection.items()} | {f"ip_adapter.{k}": v for k, v in attention.items()}
    save_file({k: v.contiguous() for k, v in flat.items()}, here / f"{name}.safetensors")
torch.save({"image_proj": plain, "ip_adapter": attention}, here / "plain.bin")

call = {"prompt": "a cat", "num_inference_steps": 3, "guidance_scale": 5.0, "height": 64, "width": 96}
cases["pipeline"] = {"prompt": "a cat", "steps": 3, "guidance": 5, "height": 64, "width": 96, "seed": 13,
                     "scheduler": "ddim"}
cases["pipelines"] = []


def run(name, files, images, scales, **more):
    pipe.load_ip_adapter([here.as_posix()] * len(files), subfolder=[""] * len(files), weight_name=files,
                         image_encoder_folder="image_encoder")
    pipe.set_ip_adapter_scale(scales)
    latents = pipe(**{**call, **more}, ip_adapter_image=[[pictures[n] for n in group] for group in images],
                   generator=torch.Generator().manual_seed(13), output_type="latent").images
    pipe.unload_ip_adapter()
    cases["pipelines"].append({
        "name": name, "latents": keep(f"pipeline.{name}", latents),
        "ipAdapter": [{"model": f, "image": [f"{n}.png" for n in group], "scale": s}
                      for f, group, s in zip(files, images, scales)],
        **({"guidance": more["guidance_scale"]} if "guidance_scale" in more else {}),
    })


run("plain", ["plain.safetensors"], [["wide"]], [0.6])
run("plain-unguided", ["plain.safetensors"], [["tall"]], [1.0], guidance_scale=1.0)
run("plain-two-pictures", ["plain.safetensors"], [["wide", "tall"]], [0.8])
run("plus", ["plus.safetensors"], [["wide"]], [0.7])
run("full", ["full.safetensors"], [["tall"]], [0.5])
run("several", ["plain.safetensors", "plus.safetensors"], [["wide"], ["tall"]], [0.4, 0.9])
save_file(tensors, here / "ip-adapter.safetensors")
(here / "cases.json").write_text(json.dumps(cases, indent=2) + "\n")
