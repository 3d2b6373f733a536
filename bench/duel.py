"""Times our C++ against PyTorch eager in Python, turn by turn in one run. bench/unet_forward and bench/train_step use it."""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# name: config with a "model" section, batch, height and width
NETS = {"ddpm-cifar10": ("bench/nets/ddpm-cifar10.json", 16, 32), "fashion": ("configs/fashion.json", 64, 28)}
# Who waits must not spin on the cores of who computes.
QUIET = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
ROUND_SECONDS = 3.0


class Worker:
    """A process that builds a network, says that it is ready, and runs steps when told to."""

    def __init__(self, command, threads):
        env = os.environ | QUIET | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=env)
        self.ready = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} ended without an answer (exit {self.process.wait()})")
        return json.loads(line)

    def go(self, steps):
        self.process.stdin.write(f"go {steps}\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def peer_python():
    """The Python that has torch and diffusers."""
    for python in (os.environ.get("TWEEDIE_PYTHON"), ROOT / ".deps/venv/bin/python", "python3"):
        if python and shutil.which(python):
            probe = subprocess.run([python, "-c", "import torch, diffusers"], capture_output=True)
            if probe.returncode == 0:
                return python
    sys.exit("no Python with torch and diffusers: tools/setup --peers, or name one in TWEEDIE_PYTHON")


def our_program(build):
    program = Path(build) / "bin/bench_step"
    if not program.exists():
        sys.exit(f"{program} is missing: cmake --preset release && cmake --build --preset release -t bench_step")
    return program


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def duel(task, net, options):
    config, batch, size = NETS[net]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(json.load(open(ROOT / config))["model"], file)
        file.flush()
        what = [task, file.name, batch, size, options.threads]
        peer = [peer_python(), ROOT / "bench/peer.py", *what]
        calibration = Worker(peer + ["calibrate"], options.threads)
        calibration.close()
        variant = min(calibration.ready, key=calibration.ready.get)

        ours = Worker([our_program(options.build), *what], options.threads)
        theirs = Worker(peer + [variant], options.threads)
    if ours.ready["parameters"] != theirs.ready["parameters"]:
        sys.exit(f"{net}: {ours.ready['parameters']} parameters here, {theirs.ready['parameters']} there")

    steps = max(1, round(ROUND_SECONDS / calibration.ready[variant]))
    rounds = []
    for i in range(options.rounds):
        rounds.append({"ours": ours.go(steps), "peer": theirs.go(steps), "load": os.getloadavg()[0]})
        if sys.stderr.isatty():
            print(f"\r{task} {net}: round {i + 1}/{options.rounds} ", end="", file=sys.stderr, flush=True)
    ours.close()
    theirs.close()
    if sys.stderr.isatty():
        print(end="\r\033[K", file=sys.stderr)

    def memory(side, worker):
        return max(r[side]["peak"] for r in rounds) - worker.ready["built"]

    def median(side, what):
        return statistics.median(r[side][what] for r in rounds)

    return {
        "net": net, "parameters": ours.ready["parameters"], "batch": batch, "steps_a_round": steps,
        "peer": theirs.ready["version"], "peer_variant": variant, "calibration": calibration.ready,
        "ours_seconds": median("ours", "seconds"), "peer_seconds": median("peer", "seconds"),
        "ratio": spread([r["peer"]["seconds"] / r["ours"]["seconds"] for r in rounds]),
        "cpu_ratio": spread([r["peer"]["cpu"] / r["ours"]["cpu"] for r in rounds]),
        "ours_memory": memory("ours", ours), "peer_memory": memory("peer", theirs), "rounds": rounds,
    }


def table(task, results, threads):
    print(f"{task}, float32, {threads} threads; ratio = peer's time / ours, round by round: median (min .. max)")
    print(f"peer: {results[0]['peer']}, eager\n")
    row = "{:13} {:>5} {:>9} {:>9}   {:22} {:10} {:>9} {:>9}   {}"
    print(row.format("net", "batch", "ours ms", "peer ms", "ratio", "cpu ratio", "ours MB", "peer MB", "peer runs"))
    for r in results:
        ratio = "{median:.3f} ({min:.3f} .. {max:.3f})".format(**r["ratio"])
        print(row.format(r["net"], r["batch"], f"{1e3 * r['ours_seconds']:.1f}", f"{1e3 * r['peer_seconds']:.1f}", ratio,
                         f"{r['cpu_ratio']['median']:.3f}", f"{r['ours_memory'] / 1e6:.0f}",
                         f"{r['peer_memory'] / 1e6:.0f}", r["peer_variant"]))
    loads = [round_["load"] for r in results for round_ in r["rounds"]]
    print(f"\nload of the machine: {min(loads):.1f} .. {max(loads):.1f} on {os.cpu_count()} cores"
          + ("; others computed too, so trust the cpu ratio" if max(loads) > threads + 0.7 else ""))


def main(task, about):
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--net", choices=list(NETS), action="append", help="only this one (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side (7)")
    parser.add_argument("--threads", type=int, default=2, help="of each side (2)")
    parser.add_argument("--build", default=ROOT / "build/release", help="build folder with bin/bench_step (build/release)")
    parser.add_argument("--json", metavar="FILE", help="write every figure there")
    options = parser.parse_args()
    if options.rounds < 1 or options.threads < 1:
        parser.error("--rounds and --threads are 1 or more")
    results = [duel(task, net, options) for net in options.net or NETS]
    table(task, results, options.threads)
    if options.json:
        Path(options.json).write_text(json.dumps({"task": task, "threads": options.threads, "nets": results}, indent=1))
