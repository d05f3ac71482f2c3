"""Edges that cv2.Canny finds in small pictures: RGB and grey, with several thresholds and both gradient norms.

Made with opencv-python-headless 5.0.0.93, numpy 2.4.6: python make.py
"""

import json
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import save_file

here = Path(__file__).parent
random = np.random.default_rng(7)


def shapes(width, height):
    """Discs, bars and a slope in colour, with a little noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    picture = np.stack([x * 120 / width, y * 90 / height, (x + y) * 60 / (width + height)], -1) + 40
    for _ in range(5):
        cx, cy, r = random.uniform(0, width), random.uniform(0, height), random.uniform(3, height / 2.5)
        picture[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = random.uniform(0, 255, 3)
    slant = np.abs(x * 0.6 - y * 1.1 + 3) < 2.5
    picture[slant] = random.uniform(0, 255, 3)
    return np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def noise(width, height):
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


pictures = {"shapes": shapes(61, 47), "noise": noise(33, 20), "row": noise(19, 1), "pixel": noise(1, 1)}
settings = [
    {"low": 100, "high": 200},
    {"low": 50, "high": 400},
    {"low": 300, "high": 30},
    {"low": 60.7, "high": 150.2, "l2": True},
]
cases, tensors = [], {}
for name, picture in pictures.items():
    tensors[name] = picture
    for channels in (3, 1):
        source = picture if channels == 3 else np.ascontiguousarray(picture[..., 1])
        for s in settings:
            edges = cv2.Canny(source, s["low"], s["high"], L2gradient=s.get("l2", False))
            key = f"{name}.{len(cases)}"
            tensors[key] = edges
            cases.append({"picture": name, "channels": channels, **s, "edges": key})
save_file(tensors, here / "canny.safetensors")
(here / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
