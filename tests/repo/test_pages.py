"""The pages say what the code does: commands, options, targets.   python3 -m unittest discover -s tests/repo"""
import pathlib, re, unittest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "examples/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def code_of(page):
    """What stands in fences, in indented blocks and between backticks."""
    text = page.read_text()
    fences = re.findall(r"```\w*\n(.*?)```", text, re.S)
    return "\n".join(fences + re.findall(r"^    .*$", text, re.M) + re.findall(r"`([^`\n]+)`", text))


class Pages(unittest.TestCase):
    cli = (ROOT / "src/app/cli.cpp").read_text()
    options = set(re.findall(r'add_(?:option|flag)\(\s*"(?:-\w,)?(--[\w-]+)"', cli)) | {"--help", "--version"}

    def test_cli_page_has_every_command_and_option(self):
        page = (ROOT / "docs/cli.md").read_text()
        commands = set(re.findall(r'(?:add_subcommand|about_one|add)\(\s*"([a-z]+)",', self.cli)) - {"zygote"}
        self.assertGreater(len(commands), 15, "the regular expression above no longer finds them")
        named = set(re.findall(r"`(?:layer |optimize )?([a-z]+)[` ]", page)) | set(re.findall(r"`(layer) ", page))
        self.assertEqual(commands - named, set(), "docs/cli.md does not name these commands")
        self.assertEqual(self.options - set(re.findall(r"--[a-z-]+", page)), set(), "docs/cli.md does not name these options")

    def test_pages_use_commands_and_options_that_exist(self):
        for page in PAGES:
            for command, rest in re.findall(r"\bmayfly (?!COMMAND)([a-z]+)([^\n]*)", code_of(page)):
                self.assertIn(f'"{command}"', self.cli, f"{page.name}: mayfly {command}")
                for option in re.findall(r"(?<!\S)--[a-z-]+", rest.partition("#")[0]):
                    self.assertIn(option, self.options, f"{page.name}: mayfly {command} {option}")

    def test_pages_make_targets_that_exist(self):
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
        for page in [*PAGES, ROOT / "SPECIFICATION.md"]:
            for target in re.findall(r"(?:^|[\n`])make ([a-z]+)", page.read_text()):
                self.assertIn(target, targets, f"{page.name}: make {target}")


if __name__ == "__main__":
    unittest.main()
