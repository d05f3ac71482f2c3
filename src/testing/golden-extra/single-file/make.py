"""Reference latents and pictures of models that come as one file: CosXL, Playground v2.5, SD-Turbo, SDXL's refiner.

Run: python make.py <folder of CLIP's tokenizer>. Writes cases.json and cases.safetensors beside this file.

The tiny networks have what no shape of a file tells (heads, groups, activations) as the real ones have it. Their weights
are not stored: `recipe` makes them from torch's generator, tensor by tensor in the order of cases.json, and so does the
test, which writes them as one file in the original layout. Here they are put together with the configurations that the
real models are published with.
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
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

TOKENIZER = sys.argv[1]
HERE = Path(__file__).parent
PROMPT, NEGATIVE, SEED, SIZE = "a marble fox dancing on the moon", "blurry, text", 7, 32
WIDTH, TIME = 64, 8  # of text encoders, and of one size's embedding
MEAN, DEVIATION = [-1.6574, 1.886, -1.383, 2.5155], [8.4927, 5.9022, 6.5498, 5.2299]  # Playground v2.5's
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def recipe(shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        noise = torch.randn(math.prod(shape), generator=generator).reshape(shape)
        if len(shape) == 1:
            weights[name] = 0.1 * noise + (1 if "norm" in name and name.endswith("weight") else 0)
        else:
            weights[name] = noise * math.sqrt(1 / math.prod(shape[1:]))
    return weights


def filled(module, seed, canonical=lambda name: name):
    """The module with weights of the recipe, and their shapes under the names that files have."""
    names = {canonical(name): name for name in module.state_dict()}
    shapes = {name: list(module.state_dict()[own].shape) for name, own in names.items() if "position_ids" not in name}
    module.load_state_dict({names[name]: value for name, value in recipe(shapes, seed).items()})
    return module.eval(), shapes


def text(seed, act, projected):
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=2, num_attention_heads=1,
        hidden_act=act, projection_dim=WIDTH, eos_token_id=49407, bos_token_id=49406, pad_token_id=1,
    )
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    canonical = lambda name: name if name.startswith(("text_model.", "text_projection.")) else "text_model." + name
    return filled(kind(config), seed, canonical)


def unet(seed, context, **more):
    return filled(
        UNet2DConditionModel(
            in_channels=4, out_channels=4, sample_size=64, block_out_channels=(32, 64), layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=context, attention_head_dim=(1, 1), use_linear_projection=True, **more,
        ),
        seed,
    )


def unet_xl(seed, context, numbers):
    return unet(
        seed, context, transformer_layers_per_block=(1, 2), addition_embed_type="text_time",
        addition_time_embed_dim=TIME, projection_class_embeddings_input_dim=WIDTH + numbers * TIME,
    )


def vae(seed, **more):
    return filled(
        AutoencoderKL(
            block_out_channels=(32, 64), layers_per_block=1, down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2, **more,
        ),
        seed,
    )


def picture():
    """A picture that any language can draw."""
    y, x = np.mgrid[:SIZE, :SIZE]
    return Image.fromarray(np.stack([(x * 5) % 256, (y * 5) % 256, (x * 3 + y * 2) % 256], axis=-1).astype(np.uint8))


tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
tokenizer_2 = CLIPTokenizer.from_pretrained(TOKENIZER, pad_token="!")
first, first_shapes = text(1, "quick_gelu", False)
second, second_shapes = text(2, "gelu", True)
plain, plain_shapes = text(3, "gelu", False)
base, base_shapes = unet_xl(4, 2 * WIDTH, 6)
refiner, refiner_shapes = unet_xl(5, WIDTH, 5)
turbo, turbo_shapes = unet(6, WIDTH)
decoder, vae_shapes = vae(7, scaling_factor=0.13025)
decoder_edm, _ = vae(7, scaling_factor=0.5, latents_mean=MEAN, latents_std=DEVIATION)
decoder_2, _ = vae(7, scaling_factor=0.18215)


def xl(scheduler, vae):
    return StableDiffusionXLPipeline(
        vae=vae, text_encoder=first, text_encoder_2=second, tokenizer=tokenizer, tokenizer_2=tokenizer_2, unet=base,
        scheduler=scheduler, add_watermarker=False,
    )


def pipelines():
    cosxl = EDMEulerScheduler(
        sigma_min=0.002, sigma_max=120.0, sigma_data=1.0, sigma_schedule="exponential", prediction_type="v_prediction",
    )
    yield "cosxl", xl(cosxl, decoder), {"steps": 4, "guidance": 4}
    playground = EDMDPMSolverMultistepScheduler(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5, rho=7.0, solver_order=2)
    yield "playground", xl(playground, decoder_edm), {"steps": 4, "guidance": 3}
    yield "turbo", StableDiffusionPipeline(
        vae=decoder_2, text_encoder=plain, tokenizer=tokenizer_2, unet=turbo,
        scheduler=EulerDiscreteScheduler(**BETAS, timestep_spacing="trailing", steps_offset=1),
        safety_checker=None, feature_extractor=None,
    ), {"steps": 2, "guidance": 3}
    yield "refiner", StableDiffusionXLImg2ImgPipeline(
        vae=decoder, text_encoder=None, tokenizer=None, text_encoder_2=second, tokenizer_2=tokenizer_2, unet=refiner,
        scheduler=EulerDiscreteScheduler(**BETAS, timestep_spacing="leading", steps_offset=1),
        requires_aesthetics_score=True, force_zeros_for_empty_prompt=False, add_watermarker=False,
    ), {"steps": 4, "guidance": 4, "strength": 0.6}


tensors, cases = {}, []
with torch.no_grad():
    for name, pipe, case in pipelines():
        call = {
            "prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": case["steps"],
            "guidance_scale": case["guidance"], "generator": torch.Generator().manual_seed(SEED),
        }
        call |= {"image": picture(), "strength": case["strength"]} if "strength" in case else {"height": SIZE, "width": SIZE}
        latents = pipe(**call, output_type="latent").images
        call["generator"] = torch.Generator().manual_seed(SEED)
        image = pipe(**call, output_type="np").images
        tensors |= {f"{name}.latents": latents.contiguous(), f"{name}.image": torch.from_numpy(image).contiguous()}
        cases.append({"id": name, **case})
save_file(tensors, HERE / "cases.safetensors")
about = {
    "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
    **{"prompt": PROMPT, "negativePrompt": NEGATIVE, "seed": SEED, "size": SIZE, "mean": MEAN, "deviation": DEVIATION},
    "cases": cases,
    "weights": {
        "text": {"seed": 1, "shapes": first_shapes}, "text2": {"seed": 2, "shapes": second_shapes},
        "textTurbo": {"seed": 3, "shapes": plain_shapes}, "unet": {"seed": 4, "shapes": base_shapes},
        "unetRefiner": {"seed": 5, "shapes": refiner_shapes}, "unetTurbo": {"seed": 6, "shapes": turbo_shapes},
        "vae": {"seed": 7, "shapes": vae_shapes},
    },
}
(HERE / "cases.json").write_text(json.dumps(about) + "\n")
print({name: (tuple(t.shape), t.std().item()) for name, t in tensors.items()})
