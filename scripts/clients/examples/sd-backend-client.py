# The examples of its README: quick start, inpainting, ControlNet by categories, what a server offers, upscaling.
import json
import os

from PIL import Image, ImageDraw
from sd_backend_client import (
    ControlNetModel,
    ControlNetUnit,
    DiffusionParams,
    DiffusionRequestBody,
    PreprocessorParams,
    connect_to_backend,
)

backend = connect_to_backend(os.environ["SERVER"])
params = DiffusionParams(prompt="a corgi astronaut, detailed", steps=20, width=512, height=512, seed=42)
first = backend.submit_txt2img(params).wait(timeout=300)
seen = []
handle = backend.submit_txt2img(DiffusionParams(prompt="a lighthouse at dusk", batch_size=2))
second = handle.wait(on_progress=lambda progress: seen.append(progress.status.value))
source = first.images[0]
mask = Image.new("L", source.size, 0)
ImageDraw.Draw(mask).rectangle((128, 128, 384, 384), fill=255)
params = DiffusionParams(
    prompt="a bowl of fruit on a table",
    init_images=[source],
    mask=mask,
    denoising_strength=0.8,
    width=source.width,
    height=source.height,
)
painted = backend.submit_inpaint(params).wait()
canny = backend.get_controlnet_type_categories()["Canny"]
preprocessor_name = next(name for name in canny["module_list"] if name.lower() != "none")
model_name = next(name for name in canny["model_list"] if name.lower() != "none")
preprocessor = next(p for p in backend.get_controlnet_preprocessors() if p.name == preprocessor_name)
unit = ControlNetUnit(
    image=source,
    preprocessor=PreprocessorParams(typedef=preprocessor, parameter_values={}),
    model=ControlNetModel(model_name),
    control_strength=0.8,
)
controlled = backend.submit_txt2img(
    DiffusionParams(prompt="a robot with the same outline", controlnet_units=[unit])
).wait()
preview = backend.submit_preprocessor_preview(source, unit.preprocessor).wait()
checkpoints = [option.name for option in backend.list_checkpoints()]
samplers = [option.name for option in backend.list_samplers()]
schedulers = [option.name for option in backend.list_schedulers()]
upscalers = [option.name for option in backend.list_upscalers()]
for lists in (backend.list_vaes, backend.list_loras, backend.list_hypernetworks):
    lists()
capabilities = backend.get_capabilities()
fox = backend.submit_txt2img(
    DiffusionParams(sd_model_name=checkpoints[0], sampler="dpmpp_2m", scheduler="karras", prompt="a fox", steps=4)
).wait()
params = DiffusionRequestBody(prompt="a castle on a hill", batch_size=2, n_iter=3, enable_hr=True, hr_scale=1.5, steps=2)
six = backend.submit_txt2img(params).wait()
larger = backend.submit_upscale(source, 1024, 1024).wait()
sizes = lambda result: [list(image.size) for image in result.images]
print(
    json.dumps(
        {
            "sizes": {
                **{"first": sizes(first), "second": sizes(second), "painted": sizes(painted)},
                **{"controlled": sizes(controlled), "preview": sizes(preview), "fox": sizes(fox)},
                **{"six": sizes(six), "larger": sizes(larger)},
            },
            "info": {
                **{"seed": first.seed, "seen": sorted(set(seen)), "checkpoints": checkpoints, "samplers": samplers},
                **{"schedulers": schedulers, "upscalers": upscalers, "controlnet": capabilities.controlnet},
                "hash": first.raw_info.sd_model_hash if hasattr(first.raw_info, "sd_model_hash") else first.raw_info["sd_model_hash"],
            },
        }
    )
)
