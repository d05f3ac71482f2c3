"""Names and shapes of distilled UNets as diffusers builds them from their configurations, narrow and less deep.

pip install torch diffusers; python make.py
"""

import json

from diffusers import UNet2DConditionModel

narrow = {"norm_num_groups": 8, "cross_attention_dim": 16, "attention_head_dim": 2, "sample_size": 8}
xl = {
    "addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 80,
    "use_linear_projection": True, "block_out_channels": [8, 16, 24],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
}
configs = {
    # SSD-1B: other depths on the way up, a middle of one resnet.
    "ssd-1b": {
        **xl, "mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": [1, [2, 2], [3, 3]],
        "reverse_transformer_layers_per_block": [[3, 3, 5], [2, 1, 1], 1],
    },
    # Vega: half as deep, the same middle.
    "vega": {
        **xl, "mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": [1, 1, 2],
        "reverse_transformer_layers_per_block": [[2, 2, 2], [1, 1, 1], 1],
    },
    # BK-SDM-Small: one resnet a level, no middle.
    "bk-sdm-small": {
        "layers_per_block": 1, "mid_block_type": None, "block_out_channels": [8, 16, 24, 24],
    },
    # BK-SDM-Tiny and tiny-sd: the innermost level is gone, too.
    "tiny-sd": {
        "layers_per_block": 1, "mid_block_type": None, "block_out_channels": [8, 16, 24],
        "down_block_types": ["CrossAttnDownBlock2D"] * 3, "up_block_types": ["CrossAttnUpBlock2D"] * 3,
    },
}
out = {}
for name, config in configs.items():
    unet = UNet2DConditionModel(**narrow, **config)
    shapes = {key: list(value.shape) for key, value in unet.state_dict().items()}
    # Of each transformer layer the parts that configurations are read from; the others are named alike.
    kept = {k: v for k, v in shapes.items() if "transformer_blocks" not in k or ".to_k.weight" in k}
    out[name] = {"config": {**narrow, **config}, "shapes": kept}
with open("shapes.json", "w") as file:
    json.dump(out, file, separators=(",", ":"))
    file.write("\n")
