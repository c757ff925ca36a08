"""tools/tidy.py finds what it says it finds, and nothing in clean code.   python3 -m unittest discover -s tests/repo"""
import pathlib, subprocess, sys, tempfile, unittest

TIDY = pathlib.Path(__file__).parents[2] / "tools" / "tidy.py"
HEADER = "// What it is.\n#pragma once\n"


def offences(**files):
    """The lines that tidy prints for a tree of these files; a name's '__' is a '/', its last '_' the dot."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            head, _, ending = name.replace("__", "/").rpartition("_")
            file = pathlib.Path(folder, f"{head}.{ending}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        out = subprocess.run([sys.executable, TIDY, folder], capture_output=True, text=True)
        lines = out.stdout.splitlines()
        assert out.returncode == (0 if lines[0].startswith("tidy:") else 1), out
        return [] if out.returncode == 0 else lines


class Tidy(unittest.TestCase):
    def only(self, what, **files):
        found = offences(**files)
        self.assertEqual(len(found), 1, found)
        self.assertIn(what, found[0])

    def test_clean(self):
        self.assertEqual(offences(src__serve__a_h=HEADER + "int f();\n", src__serve__a_cpp='// new steady_clock, printf(\nauto s = "malloc(1)";\n'), [])

    def test_clock_only_in_os(self):
        line = "auto t = std::chrono::steady_clock::now();\n"
        self.only("only os/ reads a clock", src__serve__a_cpp=line)
        self.assertEqual(offences(src__os__a_cpp=line, src__serve__a_test_cpp=line), [])

    def test_threads_only_in_os(self):
        self.only("os::Pool", src__store__a_cpp="std::jthread t;\n")

    def test_printing_only_in_app(self):
        self.only("only app/ prints", src__serve__a_cpp='std::printf("x");\n')
        self.only("only app/ prints", src__serve__a_cpp="std::cout << 1;\n")
        self.assertEqual(offences(src__app__a_cpp='std::printf("x");\n', src__serve__b_cpp='std::snprintf(b, 1, "x");\n'), [])

    def test_allocation(self):
        self.only("make_unique", src__serve__a_cpp="auto* p = new Thing;\n")
        self.only("make_unique", src__serve__a_cpp="auto* p = malloc(1);\n")
        self.only("unique_ptr", src__serve__a_cpp="delete p;\n")
        self.assertEqual(offences(src__serve__a_cpp="T(const T&) = delete;\nauto p = std::unique_ptr<T>(new T(1));\n"), [])

    def test_json_of_domain(self):
        self.only("domain/json.h", src__serve__a_cpp="#include <nlohmann/json.hpp>\n")
        self.assertEqual(offences(src__domain__json_h=HEADER + "#include <nlohmann/json.hpp>\n", src__a__b_h=HEADER + "#include <nlohmann/json_fwd.hpp>\n"), [])

    def test_assert(self):
        self.only("ASSERT", src__serve__a_cpp="assert(x);\n")
        self.assertEqual(offences(src__serve__a_cpp='static_assert(x);\nASSERT(x, "y");\n'), [])

    def test_later(self):
        self.only("do it now", src__serve__a_cpp="// TO" + "DO: later\n")

    def test_lengths(self):
        self.only("at most 140", src__serve__a_cpp="int a;" + "/" * 140 + "\n")
        self.only("at most 500", src__serve__a_cpp="int a;\n" * 501)

    def test_headers_explain_themselves(self):
        self.only("explaining itself", src__serve__a_h="#pragma once\n")
        self.only("#pragma once", src__serve__a_h="// What it is.\n#include <map>\n")

    def test_dead_links_and_paths(self):
        self.only("dead", README_md="See [this](docs/none.md).\n")
        self.only("does not exist", README_md="See `src/none.cpp`.\n")
        self.assertEqual(offences(README_md="See [this](docs/a.md#x), `docs/a.md`, [that](https://example.org).\n", docs__a_md="a\n"), [])

    def test_pages_name_code_as_it_is_called(self):
        code = dict(src__serve__routes_h=HEADER + "class Routes { void resolve(); };\n")
        self.only("no file 'src/serve/route'", README_md="See `serve/route`.\n", **code)
        self.only("'Routes::pick'", README_md="See `serve::Routes::pick`.\n", **code)
        self.assertEqual(offences(README_md="`serve/routes`, `serve/routes.h`, `application/json`, `Routes::resolve`, `std::move`.\n", **code), [])
        self.assertEqual(offences(docs__decisions__a_md="It was `serve/route`, with `Routes::pick`.\n", **code), [])

    def test_promises_name_tests(self):
        table = "| promise | test |\n| --- | --- |\n| at most `3` | %s |\n"
        code = dict(src__serve__a_test_cpp="TEST(Queue, IsBounded) {}\nTEST_F(Lane, is_fair) {}\n", tests__cases__a_case="$ mayfly list\n")
        self.only("without a test", SPECIFICATION_md=table % "none", **code)
        self.only("names no test", SPECIFICATION_md=table % "`Queue.IsBounded`", **code)
        for absent in ("serve: Queue.IsFast", "store: Queue.IsBounded", "tests/cases/a.case: mayfly lost", "tests/cases/b.case: mayfly list"):
            self.only("does not exist", SPECIFICATION_md=table % f"`{absent}`", **code)
            self.only("does not exist", SPECIFICATION_md=table % f"`serve: Queue.IsBounded`, `{absent}`", **code)
        for there in ("serve: Queue.IsBounded", "serve: Lane.is_fair", "tests/cases/a.case: mayfly list"):
            self.assertEqual(offences(SPECIFICATION_md=table % f"`{there}`", **code), [])

    def test_control_characters_and_blanks(self):
        self.only("0x07", README_md="a\x07b\n")
        self.only("blanks", src__serve__a_cpp="int a; \n")
        self.only("tab", src__serve__a_cpp="\tint a;\n")


if __name__ == "__main__":
    unittest.main()
