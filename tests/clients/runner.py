"""Runs the test_… functions of a file against one node: what the tests of real clients share."""
import argparse
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(world_class, names, doc):
    """`names` are the file's; the world has a node and a close(). The last line is "N passed, N failed"."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--mayfly", default=str(ROOT / "build/mayfly"), help="the binary (default: build/mayfly)")
    parser.add_argument("--only", default="", help="run the tests whose name contains this")
    arguments = parser.parse_args()
    world, passed, failed = world_class(Path(arguments.mayfly).resolve()), 0, 0
    try:
        for name, test in list(names.items()):
            if name.startswith("test_") and arguments.only in name:
                try:
                    test(world)
                    passed += 1
                    print(f"ok {name}", flush=True)
                except Exception:  # noqa: BLE001  (any failure of one test is its result)
                    failed += 1
                    print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
        if failed:
            world.node.show_log()
    finally:
        world.close()
    print(f"{passed} passed, {failed} failed")
    sys.exit(0 if passed and not failed else 1)
