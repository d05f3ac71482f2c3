"""Adapters of LyCORIS and PEFT beyond plain LoRA for tiny-sd1's UNet: the weights that they make, and its output with them.

Made with torch 2.15.0, diffusers 0.42.1, lycoris-lora 4.1.3, peft 0.21.2: python make.py
"""

import json
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from lycoris import LycorisNetwork, create_lycoris
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

here = Path(__file__).parent
tiny = here.parents[1] / "golden/models/tiny-sd1"
torch.manual_seed(5)
cases, tensors = [], {}
attention = "down_blocks.1.attentions.0.transformer_blocks.0"
modules = ["down_blocks.0.resnets.0.conv1", f"{attention}.attn2.to_k", f"{attention}.attn2.to_out.0"]
norms = ["conv_norm_out", f"{attention}.norm2"]
sample, context = torch.randn(1, 4, 8, 8), torch.randn(1, 7, 32)
keep = {"sample": sample, "context": context}


def load():
    return UNet2DConditionModel.from_pretrained(tiny, subfolder="unet").eval().requires_grad_(False)


def record(name, file, scale, before, unet):
    """What `unet`, in which the adapter is merged, has in place of `before`."""
    after = {key: value for key, value in unet.state_dict().items() if not torch.equal(value, before[key])}
    for key, value in after.items():
        tensors[f"{name}|{key}"] = value.clone().contiguous()
    keep[f"{name}|output"] = unet(sample, 501, context).sample
    cases.append({"name": name, "file": file, "scale": scale, "changed": sorted(after)})
    print(name, len(after))


def lycoris(name, scale=0.7, targets=modules, **options):
    """Alpha is the rank where LyCORIS 4.1 merges with alpha / rank twice (it trains with it once)."""
    unet = load()
    before = {key: value.clone() for key, value in unet.state_dict().items()}
    LycorisNetwork.apply_preset({"enable_conv": True, "target_module": [], "target_name": targets})
    network = create_lycoris(unet, 1.0, **{"linear_dim": 2, "linear_alpha": 2, "conv_dim": 2, "conv_alpha": 2, **options})
    network.apply_to()
    for key, value in network.named_parameters():
        value.data.add_(torch.randn_like(value) * 0.2)
    state = {key.replace("lycoris_", "lora_unet_", 1): value.clone().contiguous() for key, value in network.state_dict().items()}
    save_file(state, here / f"{name}.safetensors")
    network.restore()
    network.merge_to(scale)
    record(name, f"{name}.safetensors", scale, before, unet)


lycoris("loha-tucker", algo="loha", use_tucker=True)
lycoris("lokr-tucker", algo="lokr", factor=2, use_tucker=True)
lycoris("glora", algo="glora", linear_alpha=1, conv_alpha=1)
lycoris("ia3", algo="ia3")
lycoris("ia3-input", algo="ia3", train_on_input=True)
lycoris("full", algo="full")
lycoris("norm", algo="locon", targets=modules + norms, train_norm=True)


def peft(name, targets=modules, **options):
    unet = load()
    before = {key: value.clone() for key, value in unet.state_dict().items()}
    model = get_peft_model(unet, LoraConfig(r=2, lora_alpha=3, target_modules=targets, **options))
    for key, value in model.named_parameters():
        if "lora_" in key:
            value.data.normal_(0, 0.2)
    model.save_pretrained(here / name)
    (here / name / "README.md").unlink(missing_ok=True)
    record(name, name, 1, before, model.merge_and_unload())


peft("peft-patterns", alpha_pattern={r"^down_blocks.*attn2\.to_k": 1, r"conv\d": 5})
peft("peft-bias", targets=[module for module in modules if "to_k" not in module], lora_bias=True)
save_file({**tensors, **keep}, here / "lycoris.safetensors")
(here / "cases.json").write_text(json.dumps({"timestep": 501, "adapters": cases}, indent=2) + "\n")
