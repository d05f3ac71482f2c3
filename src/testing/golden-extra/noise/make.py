"""
On a processor that is not Intel's (the last bits of torch's sqrt, log and exp differ between processors).

Schedulers of diffusers 0.38 on the closed-form network of the tests, in float32 on the CPU. Writes beside itself:

tables.json        levels and timesteps of set_timesteps, float32 numbers as they are
trajectories.json  every sample of runs that are sensitive to the last bits: start, network and noise are formulas
edm.json           EDM's classes: levels, and the first three and last two samples of runs
functions.json     sqrt, log and exp of torch and log of numpy, of float32 numbers

Run with one thread: python make.py
"""
import json
import math
import os
import warnings

import diffusers
import numpy as np
import torch

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
here = os.path.dirname(os.path.abspath(__file__))
sd = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
cosine = dict(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
curves = {
    "none": {},
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
    "beta": {"use_beta_sigmas": True},
}


def numbers(values):
    return [float(v) for v in np.asarray(values, dtype=np.float64)]


def scheduler(name, config):
    return getattr(diffusers, name)(**config)


def tables():
    found = []

    def add(name, steps, **config):
        s = scheduler(name, config)
        s.set_timesteps(steps)
        found.append(
            dict(scheduler=name, config=config, steps=steps, sigmas=numbers(s.sigmas), timesteps=numbers(s.timesteps))
        )

    for name in ["EulerDiscreteScheduler", "DPMSolverSDEScheduler", "HeunDiscreteScheduler"]:
        for flags in curves.values():
            for steps in (3, 8, 15):
                add(name, steps, **sd, **flags)
        for spacing in ("leading", "trailing"):
            for steps in (4, 9):
                add(name, steps, **sd, timestep_spacing=spacing)
        add(name, 6, **cosine, use_karras_sigmas=True)
    for steps in (2, 5, 12):
        add("EulerDiscreteScheduler", steps, **sd, interpolation_type="log_linear")
        add("EulerDiscreteScheduler", steps, **sd, rescale_betas_zero_snr=True, timestep_spacing="trailing")
    return found


def network(x, t):
    return (0.3 * torch.tanh(x) + 0.1 * math.sin(float(t) / 100)).float()


def start(n):
    return torch.tensor([math.cos(7.1 * (i + 1)) for i in range(n)], dtype=torch.float32).reshape(1, 1, 1, n)


def trajectories():
    found = []
    for curve in ("beta", "exponential", "karras"):
        for order in (2, 3):
            for steps in (4, 6, 10, 20):
                config = dict(**sd, solver_order=order, **curves[curve])
                s = scheduler("DEISMultistepScheduler", config)
                s.set_timesteps(steps)
                x = start(8) * s.init_noise_sigma
                samples = []
                for t in s.timesteps:
                    x = s.step(network(s.scale_model_input(x, t), t), t, x).prev_sample
                    samples.append(numbers(x.flatten()))
                found.append(dict(scheduler="DEISMultistepScheduler", config=config, steps=steps, samples=samples))
    return found


def edm():
    found = []
    cases = [
        dict(prediction_type=prediction, sigma_data=data, sigma_schedule=curve, final_sigmas_type=final)
        for prediction in ("epsilon", "v_prediction")
        for data in (0.5, 1.0)
        for curve, final in (("karras", "zero"), ("exponential", "zero"), ("karras", "sigma_min"))
    ]
    runs = [("EDMEulerScheduler", {}), ("EDMDPMSolverMultistepScheduler", {})]
    for order, solver, algorithm in ((1, "midpoint", "dpmsolver++"), (2, "heun", "dpmsolver++"), (3, "midpoint", "dpmsolver++"), (2, "midpoint", "sde-dpmsolver++"), (2, "heun", "sde-dpmsolver++")):
        runs.append(("EDMDPMSolverMultistepScheduler", dict(solver_order=order, solver_type=solver, algorithm_type=algorithm)))
    runs.append(("EDMDPMSolverMultistepScheduler", dict(thresholding=True, sample_max_value=1.5)))
    module = diffusers.schedulers.scheduling_edm_dpmsolver_multistep
    for name, extra in runs:
        for case in cases if len(extra) == 0 else cases[:2] + cases[-1:]:
            for steps in (1, 4, 17):
                config = dict(case, **extra, **(dict(sigma_max=120.0) if case["sigma_data"] == 1.0 else {}))
                s = scheduler(name, config)
                s.set_timesteps(steps)
                draws = iter(range(1000))
                module.randn_tensor = lambda shape, **_: start(8) * (1 + next(draws) % 3)
                x = start(8) * s.init_noise_sigma
                samples = []
                for t in s.timesteps:
                    x = s.step(network(s.scale_model_input(x, t), 100 * t), t, x).prev_sample
                    samples.append(numbers(x.flatten()))
                if torch.isfinite(x).all():  # the reference divides by zero where a run ends at its lowest level
                    found.append(dict(scheduler=name, config=config, steps=steps, sigmas=numbers(s.sigmas), samples=samples[:3] + samples[-2:]))
    return found


def functions():
    rng = np.random.default_rng(5)
    x = np.exp(rng.uniform(-9, 9, 300)).astype(np.float32)
    y = rng.uniform(-12, 12, 300).astype(np.float32)
    return dict(
        x=numbers(x),
        sqrt=numbers(torch.from_numpy(x).sqrt()),
        log=numbers(torch.from_numpy(x).log()),
        numpyLog=numbers(np.log(x)),
        y=numbers(y),
        exp=numbers(torch.from_numpy(y).exp()),
    )


for name, make in dict(tables=tables, trajectories=trajectories, edm=edm, functions=functions).items():
    with open(os.path.join(here, f"{name}.json"), "w") as file:
        json.dump(make(), file, separators=(",", ":"))
        file.write("\n")
