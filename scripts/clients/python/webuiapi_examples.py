"""The README's examples of webuiapi, in their order; the address, sizes, steps and names of models are this test's."""

import asyncio
import json
import os
from urllib.parse import urlparse

import webuiapi
from PIL import Image, ImageDraw

server = urlparse(os.environ["SERVER"])
size = {"width": 64, "height": 64}
api = webuiapi.WebUIApi(host=server.hostname, port=server.port, sampler="Euler a", steps=4)

result1 = api.txt2img(
    prompt="cute squirrel", negative_prompt="ugly, out of frame", seed=1003, styles=["anime"], cfg_scale=7, **size
)
result1.image.save("squirrel.png")
hires = api.txt2img(
    prompt="cute squirrel",
    negative_prompt="ugly, out of frame",
    seed=1003,
    styles=["anime"],
    cfg_scale=7,
    sampler_index="DDIM",
    enable_hr=True,
    hr_scale=2,
    hr_upscaler=webuiapi.HiResUpscaler.Latent,
    hr_second_pass_steps=2,
    hr_resize_x=128,
    hr_resize_y=96,
    denoising_strength=0.4,
    **size,
)
hires.image.save("hires.png")

result2 = api.img2img(
    images=[result1.image], prompt="cute cat", seed=5555, cfg_scale=6.5, denoising_strength=0.6, **size
)
result2.image.save("cat.png")

mask = Image.new("RGB", result2.image.size, color="black")
draw = ImageDraw.Draw(mask)
draw.ellipse((26, 19, 39, 31), fill="white")
draw.ellipse((10, 15, 20, 25), fill="white")
inpainting_result = api.img2img(
    images=[result2.image],
    mask_image=mask,
    inpainting_fill=1,
    prompt="cute cat",
    seed=104,
    cfg_scale=5.0,
    denoising_strength=0.7,
    **size,
)
inpainting_result.image.save("inpainted.png")

result3 = api.extra_single_image(
    image=result2.image, upscaler_1=webuiapi.Upscaler.ESRGAN_4x, upscaling_resize=1.5
)
result3.image.save("larger.png")
result4 = api.extra_batch_images(
    images=[result1.image, inpainting_result.image],
    upscaler_1=webuiapi.Upscaler.ESRGAN_4x,
    upscaling_resize=1.5,
)
for index, image in enumerate(result4.images):
    image.save(f"larger-{index}.png")


async def later():
    return await api.txt2img(prompt="cute kitten", seed=1001, use_async=True, **size)


asyncio.run(later()).image.save("kitten.png")

# Configuration and lists
options = api.get_options()
lists = [
    api.get_sd_models(),
    api.get_samplers(),
    api.get_cmd_flags(),
    api.get_hypernetworks(),
    api.get_face_restorers(),
    api.get_realesrgan_models(),
    api.get_prompt_styles(),
    api.get_progress(),
    api.get_embeddings(),
    api.get_scripts(),
    api.get_schedulers(),
    api.get_memory(),
    api.get_sd_vae(),
    api.get_upscalers(),
    api.get_latent_upscale_modes(),
    api.get_loras(),
]
api.interrupt()
api.skip()

old_model = api.util_get_current_model()
models = api.util_get_model_names()
api.util_get_sampler_names()
api.util_get_scheduler_names()
api.refresh_checkpoints()
api.util_set_model(models[0])
api.util_set_model("emoji difusion")
closest = api.util_get_current_model()
api.util_set_model(old_model)
api.util_wait_for_ready(check_interval=0.1)

lora = api.txt2img(
    prompt="photo of a cute girl with green hair <lora:Moxin_10:0.6> shuimobysim __juice__",
    seed=1000,
    save_images=True,
    alwayson_scripts={"Simple wildcards": []},
    **size,
)
lora.image.save("lora.png")

# ControlNet
controls = api.controlnet_model_list()
version = api.controlnet_version()
modules = api.controlnet_module_list()
img = api.txt2img(prompt="photo of a beautiful girl with blonde hair", seed=100, **size).image
unit1 = webuiapi.ControlNetUnit(image=img, module="canny", model=controls[0])
controlled = api.txt2img(prompt="photo of a beautiful girl", controlnet_units=[unit1], **size)
controlled.image.save("controlled.png")
unit2 = webuiapi.ControlNetUnit(image=img, module="canny", model=controls[0], weight=0.5)
r2 = api.img2img(
    prompt="girl",
    images=[img],
    controlnet_units=[unit1, unit2],
    sampler_name="Euler a",
    cfg_scale=7,
    **size,
)
for index, image in enumerate(r2.images):
    image.save(f"girl-{index}.png")
api.controlnet_detect(images=[img], module="canny").image.save("edges.png")

# What a server without such a model says.
try:
    interrogated = api.interrogate(image=img).info
except RuntimeError as error:
    status, words = error.args
    interrogated = {"status": status, "body": json.loads(words)}

# Its arguments' defaults, and the extension that it switches off by itself.
info = api.png_info(Image.open("squirrel.png"))
print(
    json.dumps(
        {
            "seed": result1.info["seed"],
            "infotext": result1.info["infotexts"][0],
            "comments": result1.info.get("comments"),
            "hires": hires.info["infotexts"][0],
            "lists": [len(each) for each in lists],
            "samples_format": options["samples_format"],
            "models": models,
            "closest": closest,
            "lora": lora.info["infotexts"][0],
            "controls": controls,
            "version": version,
            "modules": modules,
            "interrogated": interrogated,
            "has_controlnet": api.has_controlnet,
        }
    )
)
