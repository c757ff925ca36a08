#!/usr/bin/env python3
"""Memory of the node and its zygote over many cycles of load, infer and unload of a tabular model.

    build/venv/bin/python tests/faults/cycles.py --mayfly build/mayfly [--cycles 1000]

A cycle is `scale forest 0` with evict, until nothing of it runs, and a call, which starts from the artifact. Between cycle 100 and the
last neither process may grow by more than 2 MiB. For the release build: a sanitizer keeps what was freed.
"""
import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
from node import Node, descendants, rss, zygote_of  # noqa: E402
from world import MODELS, check, is_sanitized, until  # noqa: E402

GROWTH_MAX = 2 << 20


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mayfly", required=True)
    parser.add_argument("--cycles", type=int, default=1000)
    options = parser.parse_args()
    node = Node(options.mayfly)
    body = json.dumps({"input": [[1.0] * 30]})
    try:
        node.command("deploy", str(MODELS / "forest.onnx"))
        zygote = until(lambda: zygote_of(node), "a zygote")
        sizes, begun = {}, time.monotonic()
        for cycle in range(1, options.cycles + 1):
            reply = node.post("/functions/forest", body)
            if reply.cold_header != "artifact":
                check(False, "each call starts from the artifact", reply.cold_header)
            node.post("/api/functions/forest/scale", json.dumps({"instances": 0, "evict": True}))
            until(lambda: not node.processes("forest"), "nothing of it runs")
            if cycle in (100, options.cycles):
                sizes[cycle] = rss(node.process.pid), rss(zygote)
        took = time.monotonic() - begun
        print(f"{options.cycles} cycles in {took:.1f} s, {took / options.cycles * 1e3:.1f} ms each")
        for cycle, (of_node, of_zygote) in sizes.items():
            print(f"after {cycle}: node {of_node / 2**20:.2f} MiB, zygote {of_zygote / 2**20:.2f} MiB")
        check(zygote_of(node) == zygote, "the zygote is the same all along")
        until(lambda: len(descendants(node.process.pid)) < 20, "no processes are left behind")
        growth = [after - before for before, after in zip(sizes[100], sizes[options.cycles])]
        allowed = "" if not is_sanitized(options.mayfly) else " (sanitized: not asserted)"
        check(allowed or max(growth) < GROWTH_MAX,
              f"growth from cycle 100 on: node {growth[0] / 2**20:+.2f} MiB, zygote {growth[1] / 2**20:+.2f} MiB{allowed}")
    finally:
        node.kill()


if __name__ == "__main__":
    main()
