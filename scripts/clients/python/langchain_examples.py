"""langchain-community's DALL-E wrapper, as its documentation uses it; size and names of files are this test's."""

import json
import os
import urllib.request

from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

os.environ["OPENAI_API_KEY"] = "unused"
os.environ["OPENAI_API_BASE"] = os.environ["SERVER"] + "/v1"

image_url = DallEAPIWrapper(size="64x64").run("a detailed image of a halloween night at a haunted museum")
urllib.request.urlretrieve(image_url, "museum.png")

two = DallEAPIWrapper(model="dall-e-3", quality="hd", size="96x64", n=2).run("a haunted museum")
for index, url in enumerate(two.split("\n")):
    urllib.request.urlretrieve(url, f"museum-{index}.png")
print(json.dumps({"urls": [image_url, *two.split("\n")]}))
