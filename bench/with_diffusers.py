"""The default model in diffusers on PyTorch: one process, one JSON line. bench/default-model.ts runs it.

with_diffusers.py MODEL RUNS THREADS CHANNELS_LAST(0|1) STEPS PROMPT NEGATIVE
"""
import json
import resource
import sys
import time

began = time.time()
model, runs, threads, channels_last, steps, prompt, negative = sys.argv[1:]

import torch
import diffusers
from diffusers import StableDiffusionPipeline

torch.set_num_threads(int(threads))
diffusers.utils.logging.set_verbosity_error()
pipe = StableDiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32, safety_checker=None)
pipe.set_progress_bar_config(disable=True)
if channels_last == "1":
    pipe.unet.to(memory_format=torch.channels_last)
    pipe.vae.to(memory_format=torch.channels_last)

first_step = []
steps_ms = []
last = [0.0]


def on_step(pipe, i, t, tensors):
    now = time.perf_counter()
    if not first_step:
        first_step.append(time.time())
    if i > 0:
        steps_ms.append((now - last[0]) * 1e3)
    last[0] = now
    return tensors


times, cpu = [], []
for _ in range(int(runs)):
    t, c = time.perf_counter(), time.process_time()
    pipe(prompt, negative_prompt=negative, num_inference_steps=int(steps), width=256, height=256,
         generator=torch.Generator().manual_seed(1), callback_on_step_end=on_step)
    times.append((time.perf_counter() - t) * 1e3)
    cpu.append((time.process_time() - c) * 1e3)

print(json.dumps({
    "firstStepAt": first_step[0] * 1e3,
    "ms": times,
    "cpuMs": cpu,
    "stepMs": min(steps_ms),
    "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "version": f"diffusers {diffusers.__version__}, torch {torch.__version__}",
}))
