"""A ControlNet with random weights for tiny-sdxl, and latents that follow a picture, also with guess mode.

Made with torch 2.15.0, diffusers 0.42.1, transformers 5.23.0, from the full set of reference values beside the clone;
the picture is that of ../ip-adapter: python make.py
"""

from pathlib import Path

import torch
from diffusers import ControlNetModel, DDIMScheduler, StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import save_file

here = Path(__file__).parent
tiny = here.parents[4] / "shared/golden/models/tiny-sdxl"
torch.manual_seed(9)
base = StableDiffusionXLPipeline.from_pretrained(tiny)
factor = base.vae_scale_factor
widths = {4: (8, 16, 16), 8: (8, 8, 16, 16)}[factor]
net = ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=widths)
for name, p in net.named_parameters():
    if "controlnet" in name:
        torch.nn.init.normal_(p, 0, 0.2 if p.ndim > 1 else 0.1)
net = net.half().eval().requires_grad_(False)
net.save_pretrained(here / "net")
save_file({name: p.clone().contiguous() for name, p in net.state_dict().items()}, here / "net/diffusion_pytorch_model.safetensors")
pipe = StableDiffusionXLControlNetPipeline(
    vae=base.vae, text_encoder=base.text_encoder, text_encoder_2=base.text_encoder_2, tokenizer=base.tokenizer,
    tokenizer_2=base.tokenizer_2, unet=base.unet, controlnet=net.float(), add_watermarker=False,
    scheduler=DDIMScheduler.from_config(base.scheduler.config), force_zeros_for_empty_prompt=base.config.force_zeros_for_empty_prompt,
)
pipe.set_progress_bar_config(disable=True)
picture = Image.open(here.parent / "ip-adapter/wide.png").resize((96, 64), Image.Resampling.BICUBIC)
picture.save(here / "picture.png")
out = {}
for name, guess in {"latents": False, "guess": True}.items():
    out[name] = pipe("a cat", image=picture, num_inference_steps=3, guidance_scale=5.0, height=64, width=96,
                     controlnet_conditioning_scale=0.8, guess_mode=guess, generator=torch.Generator().manual_seed(13),
                     output_type="latent").images.contiguous()
    print(name, out[name].shape, out[name].abs().max())
save_file(out, here / "latents.safetensors")
