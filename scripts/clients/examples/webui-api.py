# The examples of its README, from the first to the utilities, with the ControlNet ones.
import json
import os
from urllib.parse import urlparse

import webuiapi
from PIL import Image, ImageDraw

address = urlparse(os.environ["SERVER"])
api = webuiapi.WebUIApi(host=address.hostname, port=address.port)
result1 = api.txt2img(
    prompt="cute squirrel",
    negative_prompt="ugly, out of frame",
    seed=1003,
    styles=["anime"],
    cfg_scale=7,
)
hires = api.txt2img(
    prompt="cute squirrel",
    seed=1003,
    sampler_index="DDIM",
    steps=3,
    enable_hr=True,
    hr_scale=2,
    hr_upscaler=webuiapi.HiResUpscaler.Latent,
    hr_second_pass_steps=2,
    hr_resize_x=640,
    hr_resize_y=512,
    denoising_strength=0.4,
)
result2 = api.img2img(images=[result1.image], prompt="cute cat", seed=5555, cfg_scale=6.5, denoising_strength=0.6)
mask = Image.new("RGB", result2.image.size, color="black")
draw = ImageDraw.Draw(mask)
draw.ellipse((210, 150, 310, 250), fill="white")
draw.ellipse((80, 120, 160, 120 + 80), fill="white")
inpainting_result = api.img2img(
    images=[result2.image],
    mask_image=mask,
    inpainting_fill=1,
    prompt="cute cat",
    seed=104,
    cfg_scale=5.0,
    denoising_strength=0.7,
)
result3 = api.extra_single_image(
    image=result2.image, upscaler_1=webuiapi.Upscaler.ESRGAN_4x, upscaling_resize=1.5
)
result4 = api.extra_batch_images(
    images=[result1.image, inpainting_result.image],
    upscaler_1=webuiapi.Upscaler.ESRGAN_4x,
    upscaling_resize=1.5,
)
img = api.txt2img(prompt="photo of a beautiful girl with blonde hair", height=512, seed=100).image
unit1 = webuiapi.ControlNetUnit(image=img, module="canny", model="control_v11p_sd15_canny [d14c016b]")
followed = api.txt2img(prompt="photo of a beautiful girl", controlnet_units=[unit1])
detected = api.controlnet_detect(images=[img], module="canny")
lists = [
    *(api.get_options(), api.get_sd_models(), api.get_samplers(), api.get_cmd_flags(), api.get_hypernetworks()),
    *(api.get_face_restorers(), api.get_realesrgan_models(), api.get_prompt_styles(), api.get_progress()),
    *(api.get_embeddings(), api.get_scripts(), api.get_schedulers(), api.get_memory(), api.get_upscalers()),
    *(api.get_sd_vae(), api.get_loras(), api.get_latent_upscale_modes()),
    *(api.controlnet_version(), api.controlnet_model_list(), api.controlnet_module_list()),
]
old_model = api.util_get_current_model()
models = api.util_get_model_names()
api.util_get_sampler_names()
api.util_get_scheduler_names()
api.refresh_checkpoints()
api.util_set_model(models[0])
api.util_set_model(old_model)
api.util_wait_for_ready()
size = lambda *results: [list(result.size) for result in results]
print(
    json.dumps(
        {
            "sizes": {
                "made": size(result1.image, result2.image, inpainting_result.image),
                "hires": size(hires.image),
                "larger": size(result3.image, *result4.images),
                "followed": size(*followed.images),
                "detected": size(detected.image),
            },
            "info": {"first": result1.info, "text": api.png_info(result1.image).info, "lists": len(lists)},
        }
    )
)
