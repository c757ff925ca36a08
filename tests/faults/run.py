#!/usr/bin/env python3
"""Faults of a whole node: bad models, hostile clients, deaths, a full disk. The real binary, on loopback.

    build/venv/bin/python tests/faults/run.py --mayfly build/dev/mayfly [--slow] [NAME …]

Runs every test_… function of the modules below, or those named; each prints what it checks: who caused a fault gets a clear error, and
another function on the same node goes on answering. --slow adds what waits for minutes. The last line is "N passed, N failed, N
skipped"; the exit status is 0 only if none failed. Deadlines are generous and nothing is asserted about time. Jumps of the clock are
not made here: the node reads it in one place (src/os/clock.h), and tests/sim/control_sim.cpp makes them. That the node itself stands
still for a while is made here.
"""
import argparse
import resource
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
import bad_models  # noqa: E402
import calls  # noqa: E402
import clients  # noqa: E402
import deaths  # noqa: E402
import disk  # noqa: E402
import large_models  # noqa: E402
from world import Skip, World  # noqa: E402

MODULES = (clients, bad_models, calls, deaths, disk, large_models)


def tests(names):
    found = [(name, test) for module in MODULES for name, test in vars(module).items() if name.startswith("test_")]
    return [(name, test) for name, test in found if not names or any(part in name for part in names)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mayfly", required=True)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    world = World(options.mayfly, options.slow)
    try:
        for name, test in tests(options.names) + [("test_what_waits_for_long", clients.wait_for_later)]:
            print(name, flush=True)
            begun = time.monotonic()
            try:
                test(world)
                outcome = "passed"
            except Skip as reason:
                print(f"   skipped: {reason}")
                outcome = "skipped"
            except Exception:
                traceback.print_exc(file=sys.stdout)
                world.node.show_log()
                outcome = "failed"
            counts[outcome] += 1
            print(f"   {outcome}, {time.monotonic() - begun:.1f} s", flush=True)
    finally:
        world.close()
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    sys.exit(counts["failed"] > 0)


if __name__ == "__main__":
    main()
