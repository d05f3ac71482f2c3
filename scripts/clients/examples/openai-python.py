# The examples of OpenAI's documentation: generate, edit with a mask, the error that names a parameter.
import base64
import io
import json
import os
import urllib.request

from openai import BadRequestError, OpenAI
from PIL import Image

client = OpenAI(base_url=os.environ["SERVER"] + "/v1", api_key="unused")
result = client.images.generate(model="gpt-image-1", prompt="A children's book drawing of a veterinarian")
image_bytes = base64.b64decode(result.data[0].b64_json)
named = client.images.generate(model="dall-e-2", prompt="a white siamese cat", size="512x512", n=2)
fetched = [Image.open(urllib.request.urlopen(image.url)) for image in named.data]
mask = ("mask.png", base64.b64decode(os.environ["MASK"]), "image/png")
edited = client.images.edit(
    model="gpt-image-1", image=("image.png", image_bytes, "image/png"), mask=mask, prompt="A sunlit indoor lounge"
)
opaque = io.BytesIO()
Image.new("RGB", (64, 64), "white").save(opaque, "PNG")
try:
    client.images.edit(model="gpt-image-1", image=image_bytes, mask=("mask.png", opaque.getvalue(), "image/png"), prompt="x")
    refused = None
except BadRequestError as error:
    refused = error.body["param"]
size = lambda data: list(Image.open(io.BytesIO(data)).size)
print(
    json.dumps(
        {
            "sizes": {
                "made": [size(image_bytes)],
                "fetched": [list(image.size) for image in fetched],
                "edited": [size(base64.b64decode(edited.data[0].b64_json))],
            },
            "info": {"refused": refused},
        }
    )
)
