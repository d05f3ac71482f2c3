"""LoHa and LoKr as PEFT writes them for tiny-sd1's UNet, and the weights that PEFT makes of them when it loads them.

Their alpha is in adapter_config.json alone, is called otherwise than a LoRA's, and scales whole factors, too.

Made with torch 2.15.0, diffusers 0.42.1, peft 0.21.2: python make.py
"""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from peft import LoHaConfig, LoKrConfig, PeftModel, get_peft_model
from safetensors.torch import save_file

here = Path(__file__).parent
tiny = here.parents[1] / "golden/models/tiny-sd1"
attention = "down_blocks.1.attentions.0.transformer_blocks.0.attn2"
modules = ["down_blocks.0.resnets.0.conv1", f"{attention}.to_k", f"{attention}.to_out.0"]
own = {"target_modules": modules, "alpha": 6, "alpha_pattern": {"attn2.to_k": 5}, "rank_pattern": {"attn2.to_k": 2}}


def load():
    return UNet2DConditionModel.from_pretrained(tiny, subfolder="unet").eval().requires_grad_(False)


torch.manual_seed(5)
merged = {}
for name, config in {
    "loha": LoHaConfig(r=4, **own),
    "loha-kernels": LoHaConfig(r=4, use_effective_conv2d=True, **own),
    "lokr": LoKrConfig(r=2, decompose_both=True, use_effective_conv2d=True, **own),
    "lokr-whole": LoKrConfig(r=64, target_modules=modules, alpha=24),
}.items():
    model = get_peft_model(load(), config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, 0, 0.3)
    model.save_pretrained(here / name)
    (here / name / "README.md").unlink(missing_ok=True)
    with open(here / name / "adapter_config.json", "a") as config_file:
        config_file.write("\n")
    before = load().state_dict()
    after = PeftModel.from_pretrained(load(), here / name).merge_and_unload().state_dict()
    for key, value in after.items():
        if not torch.equal(value, before[key]):
            merged[f"{name}|{key}"] = value.clone().contiguous()
    print(name, sum(key.startswith(f"{name}|") for key in merged))
save_file(merged, here / "merged.safetensors")
