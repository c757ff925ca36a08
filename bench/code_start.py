#!/usr/bin/env python3
"""The first answer of a function of code from zero: a fork of its template, a process started afresh, and beside both a bare
`python` that does the same alone. All in one run, in turns.

    bench/code_start.py [--mayfly build/mayfly] [--rounds 20]
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests/code")]
from node import Node  # noqa: E402
import forest  # noqa: E402

PLAIN = "def handler(event, context):\n    return {'got': event}\n"
BARE = "import json, sys\nsys.path.insert(0, '.')\nimport app\nprint(json.dumps(app.handler({'x': 0.5}, None)))\n"


def deploy(node, folder, name, model, fork):
    if model:
        forest.make(folder / name, {"fork": fork})
    else:
        (folder / name).mkdir()
        (folder / name / "app.py").write_text(PLAIN)
        (folder / name / "function.yaml").write_text(json.dumps({"runtime": forest.RUNTIME, "handler": "app.handler", "fork": fork}))
    node.command("deploy", str(folder / name), timeout=300)


def instances(node, name, role="instance"):
    return [p for p in node.processes(name) if p["role"] == role]


def cold(node, name):
    node.command("scale", name, "0")
    node.wait(lambda: instances(node, name), lambda all_: not all_, 20)
    time.sleep(0.2)
    return node.post(f"/functions/{name}", '{"x": 0.5}').milliseconds


def bare(folder):
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", BARE], check=True, cwd=folder, env={"PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - started) * 1e3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mayfly", default=str(ROOT / "build/mayfly"))
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mayfly-code-start-"))
    node = Node(options.mayfly)
    try:
        for title, model in {"plain": False, "numpy + onnxruntime": True}.items():
            names = {how: f"{'ml' if model else 'plain'}-{how}" for how in ("auto", "never")}
            for how, name in names.items():
                deploy(node, folder, name, model, how)
                node.post(f"/functions/{name}", '{"x": 0.5}')
            node.wait(lambda: instances(node, names["auto"], "template"), lambda all_: all_ and all_[0]["state"] == "ready", 60)
            times = {"fork": [], "fresh": [], "bare": []}
            for _ in range(options.rounds):
                times["fork"].append(cold(node, names["auto"]))
                times["fresh"].append(cold(node, names["never"]))
                times["bare"].append(bare(folder / names["never"]))
            starts = node.get(f"/api/functions/{names['auto']}")["cold_starts"]
            print(f"{title}: first answer from zero, ms (median, least, most of {options.rounds}; forks among the starts kept: "
                  f"{sum(s['origin'] == 'fork' for s in starts)} of {len(starts)})")
            for how, all_ in times.items():
                print(f"   {how:6} {statistics.median(all_):7.1f} {min(all_):7.1f} {max(all_):7.1f}")
            for how in ("auto", "never"):
                seen = node.wait(lambda: instances(node, names[how]), lambda all_: all_ and all_[0]["memory"] > 0, 20, False)
                extra = instances(node, names[how], "template")
                print(f"   memory {how}: {[p['memory'] >> 10 for p in seen]} KiB, template {[p['memory'] >> 10 for p in extra]} KiB", flush=True)
            print("   last fork:", json.dumps(next((s for s in starts if s["origin"] == "fork"), None)))
    finally:
        node.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
