"""What a bench of an hour has measured so far."""
import json
import subprocess
import sys
from pathlib import Path


def commit():
    return subprocess.run(["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()


class Kept:
    """What has been measured, in a file, so that a run that was stopped can go on."""

    def __init__(self, path, asked, resume):
        self.path = path
        self.done = json.loads(path.read_text()) if resume and path.exists() else {}
        if resume and self.done.get("asked") != asked:
            sys.exit(f"--resume: {path} holds no run of {asked}, but of {self.done.get('asked', 'nothing')}")
        self.done["asked"] = asked

    def get(self, name, measure):
        if name not in self.done:
            self.done[name] = measure()
            self.path.write_text(json.dumps(self.done))
        return self.done[name]
