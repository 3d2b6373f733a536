"""The peers of the duels: diffusers' UNet2DModel as PyTorch and OpenVINO run it. duel.py starts this file and talks to it.

usage: peer.py list      prints {peer: its tasks}
       peer.py PEER forward|train CONFIG BATCH SIZE THREADS VARIANT

VARIANT is one of the peer's own, such as memory format and AdamW's kind; "calibrate" times them all and prints
{variant: seconds a step}. Otherwise a line says that the network is ready, then each line of the input is answered:

    go N                  the figures of N steps, as bench_step gives them
    convs                 the 3x3 convolutions of stride 1 in a pass: [batch, in, out, side, how many] each
    conv BATCH IN OUT SIDE  seconds of one such convolution alone; training: with its three gradients

To add a peer: a class here and a line in PEERS.
"""
import collections
import contextlib
import ctypes
import gc
import json
import re
import sys
import time
import traceback

import diffusers
import torch

LAYOUTS = ["contiguous", "channels_last"]


class Eager:
    """PyTorch eager, float32"""
    variants = {"forward": LAYOUTS, "train": [f"{layout}+{adamw}" for layout in LAYOUTS for adamw in ("foreach", "fused")]}
    version = f"torch {torch.__version__}, diffusers {diffusers.__version__}"
    bf16 = False

    def __init__(self, task, config, batch, size, variant):
        torch.manual_seed(0)
        self.runs_as = variant
        self.trains = task == "train"
        layout, _, self.adamw = variant.partition("+")
        self.layout = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        self.net = diffusers.UNet2DModel(**config).to(memory_format=self.layout).train(self.trains)
        self.parameter_count = self.net.num_parameters()
        shape = (batch, config["in_channels"], size, size)
        self.x = torch.randn(shape).contiguous(memory_format=self.layout)
        self.eps = torch.randn(shape).contiguous(memory_format=self.layout)
        self.inputs = {"sample": self.x, "timestep": torch.randint(0, 1000, (batch,))}
        if config.get("num_class_embeds"):
            self.inputs["class_labels"] = torch.randint(0, config["num_class_embeds"], (batch,))

    def prepare(self):
        """What a step needs beside the network and its input; it counts as the step's memory."""
        if self.trains:
            self.parameters = list(self.net.parameters())
            self.ema = [p.detach().clone() for p in self.parameters]
            self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4, weight_decay=0.0, **{self.adamw: True})

    def predict(self):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            return self.net(**self.inputs).sample

    def step(self):
        if not self.trains:
            with torch.inference_mode():
                self.predict()
            return
        torch.nn.functional.mse_loss(self.predict().float(), self.eps).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, self.parameters, 1e-4)

    def convs(self):
        found = collections.Counter()

        def note(layer, inputs):
            batch, channels, side, _ = inputs[0].shape
            found[batch, channels, layer.out_channels, side] += 1

        hooks = [layer.register_forward_pre_hook(note) for layer in self.net.modules() if isinstance(layer, torch.nn.Conv2d)
                 and (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))]
        with torch.no_grad():
            self.predict()
        for hook in hooks:
            hook.remove()
        return [[*shape, count] for shape, count in found.items()]

    def conv(self, batch, channels, out, side):
        x = torch.randn(batch, channels, side, side).contiguous(memory_format=self.layout).requires_grad_(self.trains)
        dy = torch.randn(batch, out, side, side).contiguous(memory_format=self.layout)
        layer = torch.nn.Conv2d(channels, out, 3, padding=1).to(memory_format=self.layout)

        def work():
            with torch.inference_mode(not self.trains):
                y = layer(x)
            if self.trains:
                torch.autograd.grad(y, [x, *layer.parameters()], dy)

        work()
        return seconds_of(work, max(1, round(0.1 / seconds_of(work, 1))))


class Bf16(Eager):
    """PyTorch eager, bfloat16 by autocast"""
    bf16 = True


class Compile(Eager):
    """PyTorch compiled (torch.compile), float32; forward with frozen weights"""
    variants = {"forward": LAYOUTS, "train": [f"{layout}+fused" for layout in LAYOUTS]}

    def prepare(self):
        super().prepare()
        import torch._inductor.config
        torch._inductor.config.freezing = not self.trains
        self.net = torch.compile(self.net, dynamic=False)


class OpenVino(Eager):
    """OpenVINO, the precision it chooses itself"""
    variants = {"forward": ["static"]}
    hints = {}

    def __init__(self, *what):
        super().__init__(*what)
        import openvino
        self.version = f"openvino {openvino.__version__.partition('-')[0]}"
        shapes = [(name, list(value.shape)) for name, value in self.inputs.items()]
        self.net = openvino.convert_model(self.net, example_input=self.inputs, input=shapes)

    def prepare(self):
        import openvino
        hints = self.hints | {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = openvino.Core().compile_model(self.net, "CPU", hints)
        self.runs_as = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.net = compiled.create_infer_request()
        self.inputs = [value.numpy() for value in self.inputs.values()]

    def step(self):
        self.net.infer(self.inputs, share_inputs=True)


class OpenVinoF32(OpenVino):
    """OpenVINO, float32"""
    hints = {"INFERENCE_PRECISION_HINT": "f32"}


PEERS = {"eager": Eager, "bf16": Bf16, "compile": Compile, "openvino-f32": OpenVinoF32, "openvino": OpenVino}


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


def seconds_of(work, n):
    start = time.perf_counter()
    for _ in range(n):
        work()
    return (time.perf_counter() - start) / n


def calibrate(peer, *what):
    """The best of three turns each; nothing is timed where there is no choice."""
    variants = peer.variants[what[0]]
    if len(variants) == 1:
        return {variants[0]: None}
    peers = {variant: peer(*what, variant) for variant in variants}
    for each in peers.values():
        each.prepare()
        each.step()
    turns = [{variant: seconds_of(each.step, 1) for variant, each in peers.items()} for _ in range(3)]
    return {variant: min(turn[variant] for turn in turns) for variant in variants}


def figures(peer, steps):
    reset_peak()
    cpu = time.process_time()
    seconds = seconds_of(peer.step, steps)
    return {"seconds": seconds, "cpu": (time.process_time() - cpu) / steps, "peak": status("VmHWM")}


def say(**fields):
    print(json.dumps(fields), flush=True)


def serve(kind, task, config, batch, size, variant):
    # The code of a step is in memory before the baseline is read.
    small = kind(task, config | {"block_out_channels": [32] * len(config["block_out_channels"])}, 1, size, variant)
    small.prepare()
    small.step()
    del small
    peer = kind(task, config, batch, size, variant)
    trim()
    built = status("VmRSS")
    peer.prepare()
    peer.step()
    trim()
    peer.step()
    say(parameters=peer.parameter_count, built=built, about=peer.__doc__, version=peer.version, runs_as=peer.runs_as)
    for line in sys.stdin:
        word, *numbers = line.split()
        numbers = [int(number) for number in numbers]
        if word == "go":
            say(**figures(peer, *numbers))
        elif word == "convs":
            say(convs=peer.convs())
        elif word == "conv":
            say(seconds=peer.conv(*numbers))


def main():
    if sys.argv[1:] == ["list"]:
        return say(**{name: list(peer.variants) for name, peer in PEERS.items()})
    name, task, path, batch, size, threads, variant = sys.argv[1:]
    torch.set_num_threads(int(threads))
    what = (task, json.load(open(path)), int(batch), int(size))
    try:
        if variant == "calibrate":
            say(**calibrate(PEERS[name], *what))
        else:
            serve(PEERS[name], *what, variant)
    except Exception as error:
        traceback.print_exc()
        say(error=" ".join(f"{type(error).__name__}: {error}".split())[:300])


main()
