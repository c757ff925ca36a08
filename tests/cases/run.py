#!/usr/bin/env python3
"""Runs the cases: files of commands with what they print, against one real node. Exits 1 and prints every difference.

A case is text. `$ command` runs in a shell in which `mayfly` is the binary, with MAYFLY_URL naming the node. The lines below it
are its output, errors among it; `…` stands for anything within a line, a line `…` for any number of lines. `[exit N]` follows
where the exit status is N and not 0. `# …` at a line's start is a comment; empty lines between commands say nothing.
The functions of tiny_model.py lie in the folder in which the commands run.

    tests/cases/run.py --mayfly build/dev/mayfly [NAME …]
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "examples"))
from node import Node  # noqa: E402
from tiny_model import write_functions  # noqa: E402

TIMEOUT = 60


def read_case(path):
    """[(line number, command, [expected lines], exit status)]"""
    steps = []
    for at, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("# "):
            continue
        if line.startswith("$ "):
            steps.append([at, line[2:], [], 0])
        elif found := re.fullmatch(r"\[exit (\d+)\]", line):
            steps[-1][3] = int(found.group(1))
        elif line and steps:
            steps[-1][2].append(line)
    return steps


def matches(expected, got):
    pattern = ""
    for line in expected:
        pattern += r"(?:.*\n)*?" if line == "…" else "[^\n]*".join(re.escape(part) for part in line.split("…")) + "\n"
    return re.fullmatch(pattern, got) is not None


def run_case(path, environment, folder):
    failures = []
    for at, command, expected, status in read_case(path):
        done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, text=True, errors="replace", timeout=TIMEOUT)
        got = re.sub(r"\n{2,}", "\n", done.stdout)
        if not matches(expected, got) or done.returncode != status:
            failures.append(f"{path}:{at}: $ {command}\n  expected (exit {status}):\n" + "".join(f"    {line}\n" for line in expected) +
                            f"  got (exit {done.returncode}):\n" + "".join(f"    {line}\n" for line in got.splitlines()))
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mayfly", required=True)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    binary = str(Path(options.mayfly).resolve())
    failed = 0
    for path in sorted(HERE.glob("*.case")):
        if options.names and path.stem not in options.names:
            continue
        with tempfile.TemporaryDirectory(prefix="mayfly-case-") as folder:
            write_functions(Path(folder) / "work")
            (Path(folder) / "bin").mkdir()
            os.symlink(binary, Path(folder) / "bin" / "mayfly")
            node = Node(binary)
            environment = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "HOME": folder, "MAYFLY_URL": node.url, "LC_ALL": "C.UTF-8", "TERM": "xterm"}
            begun = time.monotonic()
            failures = run_case(path, environment, Path(folder) / "work")
            if (status := node.stop()) != 0:
                failures.append(f"{path}: the node's exit status is {status}:\n" + "\n".join(node.lines[-20:]) + "\n")
            node.kill()
            print(f"{path.stem}: {'failed' if failures else 'ok'}, {time.monotonic() - begun:.1f} s")
            print("".join(failures), end="")
            failed += bool(failures)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
