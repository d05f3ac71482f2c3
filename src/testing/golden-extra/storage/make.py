"""Packed weights and their values, by torch (8-bit floats) and by ggml's own Python package (GGUF).

pip install torch safetensors gguf numpy; python make.py
"""

import numpy as np
import torch
from gguf import GGUFWriter, GGMLQuantizationType as Type, quants
from gguf.constants import GGML_QUANT_SIZES
from safetensors.torch import save_file

# Every pattern of the two 8-bit floats, plain and with a scale beside it.
patterns = torch.arange(256, dtype=torch.int16).to(torch.uint8)
stored, expected = {}, {}
for name, dtype in {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}.items():
    weight = patterns.view(dtype).reshape(16, 16).clone()
    stored[f"plain_{name}.weight"] = weight
    expected[f"plain_{name}.weight"] = weight.to(torch.float32)
    for kind, key in {"old": "scale_weight", "new": "weight_scale"}.items():
        scale = torch.tensor(0.0123 if kind == "old" else 3.7, dtype=torch.float32)
        stored[f"{kind}_{name}.weight"] = weight.clone()
        stored[f"{kind}_{name}.{key}"] = scale if kind == "old" else scale.reshape(1)
        stored[f"{kind}_{name}.{'scale_input' if kind == 'old' else 'input_scale'}"] = torch.tensor(2.0)
        expected[f"{kind}_{name}.weight"] = weight.to(torch.float32) * scale
stored["old_e4m3.bias"] = torch.tensor([1.5, -2.0], dtype=torch.float16)
expected["old_e4m3.bias"] = torch.tensor([1.5, -2.0])
stored["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
save_file(stored, "float8.safetensors")
save_file({k: v.contiguous() for k, v in expected.items()}, "float8.expected.safetensors")

# Random blocks of every packed type, with scales that are finite; [3, 512] each.
generator = np.random.default_rng(0)
writer = GGUFWriter("packed.gguf", "sd1")
expected = {}
scales = {  # where a block has its float16 scales
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
}
for type, places in scales.items():
    values, size = GGML_QUANT_SIZES[type]
    blocks = generator.integers(0, 256, size=(3 * 512 // values, size), dtype=np.uint8)
    for place in places:
        halves = generator.uniform(-0.1, 0.1, size=(len(blocks), 1)).astype(np.float16)
        blocks[:, place : place + 2] = halves.view(np.uint8)
    packed = blocks.reshape(3, -1)
    writer.add_tensor(type.name, packed, raw_dtype=type)
    expected[type.name] = torch.from_numpy(quants.dequantize(packed, type).astype(np.float32).copy())
plain = generator.normal(size=(4, 3, 3, 3)).astype(np.float32)
writer.add_tensor("half", plain.astype(np.float16))
expected["half"] = torch.from_numpy(plain.astype(np.float16).astype(np.float32))
writer.add_tensor("single", plain)
expected["single"] = torch.from_numpy(plain)
# A kernel [8, 4, 3, 3] whose rows of 3 no block fills: ComfyUI's converter stores it as rows of 32 and notes its shape.
kernel = quants.quantize(generator.normal(size=(9, 32)).astype(np.float32), Type.Q8_0)
writer.add_tensor("kernel", kernel, raw_dtype=Type.Q8_0)
writer.add_array("comfy.gguf.orig_shape.kernel", [8, 4, 3, 3])
expected["kernel"] = torch.from_numpy(quants.dequantize(kernel, Type.Q8_0).reshape(8, 4, 3, 3).copy())
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
save_file(expected, "packed.expected.safetensors")
