"""The README's examples of sd-backend-client; the address, sizes, steps and names of files are this test's."""

import json
import os

from PIL import Image, ImageDraw
from sd_backend_client import (
    ControlNetModel,
    ControlNetUnit,
    DiffusionParams,
    DiffusionRequestBody,
    GenerationProgress,
    PreprocessorParams,
    ServerError,
    connect_to_backend,
)

size = {"width": 64, "height": 64}
backend = connect_to_backend(os.environ["SERVER"])
params = DiffusionParams(prompt="a corgi astronaut, detailed", steps=4, seed=42, **size)
result = backend.submit_txt2img(params).wait(timeout=600)
result.images[0].save("corgi.png")

shown = []


def show_progress(progress: GenerationProgress) -> None:
    if progress.progress is not None:
        shown.append(f"{progress.status.value}: {progress.progress:.0%}")


handle = backend.submit_txt2img(DiffusionParams(prompt="a lighthouse at dusk", batch_size=2, steps=4, **size))
lighthouses = handle.wait(timeout=600, poll_interval=0.1, on_progress=show_progress)
for index, (image, seed) in enumerate(zip(lighthouses.images, lighthouses.seeds)):
    image.save(f"lighthouse-{index}.png")

source = Image.open("corgi.png")
mask = Image.new("L", source.size, 0)  # black: keep
ImageDraw.Draw(mask).rectangle((16, 16, 48, 48), fill=255)  # white: repaint
params = DiffusionParams(
    prompt="a bowl of fruit on a table",
    init_images=[source],
    mask=mask,
    denoising_strength=0.8,
    steps=4,
    width=source.width,
    height=source.height,
    soft_inpainting=backend.get_capabilities().soft_inpainting,
)
backend.submit_inpaint(params).wait(timeout=600).images[0].save("inpainted.png")
params = DiffusionParams(prompt="a bowl of fruit", init_images=[source], denoising_strength=0.8, steps=4, **size)
backend.submit_img2img(params).wait(timeout=600).images[0].save("varied.png")

canny = backend.get_controlnet_type_categories()["Canny"]
preprocessor_name = next(name for name in canny["module_list"] if name.lower() != "none")
model_name = next(name for name in canny["model_list"] if name.lower() != "none")
preprocessor = next(p for p in backend.get_controlnet_preprocessors() if p.name == preprocessor_name)
unit = ControlNetUnit(
    image=Image.open("corgi.png"),
    preprocessor=PreprocessorParams(typedef=preprocessor, parameter_values={}),
    model=ControlNetModel(model_name),
    control_strength=0.8,
)
params = DiffusionParams(prompt="a robot with the same outline", controlnet_units=[unit], steps=4, **size)
controlled = backend.submit_txt2img(params).wait(timeout=600)
controlled.images[0].save("controlled.png")
preview = backend.submit_preprocessor_preview(source, preprocessor).wait(timeout=600)
preview.images[0].save("edges.png")

checkpoints = [option.name for option in backend.list_checkpoints()]
samplers = [option.name for option in backend.list_samplers()]
capabilities = backend.get_capabilities()
params = DiffusionParams(
    sd_model_name=checkpoints[0], sampler="dpmpp_2m", scheduler="karras", prompt="a fox", steps=4, **size
)
backend.submit_txt2img(params).wait(timeout=600).images[0].save("fox.png")

params = DiffusionRequestBody(
    prompt="a castle on a hill", batch_size=2, n_iter=3, enable_hr=True, hr_scale=1.5, steps=2, **size
)
castles = backend.submit_txt2img(params).wait(timeout=600).images
for index, image in enumerate(castles):
    image.save(f"castle-{index}.png")

upscaler = next(option.name for option in backend.list_upscalers())
backend.submit_upscale(source, 128, 128).wait(timeout=600).images[0].save("larger.png")

# The rest of what it reads, by its own types.
lists = [
    backend.list_vaes(),
    backend.list_loras(),
    backend.list_hypernetworks(),
    backend.list_schedulers(),
    backend.list_controlnet_models(),
    backend.get_styles(),
    backend.get_latent_upscale_modes(),
    backend.get_scripts(),
    backend.get_script_info(),
    backend.progress_check(),
]
try:
    interrogated = backend.interrogate(source)
except ServerError as error:
    interrogated = {"status": error.status_code, "body": error.body}
print(
    json.dumps(
        {
            "seeds": result.seeds,
            "shown": shown,
            "maps": len(controlled.control_maps),
            "sliders": [parameter.key for parameter in preprocessor.parameters],
            "checkpoints": checkpoints,
            "samplers": samplers,
            "capabilities": {
                "controlnet": capabilities.controlnet,
                "scheduler": capabilities.scheduler,
                "interrogate": capabilities.interrogate,
            },
            "upscaler": upscaler,
            "lists": len(lists),
            "interrogated": str(interrogated),
        }
    )
)
