"""tools/formulas reads what the comments cite, and docs/formulas.md is what it reads in this tree."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
FORMULAS = SOURCE / "tools" / "formulas"

PAPERS = '''{"DDPM": ["Denoising", 2020, "2006.11239"], "DPM++": ["Faster", 2022, "2211.01095"],
             "DPM": ["Fast", 2022, "2206.00927"], "Smith 2011": "TW", "TW": ["Selection", 2011, "https://doi.org/1"]}'''
TREE = {
    "docs/papers.json": PAPERS,
    "tweedie/process/mean.h": "// The mean of a step.\n#pragma once\n/// The mean, DDPM Eq. 6-7.\n"
                              "struct Mean {\n  double c0;  ///< DDPM Eq. 7\n};\n",
    "tweedie/samplers/two.cpp": "// Two steps in one, DPM++ Alg. 2.\n#include <x>\n\nint two(int x) {\n"
                                "  const int y =\n      x || 1;  // DPM Eq. 3.2\n  if (y > 0)\n"
                                "    return y;  // line 7\n}\n",
    "tweedie/samplers/samplers.inc": 'SAMPLER(two, "twice (DPM++ Alg. 2)")\n',
    "tests/process/mean_test.cpp": "// DDPM Eq. 7\nTEST(Mean, IsBayes) {\n}\n\nTEST(Mean, Other) {\n  one();  // DDPM Eq. 6\n}\n",
}
COVERED = {"tests/samplers/two_test.cpp": "// DPM++ Alg. 2 and\n// of DPM Eq. 3.2\nTEST_P(Two, Steps) {\n}\n"}


def run(root, *flags):
    return subprocess.run([sys.executable, FORMULAS, *flags, root], capture_output=True, text=True)


class Formulas(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)
        self.write(TREE)

    def write(self, files):
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def page(self, files=()):
        self.write(dict(files))
        result = run(self.root)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return (self.root / "docs" / "formulas.md").read_text()

    def error(self, files):
        self.write(files)
        result = run(self.root, "--check")
        self.assertEqual(result.returncode, 1)
        return result.stderr

    def test_this_tree_is_up_to_date(self):
        result = run(SOURCE, "--check")
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_a_statement_its_line_and_the_test_that_names_it(self):
        self.assertIn("## DDPM: [Denoising](https://arxiv.org/abs/2006.11239), 2020", self.page())
        self.assertIn("| Eq. 7 | `double c0;` | [process/mean.h:5](../tweedie/process/mean.h#L5) | "
                      "[Mean.IsBayes](../tests/process/mean_test.cpp) |", self.page())

    def test_a_comment_above_is_of_the_declaration_and_a_comment_inside_of_the_test(self):
        self.assertIn("| Eq. 6 | `struct Mean` | [process/mean.h:3](../tweedie/process/mean.h#L3) | "
                      "[Mean.Other](../tests/process/mean_test.cpp) |", self.page())

    def test_a_broken_statement_is_one_and_its_bars_are_escaped(self):
        self.assertIn("| Eq. 3.2 | `const int y = x \\|\\| 1;` |", self.page())

    def test_a_line_alone_is_of_the_algorithm_above_and_lists_count(self):
        self.assertIn("| Alg. 2 | `SAMPLER(two)`<br>`if (y > 0) return y;` | "
                      "[samplers/samplers.inc:1](../tweedie/samplers/samplers.inc#L1)<br>"
                      "[samplers/two.cpp:8](../tweedie/samplers/two.cpp#L8), line 7 | none |", self.page())

    def test_what_no_test_names_is_a_fault(self):
        self.page()
        self.assertEqual(self.error({}), "formulas: no test names DPM Eq. 3.2, DPM++ Alg. 2\n")
        self.page(COVERED)
        self.assertEqual(run(self.root, "--check").returncode, 0)

    def test_an_erratum_proves_the_equation_and_not_the_code(self):
        page = self.page({"tests/x_test.cpp": "// DPM Eq. 3.2\nTEST(Errata, X) {\n}\n"})
        self.assertIn("[Errata.X](../tests/x_test.cpp) |", page)
        self.assertIn("DPM Eq. 3.2", self.error({}))

    def test_a_script_covers_what_it_cites(self):
        page = self.page({"tests/parity/two_live.py": "run()  # DPM++ Alg. 2\n"})
        self.assertIn("[parity.two_live](../tests/parity/two_live.py)", page)

    def test_what_tests_alone_cite_is_apart(self):
        page = self.page({"tests/x_test.cpp": "// Smith 2011, Sec. 2, 3 and Table 1\nTEST(X, Y) {\n}\n"})
        alone = page[page.index("## In tests alone"):]
        for place in ("TW Sec. 2", "TW Sec. 3", "TW Table 1"):
            self.assertIn(f"| {place} | [X.Y](../tests/x_test.cpp) |", alone)

    def test_text_in_quotes_is_no_comment(self):
        self.assertEqual(self.page(), self.page({"tweedie/x.cpp": 'auto s = "http://DDPM Eq. 9";\n'}))

    def test_check_finds_a_stale_page(self):
        self.page(COVERED)
        self.assertEqual(run(self.root, "--check").returncode, 0)
        stale = "formulas: docs/formulas.md is stale: run tools/formulas\n"
        self.assertEqual(self.error({"tweedie/core/new.cpp": "f();  // DDPM Eq. 12\n"}), stale)

    def test_a_paper_that_is_not_in_the_table_is_named_with_its_line(self):
        self.assertEqual(self.error({"tweedie/core/new.cpp": "\nf();  // DDQM Eq. 12\n"}),
                         "tweedie/core/new.cpp:2: no paper 'DDQM' in docs/papers.json for 'Eq. 12'\n")
        self.assertEqual(self.error({"tweedie/core/new.cpp": "f();  // Eq. 12\n"}),
                         "tweedie/core/new.cpp:1: no paper '' in docs/papers.json for 'Eq. 12'\n")


if __name__ == "__main__":
    unittest.main()
