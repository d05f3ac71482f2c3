"""UNets of the shapes that distillation leaves, with random weights, against diffusers.

Made with torch 2.8.0, diffusers 0.38.0: python make.py
"""

import json
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

here = Path(__file__).parent
torch.manual_seed(7)
cases, tensors = [], {}

common = dict(sample_size=8, in_channels=4, out_channels=4, cross_attention_dim=8, norm_num_groups=4)
three = dict(block_out_channels=(8, 16, 16), attention_head_dim=(1, 2, 2))
sdxl = dict(
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=4,
    projection_class_embeddings_input_dim=6 * 4 + 8,
)
cross = dict(down_block_types=("CrossAttnDownBlock2D",) * 3, up_block_types=("CrossAttnUpBlock2D",) * 3)
plain = dict(
    down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
)

configs = {
    # As SSD-1B: depths of their own for each ResNet and way, and one ResNet in the middle.
    "ssd-1b": common | three | sdxl | dict(
        layers_per_block=2,
        mid_block_type="UNetMidBlock2D",
        transformer_layers_per_block=[0, [2, 2], [1, 3]],
        reverse_transformer_layers_per_block=[[2, 1, 3], [2, 1, 1], 1],
    ),
    # As Segmind Vega, with a middle as deep as the first of the last level's lists says.
    "vega": common | three | sdxl | dict(
        layers_per_block=2,
        transformer_layers_per_block=[0, [1, 1], [2, 1]],
        reverse_transformer_layers_per_block=[[1, 2, 1], [1, 1, 2], 0],
    ),
    # As BK-SDM-Tiny and tiny-sd: three levels with attention at each, no middle, one ResNet at each level downwards.
    "bk-sdm-tiny": common | three | cross | dict(layers_per_block=1, mid_block_type=None),
    # As BK-SDM-Small: a middle, and one ResNet downwards.
    "bk-sdm-small": common | three | plain | dict(layers_per_block=1),
    # More ResNets at some levels than at others, and a transformer without layers, which only projects.
    "uneven": common | three | cross | dict(
        layers_per_block=(1, 2, 1), transformer_layers_per_block=(1, 0, 2), mid_block_type="UNetMidBlock2D"
    ),
}

for name, config in configs.items():
    unet = UNet2DConditionModel(**config)
    for p in unet.parameters():
        torch.nn.init.normal_(p, 0, 0.15 if p.ndim > 1 else 0.1)
    unet = unet.half().eval().requires_grad_(False)
    unet.save_pretrained(here / name)
    unet = unet.float()
    # 11 x 9 cells do not halve evenly.
    sample, context = torch.randn(2, 4, 11, 9), torch.randn(2, 5, 8)
    added = {}
    if "addition_embed_type" in config:
        added = {"text_embeds": torch.randn(2, 8), "time_ids": torch.rand(2, 6) * 100}
    output = unet(sample, 501, context, added_cond_kwargs=added or None).sample
    given = {"sample": sample, "context": context, "output": output, **added}
    for key, value in given.items():
        tensors[f"{name}.{key}"] = value.contiguous()
    cases.append({"name": name, "timestep": 501, "added": bool(added)})

save_file(tensors, here / "distilled.safetensors")
(here / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
