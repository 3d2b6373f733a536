"""tools/check_rooms finds what it is there to find, and finds nothing in this tree."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
CHECK = SOURCE / "tools" / "check_rooms"


def run(root):
    return subprocess.run([sys.executable, CHECK, root], capture_output=True, text=True)


class CheckRooms(unittest.TestCase):
    def violations_of(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            result = run(folder)
        self.assertEqual(result.returncode, 1 if result.stderr else 0)
        return result.stderr.splitlines()

    def test_this_tree_is_clean(self):
        result = run(SOURCE)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_downward_includes_are_fine(self):
        self.assertEqual(self.violations_of({
            "tweedie/samplers/ddim.cpp": '#include "tweedie/process/denoiser.h"\n#include <vector>\n',
            "tweedie/nn/unet.h": "#include <torch/nn/module.h>\n"}), [])

    def test_a_sampler_that_knows_a_network_is_found(self):
        lines = self.violations_of({"tweedie/samplers/ddim.cpp": '#  include "tweedie/nn/unet.h"\n'})
        self.assertEqual(len(lines), 1)
        self.assertIn("tweedie/samplers/ddim.cpp: includes tweedie/nn/unet.h", lines[0])

    def test_losses_and_samplers_never_include_each_other(self):
        self.assertEqual(len(self.violations_of({
            "tweedie/losses/simple.h": '#include "tweedie/samplers/sampler.h"\n',
            "tweedie/samplers/samplers.inc": '#include "tweedie/losses/simple.h"\n'})), 2)

    def test_a_link_dependency_beyond_the_table_is_found(self):
        lines = self.violations_of({
            "tweedie/CMakeLists.txt": "tweedie_room(io DEPS core data LINK ZLIB::ZLIB)\ntweedie_room(core)\n"})
        self.assertEqual(lines, ["tweedie/CMakeLists.txt: io DEPS data: not in the table"])

    def test_networks_stay_in_their_rooms(self):
        self.assertEqual(len(self.violations_of({
            "tweedie/process/process.h": "#include <torch/nn/module.h>\n",
            "tweedie/core/rng.h": "#include <torch/torch.h>\n"})), 2)

    def test_a_room_without_a_row_is_found(self):
        self.assertEqual(len(self.violations_of({"tweedie/attic/old.h": '#include "tweedie/core/rng.h"\n'})), 1)


if __name__ == "__main__":
    unittest.main()
