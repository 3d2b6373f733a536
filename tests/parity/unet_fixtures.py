"""Writes unet_fixtures.json: what diffusers' UNet2DModel answers with hashed weights. Run by hand:
    python tests/parity/unet_fixtures.py
"""
import json
from pathlib import Path

import diffusers
import torch

from unet_cases import CASES, hashed_weight, inputs


def main():
    torch.set_num_threads(1)
    out = []
    for case in CASES:
        net = diffusers.UNet2DModel(**case["config"]).eval()
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                parameter.copy_(hashed_weight(name, list(parameter.shape)))
            x, t, classes = inputs(case, net.time_embedding.linear_2.out_features)
            y = net(x, t, class_labels=classes).sample
        out.append(dict(**case, output=[float(f"{value:.6e}") for value in y.flatten().tolist()]))
    path = Path(__file__).with_name("unet_fixtures.json")
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in out)
    path.write_text(f'{{"diffusers":"{diffusers.__version__}","cases":[\n{lines}\n]}}\n')
    print(f"{path.name}: {len(out)} cases, {path.stat().st_size} bytes")


main()
