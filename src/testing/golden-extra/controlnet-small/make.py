"""ControlNets for tiny-sdxl that are smaller than half of its UNet, as controlnet-canny-sdxl-1.0-small and -mid are: their
residuals.

Made with torch 2.15.0, diffusers 0.42.1, from the full set of reference values beside the clone: python make.py
"""

import json
from pathlib import Path

import torch
from diffusers import ControlNetModel
from safetensors.torch import save_file

here = Path(__file__).parent
base = json.loads((here.parents[4] / "shared/golden/models/tiny-sdxl/unet/config.json").read_text())
kept = [
    "block_out_channels", "layers_per_block", "attention_head_dim", "norm_num_groups", "cross_attention_dim",
    "use_linear_projection", "addition_embed_type", "addition_time_embed_dim", "projection_class_embeddings_input_dim",
]
down, cross = "DownBlock2D", "CrossAttnDownBlock2D"
kinds = {
    "small": {"down_block_types": [down, down, down], "mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": [0, 0, 0]},
    "mid": {"down_block_types": [down, cross, cross], "mid_block_type": "UNetMidBlock2DCrossAttn", "transformer_layers_per_block": [0, 1, 1]},
    "uneven": {"down_block_types": [down, cross, down], "mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": [1, 2, 1]},
}
torch.manual_seed(9)
given = {
    "sample": torch.randn(2, 4, 8, 8), "context": torch.randn(2, 7, base["cross_attention_dim"]), "picture": torch.rand(2, 3, 32, 32),
    "text_embeds": torch.randn(2, base["projection_class_embeddings_input_dim"] - 6 * base["addition_time_embed_dim"]),
    "time_ids": torch.tensor([[32.0, 32, 0, 0, 32, 32]] * 2),
}
values = dict(given)
for name, own in kinds.items():
    net = ControlNetModel(**{key: base[key] for key in kept}, **own, conditioning_embedding_out_channels=(8, 8, 16))
    for key, p in net.named_parameters():
        if "controlnet" in key:
            torch.nn.init.normal_(p, 0, 0.2 if p.ndim > 1 else 0.1)
    net.eval().requires_grad_(False).save_pretrained(here / name)
    with open(here / name / "config.json", "r+") as config:
        if not config.read().endswith("\n"):
            config.write("\n")
    residuals, middle = net(
        given["sample"], 400, given["context"], given["picture"], return_dict=False,
        added_cond_kwargs={"text_embeds": given["text_embeds"], "time_ids": given["time_ids"]},
    )
    for i, residual in enumerate([*residuals, middle]):
        values[f"{name}.{i}"] = residual.contiguous()
    print(name, len(residuals) + 1)
save_file(values, here / "values.safetensors")
