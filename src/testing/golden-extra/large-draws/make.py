"""
torch 2's CPU generator on tensors that we draw in several pieces of 32768 numbers: what stands at the borders of the
pieces and at the end (a last block that is not whole is drawn anew), and the number that is drawn next.

python make.py > draws.json
"""
import json

import torch

torch.set_num_threads(1)
found = []
for seed, length in [(3, 2 * 32768), (3, 2 * 32768 + 5), (5, 32768 + 1)]:
    generator = torch.Generator("cpu").manual_seed(seed)
    values = torch.randn(length, generator=generator)
    found.append(
        dict(
            seed=seed,
            length=length,
            border=values[32760:32776].tolist(),
            last=values[-24:].tolist(),
            next=torch.rand(1, generator=generator).item(),
        )
    )
print(json.dumps(found, indent=1))
