"""The peer of the duels: diffusers' UNet2DModel in PyTorch eager, float32. duel.py starts it and talks to it.

usage: peer.py forward|train CONFIG BATCH SIZE THREADS VARIANT

VARIANT is memory format and, for train, AdamW's kind: contiguous, channels_last+fused, ... "calibrate" times them all and
prints {variant: seconds a step}. Otherwise it prints a line once it is ready, then answers each line "go N" with the
figures of N steps, as bench_step does.
"""
import contextlib
import ctypes
import gc
import json
import re
import sys
import time

import diffusers
import torch

VARIANTS = {"forward": ["contiguous", "channels_last"],
            "train": ["contiguous+foreach", "contiguous+fused", "channels_last+foreach", "channels_last+fused"]}


def status(key):
    """A line of /proc/self/status in bytes."""
    return 1024 * int(re.search(rf"{key}:\s+(\d+)", open("/proc/self/status").read()).group(1))


def reset_peak():
    """Where that is not allowed, the peak is that of the whole life; bench_step does the same."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def trim():
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


class Step:
    def __init__(self, task, config, batch, size, variant):
        torch.manual_seed(0)
        layout, _, self.adamw = variant.partition("+")
        layout = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        self.net = diffusers.UNet2DModel(**config).to(memory_format=layout).train(task == "train")
        shape = (batch, config["in_channels"], size, size)
        self.x = torch.randn(shape).contiguous(memory_format=layout)
        self.eps = torch.randn(shape).contiguous(memory_format=layout)
        self.t = torch.randint(0, 1000, (batch,))
        classes = config.get("num_class_embeds")
        self.labels = torch.randint(0, classes, (batch,)) if classes else None
        self.run = self.train if task == "train" else self.forward
        self.trains = task == "train"

    def prepare(self):
        """What training holds beside the network."""
        if not self.trains:
            return
        self.parameters = list(self.net.parameters())
        self.ema = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4, weight_decay=0.0, **{self.adamw: True})

    def forward(self):
        with torch.inference_mode():
            self.net(self.x, self.t, class_labels=self.labels).sample

    def train(self):
        output = self.net(self.x, self.t, class_labels=self.labels).sample
        torch.nn.functional.mse_loss(output, self.eps).backward()
        del output
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, self.parameters, 1e-4)


def seconds_a_step(step, n):
    start = time.perf_counter()
    for _ in range(n):
        step.run()
    return (time.perf_counter() - start) / n


def calibrate(*what):
    """The best of three turns each."""
    steps = {variant: Step(*what, variant) for variant in VARIANTS[what[0]]}
    for step in steps.values():
        step.prepare()
        step.run()
    turns = [{variant: seconds_a_step(step, 1) for variant, step in steps.items()} for _ in range(3)]
    return {variant: min(turn[variant] for turn in turns) for variant in steps}


def say(**fields):
    print(json.dumps(fields), flush=True)


def main():
    task, path, batch, size, threads, variant = sys.argv[1:]
    config = json.load(open(path))
    torch.set_num_threads(int(threads))
    what = (task, config, int(batch), int(size))
    if variant == "calibrate":
        return say(**calibrate(*what))

    # The code of a step is in memory before the baseline is read.
    small = Step(task, config | {"block_out_channels": [32] * len(config["block_out_channels"])}, 1, int(size), variant)
    small.prepare()
    small.run()
    del small
    step = Step(*what, variant)
    trim()
    built = status("VmRSS")
    step.prepare()
    step.run()
    step.run()
    say(parameters=sum(p.numel() for p in step.net.parameters()), built=built,
        version=f"torch {torch.__version__}, diffusers {diffusers.__version__}")
    for line in sys.stdin:
        reset_peak()
        cpu = time.process_time()
        seconds = seconds_a_step(step, int(line.split()[1]))
        cpu = (time.process_time() - cpu) / int(line.split()[1])
        say(seconds=seconds, cpu=cpu, rss=status("VmRSS"), peak=status("VmHWM"))


main()
