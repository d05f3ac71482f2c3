# The example of LangChain's page on the DALL-E image generator: an address, which is then fetched.
import json
import os
import urllib.request

from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper
from PIL import Image

os.environ["OPENAI_API_KEY"] = "unused"
os.environ["OPENAI_API_BASE"] = os.environ["SERVER"] + "/v1"
image_url = DallEAPIWrapper().run("halloween night at a haunted museum")
image = Image.open(urllib.request.urlopen(image_url))
print(json.dumps({"sizes": {"made": [list(image.size)]}}))
