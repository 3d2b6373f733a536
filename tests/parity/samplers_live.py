"""Every sampler that diffusers has, against its scheduler: the same config, network and noise, 10 and 25 steps, float32.

The ends, before any clamp, agree within 1e-4 max(1, max|x|); at least half of the values of each lie inside (-1, 1).
By --scheduler-rules diffusers everywhere, and by the papers' rules where the two coincide: see `coincide`.
Usage: samplers_live.py SAMPLERS_RUN
"""

import json
import logging
import subprocess
import sys
import tempfile
from collections import defaultdict

try:
    import diffusers
    import numpy as np
    import torch
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

import diffusers.schedulers.scheduling_ddim
import diffusers.schedulers.scheduling_ddpm
import diffusers.schedulers.scheduling_dpmsolver_multistep
import diffusers.schedulers.scheduling_euler_ancestral_discrete

TOLERANCE = 1e-4
LISTS = ("leading", "linspace", "trailing")
NAMES = dict(ddpm="DDPM", ddim="DDIM", euler="EulerDiscrete", euler_a="EulerAncestralDiscrete", heun="HeunDiscrete",
             dpm2="KDPM2Discrete", dpmpp_2m="DPMSolverMultistep", dpmpp_3m="DPMSolverMultistep",
             dpmpp_2m_sde="DPMSolverMultistep", unipc="UniPCMultistep", deis="DEISMultistep", pndm="PNDM", ipndm="IPNDM")
CLASSES = {name: getattr(diffusers, f"{scheduler}Scheduler") for name, scheduler in NAMES.items()}
OWN = dict(dpmpp_3m=dict(solver_order=3), dpmpp_2m_sde=dict(algorithm_type="sde-dpmsolver++"))
PREDICTIONS = defaultdict(lambda: ("epsilon", "sample", "v_prediction"), euler_a=("epsilon", "v_prediction"),
                          dpm2=("epsilon", "v_prediction"), pndm=("epsilon", "v_prediction"), ipndm=("epsilon",))
KARRAS = ("euler", "heun", "dpm2", "dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde", "unipc", "deis")
BETAS = dict(beta_start=0.0001, beta_end=0.02)  # Heun's and KDPM2's defaults are others


def coincide(name, steps, config):
    """Whether the papers' rules give the same run."""
    spacing = config.get("timestep_spacing", "leading" if name in ("ddpm", "ddim", "pndm") else "linspace")
    karras = config.get("use_karras_sigmas", False)
    if name == "ddpm":
        return config.get("variance_type") != "fixed_large" or spacing == "leading"
    if name == "ddim":  # a stride of T/N is the list's own
        return spacing != "linspace"
    if name in ("euler", "euler_a", "heun", "dpm2"):  # rounded timesteps; karras from the same list
        if config.get("rescale_betas_zero_snr"):  # 2^-24
            return False
        if karras:
            return name != "dpm2" and spacing == "linspace"
        if config.get("beta_schedule") and spacing != "leading":  # sigma_max and sqrt(sigma_max^2 + 1) are not near
            return False
        return spacing != "linspace" or 999 % (steps - 1) == 0
    if name in ("dpmpp_2m", "dpmpp_2m_sde", "unipc"):  # the others drop an entry, or round between them
        order = config.get("solver_order", 2)
        if config.get("rescale_betas_zero_snr"):  # 2^-24
            return False
        falls = name != "unipc" or steps < 15 or order == 2 and not config.get("final_sigmas_type")
        return spacing == "trailing" and not karras and falls
    if name == "pndm":  # of the mean of noises, to the data
        return config.get("set_alpha_to_one", False)
    return False  # dpmpp_3m: the factor 2; deis: the end; ipndm: the table


def cases():
    def case(name, steps, eta=0.0, **config):
        words = [name, str(steps)] + [f"{k}-{v}" for k, v in config.items() if k not in BETAS] + [f"eta-{eta}"] * (eta > 0)
        config = {**BETAS, **OWN.get(name, {}), **config}
        if name == "ipndm":
            config = {}
        for rules in ("diffusers", "paper"):
            if rules == "diffusers" or coincide(name, steps, config):
                yield dict(name=f"{'_'.join(words)}_{rules}", sampler=name, steps=steps, eta=eta, rules=rules, config=config)

    for name in CLASSES:
        for steps in (10, 25):
            for prediction in PREDICTIONS[name]:
                for spacing in LISTS if name != "ipndm" else ("leading",):
                    yield from case(name, steps, prediction_type=prediction, timestep_spacing=spacing)
                    if name == "ddim":
                        yield from case(name, steps, 0.7, prediction_type=prediction, timestep_spacing=spacing)
                    if name in KARRAS:
                        yield from case(name, steps, prediction_type=prediction, timestep_spacing=spacing, use_karras_sigmas=True)
            if name not in ("ipndm", "ddpm", "ddim", "pndm", "euler_a"):
                yield from case(name, steps, use_exponential_sigmas=True)
            if name != "ipndm":
                yield from case(name, steps, beta_schedule="scaled_linear", beta_end=0.012, prediction_type="v_prediction")
                yield from case(name, steps, timestep_spacing="leading", steps_offset=1)
        for steps in (10, 25):
            if name in ("ddpm", "ddim", "heun"):
                yield from case(name, steps, clip_sample=True, clip_sample_range=0.5, timestep_spacing="leading")
            if name in ("ddpm", "ddim", "dpmpp_2m", "unipc", "deis"):
                yield from case(name, steps, thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=2.0)
            if name in ("euler", "dpmpp_2m", "unipc"):
                yield from case(name, steps, final_sigmas_type="sigma_min", timestep_spacing="trailing")
                yield from case(name, steps, rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing")
            if name == "ddpm":
                yield from case(name, steps, variance_type="fixed_large", timestep_spacing="trailing")
            if name in ("dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde"):
                if name != "dpmpp_3m":
                    yield from case(name, steps, solver_type="heun", timestep_spacing="trailing")
                yield from case(name, steps, use_lu_lambdas=True)
            if name in ("unipc", "deis"):
                for order in (1, 3):
                    yield from case(name, steps, solver_order=order, timestep_spacing="trailing")
            if name == "pndm":
                yield from case(name, steps, set_alpha_to_one=True)


def signal(table, t, angle):
    if angle:
        return np.cos(t * np.pi / 2)
    k = min(int(t), len(table) - 1)
    above = min(k + 1, len(table) - 1)
    return np.sqrt(table[k] + (t - k) * (table[above] - table[k]))


def network(x, t, table, angle, prediction):
    """A stand-in: what a network says of Gaussian data of spread 0.4, and something that is not linear."""
    a = float(signal(table, t, angle))
    s = (1 - a * a) ** 0.5
    x0 = 0.16 * a / (0.16 * a * a + s * s) * x + 0.1 * s * torch.sin(1.5 * x + 2 * a)
    if prediction == "sample":
        return x0
    eps = (x - a * x0) / s
    return eps if prediction == "epsilon" else a * eps - s * x0


def run(case, inputs, table):
    scheduler = CLASSES[case["sampler"]](**case["config"])
    scheduler.set_timesteps(case["steps"])
    draws = iter(inputs["steps"])
    for module in (diffusers.schedulers.scheduling_ddim, diffusers.schedulers.scheduling_ddpm,
                   diffusers.schedulers.scheduling_dpmsolver_multistep,
                   diffusers.schedulers.scheduling_euler_ancestral_discrete):
        module.randn_tensor = lambda *args, **kwargs: next(draws)
    angle = case["sampler"] == "ipndm"
    prediction = "v_prediction" if angle else scheduler.config.prediction_type
    options = dict(eta=case["eta"]) if case["sampler"] == "ddim" else {}
    x = inputs["init"] * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        out = network(scheduler.scale_model_input(x, t), float(t), table, angle, prediction)
        x = scheduler.step(out, t, x, **options).prev_sample
    return x


def double_table(config):
    """alphas_cumprod in float64: what the stand-in network knows, the same on both sides."""
    start, end = config["beta_start"], config["beta_end"]
    betas = np.linspace(start, end, 1000)
    if config.get("beta_schedule") == "scaled_linear":
        betas = np.linspace(start**0.5, end**0.5, 1000) ** 2
    table = np.cumprod(1 - betas)
    if config.get("rescale_betas_zero_snr"):
        root = np.sqrt(table)
        table = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    return table


def main():
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    shape = (4, 3, 8, 6)
    inputs = dict(init=torch.randn(shape), steps=torch.randn(25, *shape))
    todo, tables = list(cases()), {}
    for case in todo:
        config = case["config"] or BETAS
        case["table"] = "table " + json.dumps([config.get("beta_schedule"), config["beta_end"], config.get("rescale_betas_zero_snr")])
        tables[case["table"]] = double_table(config)
    worst, counts, bad = defaultdict(float), defaultdict(int), 0
    with tempfile.TemporaryDirectory() as folder:
        save_file(inputs | {k: torch.from_numpy(v) for k, v in tables.items()}, f"{folder}/inputs.safetensors")
        with open(f"{folder}/cases.json", "w") as file:
            json.dump([case | dict(config=case["config"] | dict(_class_name=CLASSES[case["sampler"]].__name__))
                       for case in todo], file)
        subprocess.run([sys.argv[1], folder], check=True)
        answers = load_file(f"{folder}/answers.safetensors")
    for case in todo:
        theirs, ours = run(case, inputs, tables[case["table"]]), answers[case["name"]]
        error = ((ours - theirs).abs().max() / max(1, theirs.abs().max())).item()
        inside = (theirs.abs() < 1).float().mean().item()
        worst[case["sampler"], case["rules"]] = max(worst[case["sampler"], case["rules"]], error)
        counts[case["sampler"], case["rules"]] += 1
        if not error <= TOLERANCE or not inside >= 0.5:
            bad += 1
            print(f"FAILED {case['name']}: {error:.2e}, {inside:.0%} inside (-1,1)")
    for name in CLASSES:
        for rules in ("diffusers", "paper"):
            if counts[name, rules]:
                print(f"{name:13s} {rules:10s} {counts[name, rules]:3d} cases, largest difference {worst[name, rules]:.1e}")
    print(f"{len(todo)} cases, diffusers {diffusers.__version__}, {bad} failed")
    sys.exit(1 if bad else 0)


main()
