"""Every test that docs/errata.md names exists, and every test of the suite Errata is named there."""
import re
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
PAGE = SOURCE / "docs" / "errata.md"
LINK = re.compile(r"\[(\w+)\.(\w+)\]\(([^)]+_test\.cpp)\)")
TEST = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", re.MULTILINE)


def tests_in(path):
    return set(TEST.findall(path.read_text(encoding="utf-8"))) if path.is_file() else set()


def missing(page, folder):
    """The links of a page in `folder` whose test is not in the file they lead to."""
    return [f"{suite}.{name} is not in {path}" for suite, name, path in LINK.findall(page)
            if (suite, name) not in tests_in(folder / path)]


class Errata(unittest.TestCase):
    def setUp(self):
        self.page = PAGE.read_text(encoding="utf-8")

    def test_what_the_page_names_exists(self):
        self.assertGreater(len(LINK.findall(self.page)), 20)
        self.assertEqual(missing(self.page, PAGE.parent), [])

    def test_a_test_that_does_not_exist_is_found(self):
        self.assertEqual(len(missing("[Errata.NoSuchTest](../tests/process/errata_test.cpp)", PAGE.parent)), 1)
        self.assertEqual(len(missing("[Errata.X](../tests/process/no_such_test.cpp)", PAGE.parent)), 1)

    def test_every_proof_is_on_the_page(self):
        named = {name for suite, name, _ in LINK.findall(self.page) if suite == "Errata"}
        proofs = {name for path in (SOURCE / "tests").rglob("*_test.cpp") for suite, name in tests_in(path)
                  if suite == "Errata"}
        self.assertEqual(proofs - named, set())

    def test_every_erratum_has_its_right_form_and_a_proof(self):
        for entry in self.page.split("\n### ")[1:]:
            with self.subTest(entry.splitlines()[0]):
                self.assertIn("- Often seen: ", entry)
                self.assertIn("- Right: ", entry)
                self.assertTrue(LINK.search(entry))


if __name__ == "__main__":
    unittest.main()
