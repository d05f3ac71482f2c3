"""Embeddings in pictures, written by the web UI's own code, from the rows of a golden embedding.

    python make.py path/to/stable-diffusion-webui path/to/golden

Web UI at 011bac41 (modules/textual_inversion/image_embedding.py); torch 2.15.0, numpy 2.4.6, pillow 13.0.0.
"""

import sys
import types
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin
from safetensors.torch import load_file

webui, golden = sys.argv[1:]
sys.path.insert(0, webui)
shared = types.ModuleType("modules.shared")
shared.opts = types.SimpleNamespace(font=None)
sys.modules["modules.shared"] = shared

from modules.textual_inversion.image_embedding import embedding_to_b64, insert_image_data_embed  # noqa: E402

here = Path(__file__).parent
rows = load_file(f"{golden}/adapters/ti-diffusers-multi.safetensors")["<my-style>"]
data = {
    "string_to_token": {"*": 265},
    "string_to_param": {"*": rows},
    "name": "my-style-200",
    "step": 200,
    "sd_checkpoint": None,
    "sd_checkpoint_name": None,
}
y, x = np.mgrid[0:40, 0:48]
picture = Image.fromarray(np.stack([x * 5 + 9, y * 6 + 9, (x * y) % 247 + 8], axis=2).astype(np.uint8))
hidden = insert_image_data_embed(picture, data)
info = PngImagePlugin.PngInfo()
info.add_text("sd-ti-embedding", embedding_to_b64(data))
picture.save(here / "text.png", pnginfo=info)  # the text alone
hidden.save(here / "pixels.png")  # what is left when a site strips texts
