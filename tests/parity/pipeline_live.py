"""What the program trains, Python's diffusers opens and draws the same images from:
    python tests/parity/pipeline_live.py PATH/TO/tweedie PATH/TO/models/fashion
An unconditional model is trained for a moment and drawn by DDPMPipeline and DDIMPipeline; the bundled, class-conditional
one by its unet and scheduler, and by the solvers' classes opened from the same scheduler_config.json, before the clamp.
The same noise goes to both programs. Exits with 77 if diffusers is missing.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import torch
    from diffusers import (DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, DEISMultistepScheduler,
                           DPMSolverMultistepScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler, UNet2DModel,
                           UniPCMultistepScheduler)
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print(f"skipped: {sys.executable} has no {error.name}")
    sys.exit(77)

TOLERANCE = 1e-3
RAW_TOLERANCE = 1e-4  # of the largest value, or of 1
N = 4
SOLVERS = dict(ddim=DDIMScheduler, euler=EulerDiscreteScheduler, heun=HeunDiscreteScheduler,
               dpmpp_2m=DPMSolverMultistepScheduler, unipc=UniPCMultistepScheduler, deis=DEISMultistepScheduler)


def ours(program, model, sampler, steps, init, noises, folder, *flags, tensor="samples"):
    save_file(dict(init=init, steps=noises), folder / "noise.safetensors")
    subprocess.run([program, "sample", model, "--quiet", "--force", "--n", str(N), "--sampler", sampler, "--steps",
                    str(steps), "--noise", folder / "noise.safetensors", "--save-tensor",
                    folder / "samples.safetensors", *flags], check=True)
    return load_file(folder / "samples.safetensors")[tensor]


class Replay:
    """Stands in for diffusers' randn_tensor: the same draws in the same order."""

    def __init__(self, draws):
        self.draws = iter(draws)

    def __call__(self, shape, **_):
        return next(self.draws).reshape(shape)


def by_pipeline(pipeline, steps, init, noises, eta):
    """The pipeline itself, its draws replaced: the first is x_T, then one a step."""
    import diffusers.pipelines.ddim.pipeline_ddim as ddim
    import diffusers.pipelines.ddpm.pipeline_ddpm as ddpm
    import diffusers.schedulers.scheduling_ddim as scheduling_ddim
    import diffusers.schedulers.scheduling_ddpm as scheduling_ddpm
    replay = Replay([init, *noises])
    for module in (ddim, ddpm, scheduling_ddim, scheduling_ddpm):
        module.randn_tensor = replay
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(batch_size=N, num_inference_steps=steps, output_type="np", **eta).images
    return torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1


def by_loop(unet, scheduler, steps, init, noises, labels):
    """Not clamped."""
    scheduler.set_timesteps(steps)
    x = init * scheduler.init_noise_sigma
    import diffusers.schedulers.scheduling_ddpm as scheduling_ddpm
    scheduling_ddpm.randn_tensor = Replay(noises)
    with torch.no_grad():
        for t in scheduler.timesteps:
            out = unet(scheduler.scale_model_input(x, t), t, class_labels=labels).sample
            x = scheduler.step(out, t, x).prev_sample
    return x


def check(name, a, b, tolerance=TOLERANCE):
    worst = (a - b).abs().max().item()
    print(f"{name}: largest difference of a pixel {worst:.2e}")
    if not worst <= tolerance:
        raise SystemExit(f"{name}: {worst:.2e} is more than {tolerance:g}")


def main():
    program, bundled = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / "run"
        subprocess.run([program, "train", "--quiet", "--data", "shapes:16", "--steps", "20", "--out", run,
                        "--set", "train.batch_size=16", "model.block_out_channels=[16,32]",
                        'model.down_block_types=["DownBlock2D","AttnDownBlock2D"]',
                        'model.up_block_types=["AttnUpBlock2D","UpBlock2D"]', "model.norm_num_groups=8",
                        "model.num_class_embeds=null", "objective.label_dropout=0"], check=True)
        init, noises = torch.randn(N, 3, 16, 16), torch.randn(20, N, 3, 16, 16)
        check("DDIMPipeline, 10 steps", ours(program, run, "ddim", 10, init, noises, folder),
              by_pipeline(DDIMPipeline.from_pretrained(run, low_cpu_mem_usage=False), 10, init, noises, dict(eta=0.0)))
        check("DDPMPipeline, 20 steps", ours(program, run, "ddpm", 20, init, noises, folder),
              by_pipeline(DDPMPipeline.from_pretrained(run, low_cpu_mem_usage=False), 20, init, noises, {}))

        unet = UNet2DModel.from_pretrained(bundled, subfolder="unet", low_cpu_mem_usage=False)
        labels = torch.tensor([0, 3, 7, 10])
        init, noises = torch.randn(N, 1, 28, 28), torch.randn(20, N, 1, 28, 28)
        for sampler, scheduler, steps in (("ddim", DDIMScheduler, 50), ("ddpm", DDPMScheduler, 20)):
            check(f"models/fashion, {scheduler.__name__}, {steps} steps",
                  ours(program, bundled, sampler, steps, init, noises, folder, "--class", "0,3,7,none"),
                  by_loop(unet, scheduler.from_pretrained(bundled, subfolder="scheduler"), steps, init, noises,
                          labels).clamp(-1, 1))
        for sampler, scheduler in SOLVERS.items():
            theirs = by_loop(unet, scheduler.from_pretrained(bundled, subfolder="scheduler"), 10, init, noises, labels)
            check(f"models/fashion, {scheduler.__name__}, 10 steps, not clamped",
                  ours(program, bundled, sampler, 10, init, noises, folder, "--class", "0,3,7,none",
                       "--scheduler-rules", "diffusers", tensor="raw"),
                  theirs, RAW_TOLERANCE * max(1, theirs.abs().max().item()))


main()
