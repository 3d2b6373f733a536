"""Samplers, add_noise and targets against diffusers' DDPMScheduler and DDIMScheduler, noise for noise.

Each case runs twice: in float64 with diffusers' alphas_cumprod computed in float64, where nothing but rounding
may differ, and in float32 with its own float32 table.
Usage: scheduler_live.py SCHEDULER_RUN
"""

import json
import logging
import os
import subprocess
import sys
import tempfile

try:
    import diffusers
    import numpy as np
    import torch
    from diffusers import DDIMScheduler, DDPMScheduler
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

import diffusers.schedulers.scheduling_ddim as ddim_module
import diffusers.schedulers.scheduling_ddpm as ddpm_module

CLASSES = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler}
# Of the largest value. DDPMScheduler adds 1e-10 of noise at its last step, where this library adds none.
BOUNDS = dict(double=1e-9, float=5e-4)


def network(x, t, double_output):
    out = 0.9 * torch.sin(1.7 * x + 3 * t / 1000) + 0.4 * x
    return torch.cat([out, torch.cos(2 * x + 5 * t / 1000)], 1) if double_output else out


def cases():
    def case(sampler, steps=10, eta=0.0, rederive_eps=False, **config):
        words = [sampler, str(steps)] + [f"{k}-{v}" for k, v in config.items() if k != "trained_betas"]
        words += [f"eta-{eta}"] * (eta > 0) + ["rederived"] * rederive_eps
        words += ["trained"] * ("trained_betas" in config)
        return dict(name="_".join(words), sampler=sampler, steps=steps, eta=eta,
                    rederive_eps=rederive_eps, config=config)

    for prediction in ("epsilon", "sample", "v_prediction"):
        for clip in (True, False):
            common = dict(prediction_type=prediction, clip_sample=clip)
            yield case("ddpm", 20, **common)
            for eta in (0.0, 0.5, 1.0):
                yield case("ddim", 10, eta, **common)
            yield case("ddim", 10, 0.7, True, **common)
        yield case("ddpm", 10, prediction_type=prediction, thresholding=True, sample_max_value=1.5,
                   dynamic_thresholding_ratio=0.9)
        yield case("ddim", 10, prediction_type=prediction, thresholding=True, sample_max_value=3.0,
                   dynamic_thresholding_ratio=0.8)
    for schedule in ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace"):
        yield case("ddpm", 25, beta_schedule=schedule, prediction_type="v_prediction")
    for schedule in ("linear", "scaled_linear", "squaredcos_cap_v2"):
        yield case("ddim", 25, beta_schedule=schedule, beta_start=0.0015, beta_end=0.0195)
    for spacing in ("leading", "linspace", "trailing"):
        for steps in (1, 7, 33, 100):
            if spacing == "linspace" and steps == 1:
                continue  # diffusers visits t = 0 alone, this library the noise end
            yield case("ddpm", steps, timestep_spacing=spacing)
    for steps in (7, 33):  # DDIMScheduler's previous t is t - T//N: on its own grid for these alone
        yield case("ddim", steps, timestep_spacing="leading", steps_offset=1)
    for steps in (1, 8, 50):
        yield case("ddim", steps, 0.3, timestep_spacing="trailing")
    yield case("ddim", 40, timestep_spacing="linspace", num_train_timesteps=40)
    yield case("ddim", 10, 1.0, set_alpha_to_one=False, timestep_spacing="leading")
    yield case("ddim", 10, set_alpha_to_one=False, beta_start=0.01, steps_offset=1)
    for variance in ("fixed_small", "fixed_small_log", "fixed_large", "learned_range"):
        yield case("ddpm", 20, variance_type=variance)
        yield case("ddpm", 100, variance_type=variance, num_train_timesteps=100, beta_end=0.2)
    yield case("ddpm", 10, clip_sample_range=0.5)
    yield case("ddim", 10, 0.2, clip_sample_range=2.5)
    betas = np.linspace(0.002, 0.15, 60).tolist()
    yield case("ddpm", 20, num_train_timesteps=60, trained_betas=betas)
    yield case("ddim", 20, num_train_timesteps=60, trained_betas=betas)
    for sampler in CLASSES:
        for prediction in ("sample", "v_prediction"):
            yield case(sampler, 10, rescale_betas_zero_snr=True, prediction_type=prediction,
                       timestep_spacing="trailing")


def double_table(config):
    """alphas_cumprod in float64, by the formulas of diffusers' constructor."""
    T, start, end = config.num_train_timesteps, config.beta_start, config.beta_end
    if config.trained_betas is not None:
        betas = np.array(config.trained_betas)
    elif config.beta_schedule == "linear":
        betas = np.linspace(start, end, T)
    elif config.beta_schedule == "scaled_linear":
        betas = np.linspace(start**0.5, end**0.5, T) ** 2
    elif config.beta_schedule == "sigmoid":
        betas = 1 / (1 + np.exp(-np.linspace(-6, 6, T))) * (end - start) + start
    else:
        u = np.arange(T + 1) / T
        if config.beta_schedule == "squaredcos_cap_v2":
            bar = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
        else:
            snr = np.exp(-0.5 * np.copysign(1, 0.5 - u) * np.log(1 - 2 * np.abs(0.5 - u) + 1e-6))
            bar = np.sqrt(snr / (1 + snr))
        betas = np.minimum(1 - bar[1:] / bar[:-1], 0.999)
    table = np.cumprod(1 - betas)
    if config.rescale_betas_zero_snr:
        root = np.sqrt(table)
        table = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    return torch.from_numpy(table)


def run(case, inputs, kind):
    double = kind == "double"
    inputs = {k: v.double() if double and k != "t" else v for k, v in inputs.items()}
    scheduler = CLASSES[case["sampler"]](**case["config"])
    if double:
        scheduler.alphas_cumprod = double_table(scheduler.config)
        if case["sampler"] == "ddim" and not scheduler.config.set_alpha_to_one:
            scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    scheduler.set_timesteps(case["steps"])
    draws = iter(inputs["steps"])
    replay = lambda *args, **kwargs: next(draws)
    ddpm_module.randn_tensor = ddim_module.randn_tensor = replay
    learned = case["config"].get("variance_type", "").startswith("learned")
    options = {}
    if case["sampler"] == "ddim":
        options = dict(eta=case["eta"], use_clipped_model_output=case["rederive_eps"])
    x, way, believed = inputs["init"], [], []
    for t in scheduler.timesteps:
        out = scheduler.step(network(x, float(t), learned), t, x, **options)
        x = out.prev_sample
        way.append(x)
        believed.append(out.pred_original_sample)
    x0, eps, t = inputs["steps"][0], inputs["steps"][1], inputs["t"]
    prediction = scheduler.config.prediction_type
    target = {"epsilon": eps, "sample": x0}.get(prediction)
    if target is None:
        target = scheduler.get_velocity(x0, eps, t)
    return dict(way=torch.stack(way), x0=torch.stack(believed),
                noised=scheduler.add_noise(x0, eps, t), target=target)


def main():
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    shape = (2, 3, 8, 6)
    inputs = dict(init=torch.randn(shape), steps=torch.randn(100, *shape), t=torch.tensor([3, 35]))
    todo, bad, worst = list(cases()), 0, dict.fromkeys(BOUNDS, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        save_file(inputs, f"{folder}/inputs.safetensors")
        requests = []
        for case in todo:  # the config as diffusers saves it
            CLASSES[case["sampler"]](**case["config"]).save_pretrained(folder)
            with open(f"{folder}/scheduler_config.json") as file:
                requests.append(case | dict(config=json.load(file)))
        with open(f"{folder}/cases.json", "w") as file:
            json.dump(requests, file)
        subprocess.run([sys.argv[1], folder], check=True)
        answers = load_file(f"{folder}/answers.safetensors")

        for case, request in zip(todo, requests):
            for kind, bound in BOUNDS.items():
                for key, theirs in run(case, inputs, kind).items():
                    ours = answers[f"{case['name']}.{kind}.{key}"]
                    error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
                    worst[kind] = max(worst[kind], error)
                    if not error <= bound:
                        bad += 1
                        print(f"FAILED {case['name']} {key} ({kind}): {error:.2e} > {bound:.0e}")
            written = f"{folder}/written_{case['name']}.json"
            os.replace(written, f"{folder}/scheduler_config.json")
            back = CLASSES[case["sampler"]].from_pretrained(folder)
            with open(f"{folder}/scheduler_config.json") as file:
                keys = json.load(file).keys()
            expected = {k: v for k, v in request["config"].items() if not k.startswith("_")}
            got = {k: v for k, v in back.config.items() if not k.startswith("_")}
            if got != expected or keys != request["config"].keys():
                bad += 1
                print(f"FAILED {case['name']}: the written config reads as {got}")
    print(f"{len(todo)} cases, diffusers {diffusers.__version__}: largest difference {worst['double']:.1e} "
          f"in float64, {worst['float']:.1e} in float32")
    sys.exit(1 if bad else 0)


main()
