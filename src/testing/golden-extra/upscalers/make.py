"""ESRGAN in its three layouts and SRVGGNetCompact, with small random weights, against spandrel.

Made with torch 2.8.0, spandrel 0.4.2: PYTHONPATH=<spandrel> python make.py
torchvision is not needed by these networks, so it may be missing. wide-48x40-x4 is what PyTorch made of
wide-48x40 with the weights of emoji-x4-compact when that was trained, unclipped.
"""

import importlib.abc
import importlib.machinery
import sys
import types
from pathlib import Path
from unittest.mock import MagicMock

import torch
from safetensors.torch import save_file

try:
    import torchvision  # noqa: F401
except ImportError:

    class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
        def find_spec(self, name, path, target=None):
            return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None

        def create_module(self, spec):
            module = types.ModuleType(spec.name)
            module.__getattr__ = lambda name: MagicMock()
            module.__path__ = []
            return module

        def exec_module(self, module):
            pass

    sys.meta_path.append(Absent())

from spandrel import ModelLoader
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN

here = Path(__file__).parent
torch.manual_seed(11)
tensors = {}


def stirred(module, scale):
    for p in module.parameters():
        torch.nn.init.normal_(p, 0, scale if p.ndim > 1 else 0.05)
    return module.half().float().eval().requires_grad_(False)


def half(state):
    return {name: value.half().contiguous() for name, value in state.items()}


def keep(name, file, image):
    """What spandrel makes of the file itself, so that its reading of names is part of the reference."""
    model = ModelLoader().load_from_file(here / file).eval().float()
    print(name, model.architecture.id, model.scale, model.tags)
    tensors[f"{name}.image"] = image
    with torch.no_grad():
        tensors[f"{name}.output"] = model.model(image).contiguous()


def real_esrgan_names(state, blocks):
    """Real-ESRGAN's names (BasicSR's RRDBNet) for those of the first release."""
    numbers = sorted(int(n.split(".")[1]) for n in state if n.count(".") == 2 and n.endswith("weight"))
    hr, last, *ups = *numbers[-2:], *numbers[1:-2]
    new = {}
    for name, value in state.items():
        name = name.replace(f"model.1.sub.{blocks}.", "conv_body.")
        if name.startswith("model.1.sub."):
            _, _, _, block, rdb, conv, *rest = name.split(".")
            name = ".".join(["body", block, rdb.lower(), conv, rest[-1]])
        else:
            places = {0: "conv_first", hr: "conv_hr", last: "conv_last", **{n: f"conv_up{i + 1}" for i, n in enumerate(ups)}}
            for number, place in places.items():
                name = name.replace(f"model.{number}.", f"{place}.")
        new[name] = value
    return new


def random_rrdb(**options):
    return stirred(ESRGAN(num_filters=4, num_blocks=1, **options), 0.12)


picture = lambda height, width: torch.rand(1, 3, height, width)

x4 = random_rrdb(in_nc=3, out_nc=3, scale=4)
first = {n: v for n, v in x4.state_dict().items()}
save_file(half(first), here / "esrgan-first.safetensors")
keep("esrgan-first", "esrgan-first.safetensors", picture(9, 7))

names = real_esrgan_names(first, 1)
unused = {"conv_first.weight": torch.zeros(4, 3, 3, 3)}
torch.save({"params": unused, "params_ema": half(names)}, here / "real-esrgan.pth")
keep("real-esrgan", "real-esrgan.pth", picture(8, 10))

# 7 x 6 pixels are continued to whole squares.
x2 = random_rrdb(in_nc=12, out_nc=3, scale=4, shuffle_factor=2)
save_file(half(real_esrgan_names(x2.state_dict(), 1)), here / "real-esrgan-x2.safetensors")
keep("real-esrgan-x2", "real-esrgan-x2.safetensors", picture(7, 6))

plus = random_rrdb(in_nc=3, out_nc=3, scale=2, plus=True)
save_file(half(plus.state_dict()), here / "esrgan-plus-x2.safetensors")
keep("esrgan-plus-x2", "esrgan-plus-x2.safetensors", picture(6, 5))

compact = stirred(Compact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=3, upscale=2), 0.2)
# Slopes on both sides of 1, and below 0.
for module in compact.modules():
    if isinstance(module, torch.nn.PReLU):
        module.weight.copy_(torch.linspace(-0.5, 1.5, 8).half().float())
torch.save({"params": half(compact.state_dict())}, here / "compact-x2.pth")
keep("compact-x2", "compact-x2.pth", picture(7, 9))

# spandrel takes a file of one enlargement for an x2. Built by hand, it is ESRGAN's x3: with the weights of real-esrgan.pth
# but for the second enlargement, so that no further file is needed.
three = random_rrdb(in_nc=3, out_nc=3, scale=3)
own = list(three.state_dict())
theirs = list(real_esrgan_names(three.state_dict(), 1))
three.load_state_dict({mine: names[name] for mine, name in zip(own, theirs)})
tensors["x3.image"] = picture(5, 7)
with torch.no_grad():
    tensors["x3.output"] = three(tensors["x3.image"]).contiguous()

save_file(tensors, here / "upscalers.safetensors")
