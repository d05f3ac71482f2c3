#!/usr/bin/env python3
"""Whole pictures in few steps by another engine: prints one JSON line, as the peers' own programs do.

  few_steps.py --peer openvino|torch-cl --what lcm4|turbo1 [--threads 2] [--rounds 3]

Prompt, UNet without guidance and TAESD's decoder, of Stable Diffusion 1.5's size with random weights (sdmodels.py
beside the peers' programs), at 512x512. What OpenVINO reads is made once, under PEERS_ART.
"""
import argparse
import json
import os
import resource
import sys
import time

ART = os.environ["PEERS_ART"]
sys.path.insert(0, os.path.join(ART, "programs"))

STEPS = {"lcm4": 4, "turbo1": 1}


def networks():
    """The networks with inputs of their shapes."""
    import sdmodels
    import torch
    from diffusers import AutoencoderTiny

    class Decoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(3)
            self.decoder = AutoencoderTiny().decoder

        def forward(self, latents):
            return self.decoder(latents)

    return {
        "text": (lambda: sdmodels.load("text"), sdmodels.inputs("text")),
        "unet": (lambda: sdmodels.load("unet"), sdmodels.inputs("unet64b1")),
        "taesd": (Decoder, sdmodels.inputs("vae64")),
    }


def with_torch(threads):
    import torch

    torch.set_num_threads(threads)
    made = {}
    for name, (make, inputs) in networks().items():
        module = make().eval().to(memory_format=torch.channels_last)
        made[name] = (module, [x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in inputs])

    def run(name):
        module, inputs = made[name]
        with torch.no_grad():
            module(*inputs)

    return run, torch.__version__


def with_openvino(threads):
    import openvino
    import torch

    core = openvino.Core()
    made = {}
    for name, (make, inputs) in networks().items():
        path = os.path.join(ART, f"{name}_ov32.xml")
        if not os.path.exists(path):
            with torch.no_grad():
                openvino.save_model(openvino.convert_model(make().eval(), example_input=inputs), path, compress_to_fp16=False)
        model = core.read_model(path)
        values = [x.numpy() for x in inputs]
        model.reshape({port: list(value.shape) for port, value in zip(model.inputs, values)})
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        made[name] = (core.compile_model(model, "CPU", hints).create_infer_request(), values)

    def run(name):
        request, values = made[name]
        request.infer(values)

    return run, openvino.__version__.split("-")[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", choices=["openvino", "torch-cl"], required=True)
    parser.add_argument("--what", choices=list(STEPS), required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    began = time.perf_counter()
    run, version = {"openvino": with_openvino, "torch-cl": with_torch}[args.peer](args.threads)
    load = time.perf_counter() - began
    taken = []
    for _ in range(args.rounds + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        # What schedulers and the tokenizer do between takes milliseconds.
        for name in ["text", *["unet"] * STEPS[args.what], "taesd"]:
            run(name)
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    first, *later = taken
    print(
        json.dumps(
            {
                "min_ms": 1000 * min(wall for wall, _ in later),
                "cpu_ms": 1000 * min(cpu for _, cpu in later),
                "first_ms": 1000 * first[0],
                "load_s": load,
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "version": version,
            }
        )
    )


main()
