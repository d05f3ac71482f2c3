"""An ESRGAN (RRDB, 64 channels, 23 blocks) in PyTorch, channels last, by spandrel; prints one JSON line.

    python with_spandrel.py make <file>                        random weights, as a .safetensors
    python with_spandrel.py run <file> <side> <runs> <threads> milliseconds of each run, wall and CPU
"""

import json
import sys
import time

import torch
from safetensors.torch import load_file, save_file
from spandrel.architectures.ESRGAN import ESRGAN


def network():
    # Its defaults: what RealESRGAN_x4plus and most files of this kind have.
    return ESRGAN()


def picture(side):
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (torch.stack([x * 7 + y * 3, x * 5 + y * 11, x * 13 + y * 2]) % 256 / 255)[None]


def make(file):
    torch.manual_seed(1)
    model = network()
    for weight in model.parameters():
        # Small, so that 69 blocks in a row stay within the range of pictures.
        torch.nn.init.normal_(weight, 0, 0.02 if weight.ndim > 1 else 0.001)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)
    return {"parameters": sum(p.numel() for p in model.parameters())}


@torch.inference_mode()
def run(file, side, runs, threads):
    torch.set_num_threads(int(threads))
    model = network().eval()
    model.load_state_dict(load_file(file))
    model = model.to(memory_format=torch.channels_last)
    image = picture(int(side)).to(memory_format=torch.channels_last)
    times = []
    for _ in range(int(runs)):
        cpu, began = time.process_time(), time.perf_counter()
        output = model(image)
        times.append({"ms": 1e3 * (time.perf_counter() - began), "cpuMs": 1e3 * (time.process_time() - cpu)})
    level = (output.clamp(0, 1) * 255).round()
    return {"runs": times, "mean": level.mean().item(), "size": list(output.shape[2:]), "version": torch.__version__}


print(json.dumps({"make": make, "run": run}[sys.argv[1]](*sys.argv[2:])))
