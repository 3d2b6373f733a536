"""Trains the same network on the same batches in PyTorch and compares the first gradients and every step's loss:
    python tests/parity/training_live.py PATH/TO/train_steps
Exits with 77 if diffusers is missing.
"""
import copy
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

# DDPM Alg. 1: draws of t and eps, one loss, one step of the optimiser.
STEPS, BATCH, SIDE, RATE = 300, 8, 16, 1e-3
# At the usual 1e-8 Adam moves a weight by the whole rate on the sign of a gradient that is rounding alone: two
# correct trainings part by 1e-2 within 300 steps. With 1e-3 an update is smooth in the gradient.
EPSILON = 1e-3
WINDOW = 25
CONFIG = dict(sample_size=SIDE, in_channels=1, out_channels=1, layers_per_block=2, block_out_channels=(32, 64),
              norm_num_groups=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
              up_block_types=("AttnUpBlock2D", "UpBlock2D"))


def batches():
    """Bright rectangles on black, noised at random times."""
    x0 = -torch.ones(STEPS, BATCH, 1, SIDE, SIDE)
    for image in x0.view(-1, SIDE, SIDE):
        top, left, height, width = torch.randint(1, SIDE // 2, (4,)).tolist()
        image[top:top + height, left:left + width] = 1
    t = torch.randint(0, 1000, (STEPS, BATCH))
    eps = torch.randn_like(x0)
    alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    a = alphas_cumprod[t].view(STEPS, BATCH, 1, 1, 1)
    return dict(x=(a.sqrt() * x0 + (1 - a).sqrt() * eps).float(), t=t, eps=eps)


def theirs(net, batches):
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, eps=EPSILON, weight_decay=0.0)
    losses = []
    for x, t, eps in zip(batches["x"], batches["t"], batches["eps"]):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x, t).sample, eps)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def first_gradients(net, batches):
    net = copy.deepcopy(net).double()
    x, t, eps = batches["x"][0].double(), batches["t"][0], batches["eps"][0].double()
    torch.nn.functional.mse_loss(net(x, t).sample, eps).backward()
    return {name: p.grad for name, p in net.named_parameters()}


def main():
    torch.manual_seed(0)
    torch.set_num_threads(2)
    net = diffusers.UNet2DModel(**CONFIG).train()
    data = batches()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        net.save_pretrained(folder)
        save_file(data, folder / "in.safetensors")
        subprocess.run([sys.argv[1], folder, folder / "in.safetensors", folder / "out.safetensors", str(RATE), str(EPSILON)],
                       check=True)
        result = load_file(folder / "out.safetensors")
    ours, peer = result.pop("losses"), theirs(copy.deepcopy(net), data)
    exact = first_gradients(net, data)
    # A key's bias leaves a softmax as it is: its gradient is 0, and what is computed is rounding.
    gradients = torch.stack([(result[name].view_as(g) - g).norm() / g.norm() for name, g in exact.items()
                             if "to_k.bias" not in name]).max()
    steps = (ours / peer - 1).abs().max()
    a, b = ours.view(-1, WINDOW).mean(1), peer.view(-1, WINDOW).mean(1)
    windows = (a / b - 1).abs().max()
    print(f"loss {b[0]:.4f} -> {b[-1]:.4f} there, {a[-1]:.4f} here; relative difference: first gradients (float64) {gradients:.1e}, "
          f"any step {steps:.1e}, means of {WINDOW} steps {windows:.1e}")
    if not b[-1] < b[0] / 3:
        raise SystemExit("the loss did not fall: this shows nothing")
    if result.keys() != exact.keys() or not (gradients < 5e-5 and steps < 1e-4 and windows < 2e-5):
        raise SystemExit("the trainings part")


main()
