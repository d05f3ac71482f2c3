"""
Pictures by Pillow, and what Pillow reads from them. orientation-*.png and parameters.* were made for the project beside
this script; here: CMYK as JPEG and TIFF, with and without a profile, and the RGB that Pillow converts them to (cmyk.json).

Run: python make.py
"""
import io
import json
import os

from PIL import Image, ImageCms

here = os.path.dirname(os.path.abspath(__file__))
width, height = 16, 16
image = Image.new("CMYK", (width, height))
image.putdata([((x // 4) * 85, (y // 4) * 85, ((x + y) % 16) * 16, ((x // 8) * 60 + (y // 8) * 40)) for y in range(height) for x in range(width)])
profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
found = {}
for name, options in {
    "cmyk.jpg": dict(quality=95, subsampling=0),
    "cmyk.tif": dict(compression="tiff_lzw"),
    "cmyk-profile.tif": dict(compression="tiff_lzw", icc_profile=profile),
}.items():
    path = os.path.join(here, name)
    image.save(path, **options)
    found[name] = list(Image.open(path).convert("RGB").tobytes())
with open(os.path.join(here, "cmyk.json"), "w") as file:
    json.dump(dict(width=width, height=height, rgb=found), file, separators=(",", ":"))
    file.write("\n")
