"""Times our C++ beside its peers in Python, turn by turn in one run. bench/unet_forward, train_step and report use it."""
import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# name: config with a "model" section, height and width
NETS = {"ddpm-cifar10": ("bench/nets/ddpm-cifar10.json", 32), "fashion": ("configs/fashion.json", 28)}
CASES = {"forward": [("ddpm-cifar10", 16), ("ddpm-cifar10", 1), ("fashion", 64)],
         "train": [("ddpm-cifar10", 16), ("fashion", 64)]}
# How all sides are held to an instruction set.
ISAS = {"native": {}, "avx2": {"TWEEDIE_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}}
TURN_SECONDS = 3.0
# Before a turn: an OpenMP team spins for some milliseconds after its last work, MKL's for 200, and must not do so on the cores of
# who computes next. Within its turn every side waits as it does by default.
PAUSE_SECONDS = 0.3


class Failed(Exception):
    """A side cannot run; the table gives the reason."""


class Worker:
    """A process that builds a network, says that it is ready, and answers line by line."""

    def __init__(self, command, isa, threads):
        if not shutil.which(command[0]):
            sys.exit(f"{command[0]} is missing: tools/build release bench_step")
        team = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=os.environ | {"PYTHONWARNINGS": "ignore"} | ISAS[isa] | team)
        self.steps = None
        self.ready = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"ended without an answer, exit {self.process.wait()}"}
        if "error" in answer:
            self.close()
            raise Failed(answer["error"])
        return answer

    def ask(self, *words):
        with contextlib.suppress(BrokenPipeError):  # the answer says that it ended
            print(*words, file=self.process.stdin, flush=True)
        return self.answer()

    def turn(self):
        if not self.steps:
            self.steps = max(1, round(TURN_SECONDS / self.ask("go", 1)["seconds"]))
        time.sleep(PAUSE_SECONDS)
        return self.ask("go", self.steps)

    def close(self):
        self.process.communicate()


def peer_command():
    """The Python that has torch and diffusers, and the script."""
    for python in (os.environ.get("TWEEDIE_PYTHON"), ROOT / ".deps/peers/bin/python", ROOT / ".deps/venv/bin/python", "python3"):
        if python and shutil.which(python):
            probe = subprocess.run([python, "-c", "import torch, diffusers"], capture_output=True)
            if probe.returncode == 0:
                return [python, ROOT / "bench/peer.py"]
    sys.exit("no Python with torch and diffusers: tools/setup --bench, or name one in TWEEDIE_PYTHON")


def peers_of(task, wanted):
    """The names of the peers that have the task: all, or those of "NAME,..."."""
    known = json.loads(subprocess.run([*peer_command(), "list"], capture_output=True, text=True, check=True).stdout)
    names = wanted.split(",") if wanted else list(known)
    for name in names:
        if name not in known:
            sys.exit(f"no peer '{name}'; known: {', '.join(known)}")
    return [name for name in names if task in known[name]]


def progress(text=""):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def start_peer(name, what, isa, threads):
    """The peer in its fastest variant."""
    command = [*peer_command(), name, *what]
    calibration = Worker([*command, "calibrate"], isa, threads)
    calibration.close()
    tried = calibration.ready
    peer = Worker([*command, min(tried, key=tried.get)], isa, threads)
    peer.ready["calibration"] = tried
    return peer


def side(worker, turns):
    """A side's own figures. Memory: the peak of its turns above what the network itself takes."""
    return {"seconds": statistics.median(turn["seconds"] for turn in turns),
            "memory": max(turn["peak"] for turn in turns) - worker.ready["built"]}


def against(peer, turns):
    """A peer's figures, and those of the neighbours in each pair of turns."""
    return peer.ready | side(peer, [turn["peer"] for turn in turns]) | {
        "ratio": spread([turn["peer"]["seconds"] / turn["ours"]["seconds"] for turn in turns]),
        "cpu_ratio": spread([turn["peer"]["cpu"] / turn["ours"]["cpu"] for turn in turns]), "turns": turns}


def bound(ours, peer, seconds, rounds):
    """The time of the peer's network if its 3x3 convolutions took as long as ours; each shape is timed alone, in turns."""
    convs = []
    for *shape, count in peer.ask("convs")["convs"]:
        turns = [[worker.ask("conv", *shape)["seconds"] for worker in (ours, peer)] for _ in range(rounds)]
        mine, theirs = map(statistics.median, zip(*turns))
        convs.append({"shape": shape, "count": count, "ours": mine, "peer": theirs})
    mine, theirs = (sum(conv["count"] * conv[who] for conv in convs) for who in ("ours", "peer"))
    return {"seconds": seconds - theirs + mine, "convs_ours": mine, "convs_peer": theirs, "convs": convs}


def duel(task, net, batch, names, isa, options):
    """Ours, a peer, ours, the next peer, ...; a peer that fails has an "error" in place of figures."""
    config, size = NETS[net]
    title = f"{task} {net}, batch {batch}"
    peers, failed = {}, {}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(json.load(open(ROOT / config))["model"], file)
        file.flush()
        what = [task, file.name, batch, size, options.threads]
        ours = Worker([Path(options.build) / "bin/bench_step", *what], isa, options.threads)
        for name in names:
            progress(f"{title}: preparing {name}")
            try:
                peers[name] = start_peer(name, what, isa, options.threads)
            except Failed as reason:
                failed[name] = {"error": str(reason)}
                continue
            if peers[name].ready["parameters"] != ours.ready["parameters"]:
                sys.exit(f"{title}: {ours.ready['parameters']} parameters here, {peers[name].ready['parameters']} in {name}")

    turns = {name: [] for name in peers}
    for i in range(options.rounds):
        progress(f"{title}: round {i + 1}/{options.rounds}")
        for name in [name for name in peers if name not in failed]:
            mine = ours.turn()
            try:
                turns[name].append({"ours": mine, "peer": peers[name].turn(), "load": os.getloadavg()[0]})
            except Failed as reason:
                failed[name] = {"error": str(reason)}
    results = {name: failed.get(name) or against(peers[name], turns[name]) for name in names}
    all_ours = [turn["ours"] for pairs in turns.values() for turn in pairs] or [ours.turn()]
    result = {"task": task, "net": net, "batch": batch, "isa": isa, "threads": options.threads,
              "parameters": ours.ready["parameters"], "ours": side(ours, all_ours), "peers": results}
    if "seconds" in results.get("eager", {}):
        progress(f"{title}: the convolutions alone")
        result["bound"] = bound(ours, peers["eager"], results["eager"]["seconds"], min(3, options.rounds))
    for worker in [ours, *peers.values()]:
        worker.close()
    progress()
    return result


def table(header, rows):
    """Lines of a Markdown table that reads well as text too."""
    rows = [header, ["---"] * len(header), *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    return ["| " + " | ".join(cell.ljust(width, "-" if cell == "---" else " ") for cell, width in zip(row, widths)) + " |"
            for row in rows]


def report(result):
    """A duel as Markdown."""
    ours, peers, limit = result["ours"], result["peers"], result.get("bound")
    rows = [["tweedie", f"{1e3 * ours['seconds']:.1f}", "", "", f"{ours['memory'] / 1e6:.0f}", ""]]
    notes = []
    for name, peer in peers.items():
        if "error" in peer:
            rows.append([name, "failed", "", "", "", ""])
            notes += [f"{name}: `{peer['error']}`", ""]
        else:
            rows.append([name, f"{1e3 * peer['seconds']:.1f}", "{median:.3f} ({min:.3f} .. {max:.3f})".format(**peer["ratio"]),
                         f"{peer['cpu_ratio']['median']:.3f}", f"{peer['memory'] / 1e6:.0f}", peer["runs_as"]])
    lines = [f"**{result['net']}**, batch {result['batch']}, {result['parameters'] / 1e6:.1f} M parameters", "",
             *table(["", "ms", "ratio", "cpu ratio", "MB", "runs as"], rows), "", *notes]
    if limit:
        lines += [f"Bound: {1e3 * limit['seconds']:.1f} ms = eager {1e3 * peers['eager']['seconds']:.1f} - its 3x3 convolutions "
                  f"{1e3 * limit['convs_peer']:.1f} + ours {1e3 * limit['convs_ours']:.1f}; "
                  f"tweedie is at {100 * limit['seconds'] / ours['seconds']:.0f} % of that speed.", ""]
    return lines


def load_of(results):
    """How loaded the machine was, in a line."""
    loads = [turn["load"] for result in results for peer in result["peers"].values() for turn in peer.get("turns", [])]
    loads = loads or [os.getloadavg()[0]]
    return (f"Load of the machine: {min(loads):.1f} .. {max(loads):.1f} on {os.cpu_count()} cores"
            + ("; others computed too, so trust the cpu ratio." if max(loads) > results[0]["threads"] + 0.7 else "."))


def run(task, isa, options, nets=None, batch=None):
    """The task's cases, or those of `nets` alone, or with `batch` in place of theirs; prints each as it is done."""
    names = peers_of(task, options.peers)
    print(f"{task}, {options.threads} threads, {isa} instruction set; ratio = peer's time / ours: median (min .. max)\n")
    cases = dict.fromkeys((net, batch or usual) for net, usual in CASES[task] if not nets or net in nets)
    results = []
    for case in cases:
        try:
            results.append(duel(task, *case, names, isa, options))
        except Failed as reason:
            sys.exit(f"{task} {case}: {reason}")
        print("\n".join(report(results[-1])), flush=True)
    print(load_of(results) + "\n")
    return results


def parser_for(about):
    """What all benches ask."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--peers", metavar="NAME,...", help="only these (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each peer (7)")
    parser.add_argument("--threads", type=int, default=2, help="of each side (2)")
    parser.set_defaults(build=ROOT / "build/release")
    parser.add_argument("--json", metavar="FILE", help="write every figure there")
    return parser


def parse(parser):
    options = parser.parse_args()
    if options.rounds < 1 or options.threads < 1:
        parser.error("--rounds and --threads are 1 or more")
    return options


def main(task, about):
    parser = parser_for(about)
    parser.add_argument("--net", choices=list(NETS), action="append", help="only this one (default: all)")
    parser.add_argument("--batch", type=int, help="this one (default: each network's own)")
    parser.add_argument("--isa", choices=list(ISAS), default="native", help="instruction set of all sides (native)")
    parser.add_argument("--build", help="build folder (build/release)")
    options = parse(parser)
    results = run(task, options.isa, options, options.net, options.batch)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1))
