"""The image examples of OpenAI's own client (its methods' documentation); sizes and names of files are this test's."""

import asyncio
import base64
import json
import os
import urllib.request

from openai import AsyncOpenAI, NotFoundError, OpenAI

address = {"api_key": "unused", "base_url": os.environ["SERVER"] + "/v1"}
client = OpenAI(**address)


def save(name, b64_json):
    with open(name, "wb") as file:
        file.write(base64.b64decode(b64_json))


response = client.images.generate(
    model="gpt-image-1", prompt="A cute baby sea otter", n=1, size="64x64", extra_body={"seed": 7}
)
save("otter.png", response.data[0].b64_json)

linked = client.images.generate(model="dall-e-3", prompt="A cute baby sea otter", n=1, size="64x64")
urllib.request.urlretrieve(linked.data[0].url, "linked.png")

events = []
for event in client.images.generate(
    model="gpt-image-1", prompt="A cute baby sea otter", size="64x64", stream=True, partial_images=1
):
    events.append(event.type)
    save("streamed.png", event.b64_json)

edited = client.images.edit(
    model="gpt-image-1",
    image=open("otter.png", "rb"),
    mask=open(os.environ["MASK"], "rb"),
    prompt="A cute baby sea otter wearing a beret",
    n=2,
)
for index, image in enumerate(edited.data):
    save(f"edited-{index}.png", image.b64_json)

varied = client.images.create_variation(image=open("otter.png", "rb"), n=1, response_format="b64_json")
save("varied.png", varied.data[0].b64_json)


async def later():
    return await AsyncOpenAI(**address).images.generate(
        model="gpt-image-1", prompt="A cute baby sea otter", size="64x64", extra_body={"seed": 7}
    )


save("again.png", asyncio.run(later()).data[0].b64_json)

try:
    client.images.generate(model="nobody", prompt="x")
    refused = None
except NotFoundError as error:
    refused = error.code
models = [model.id for model in client.models.list()]
print(json.dumps({"events": events, "refused": refused, "models": models}))
