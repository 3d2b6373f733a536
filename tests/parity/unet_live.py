"""Compares the U-Net with the installed diffusers, both ways:
    python tests/parity/unet_live.py PATH/TO/unet_forward
Weights that diffusers saved run there; weights written there open in diffusers. Exits with 77 if diffusers is missing.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import diffusers
    import torch
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print(f"skipped: {sys.executable} has no {error.name}")
    sys.exit(77)

from unet_cases import CASES, inputs

TOLERANCE = 1e-4


def drawn_network(config):
    """With random weights everywhere, also where diffusers starts at 0 or 1."""
    net = diffusers.UNet2DModel(**config).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.dim() == 1 and not name.startswith("time_proj"):
                parameter.add_(0.2 * torch.randn_like(parameter))
    return net


def answer_of(program, folder, tensors, *seed):
    save_file(tensors, folder / "in.safetensors")
    subprocess.run([program, folder, folder / "in.safetensors", folder / "out.safetensors", *seed], check=True)
    return load_file(folder / "out.safetensors")["y"]


def compare(program, case, folder):
    """The relative differences (their weights here, our weights there)."""
    net = drawn_network(case["config"])
    x, t, classes = inputs(case, net.time_embedding.linear_2.out_features)
    tensors = dict(x=x, t=t, **({} if classes is None else dict(classes=classes)))

    theirs = folder / "theirs"
    net.save_pretrained(theirs)
    differences = [relative(answer_of(program, theirs, tensors), net(x, t, class_labels=classes).sample)]

    ours = folder / "ours"
    ours.mkdir()
    (ours / "config.json").write_text(json.dumps(case["config"]))
    y = answer_of(program, ours, tensors, "5")
    net, loading = diffusers.UNet2DModel.from_pretrained(
        ours, output_loading_info=True, low_cpu_mem_usage=False)
    wrong = {key: value for key, value in loading.items() if value}
    if wrong:
        raise SystemExit(f"{case['name']}: from_pretrained says {wrong}")
    differences.append(relative(y, net.eval()(x, t, class_labels=classes).sample))
    return differences


def relative(ours, theirs):
    if ours.shape != theirs.shape:
        return float("inf")
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    worst = 0
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            differences = compare(sys.argv[1], case, Path(folder))
        worst = max(worst, *differences)
        print(f"{case['name']:45} diffusers -> here {differences[0]:.1e}   here -> diffusers {differences[1]:.1e}")
    print(f"diffusers {diffusers.__version__}: {len(CASES)} networks, largest relative difference {worst:.1e}")
    if not worst < TOLERANCE:
        sys.exit(f"more than {TOLERANCE}")


main()
