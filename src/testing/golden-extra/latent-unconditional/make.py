"""Values of diffusers' LDMPipeline on the tiny UNet2DModel and VQModel of the golden models.

    python make.py GOLDEN

The pictures are taken before they are rounded to bytes; noise comes from torch.manual_seed(SEED), as in the pipeline.
"""
import json
import sys
from pathlib import Path

import torch
from diffusers import DDIMScheduler, LDMPipeline, UNet2DModel, VQModel
from safetensors.torch import save_file

golden = Path(sys.argv[1])
here = Path(__file__).parent
SEED, STEPS = 11, 5
scheduler = {
    "num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195,
    "clip_sample": False, "set_alpha_to_one": True,
}
pipeline = LDMPipeline(
    vqvae=VQModel.from_pretrained(golden / "models/tiny-ldm-sr/vqvae"),
    unet=UNet2DModel.from_pretrained(golden / "models/tiny-ddpm-google/unet"),
    scheduler=DDIMScheduler(**scheduler),
)
images = {}
for eta in (0.0, 0.7):
    generator = torch.manual_seed(SEED)
    picture = pipeline(generator=generator, eta=eta, num_inference_steps=STEPS, output_type="np").images
    images[f"eta-{eta}"] = torch.from_numpy(picture).contiguous()
save_file(images, here / "cases.safetensors")
(here / "cases.json").write_text(
    json.dumps({"seed": SEED, "steps": STEPS, "scheduler": scheduler}, indent=2) + "\n"
)
