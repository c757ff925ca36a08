#!/usr/bin/env python3
"""Cold start of an image classifier of 240 MB and of what 8 bits make of it, on a node, beside the engine that loads and runs the original by its
own defaults. All in one run, in turns, with both cores for everybody.

    build/venv/bin/python bench/classifier_start.py [--mayfly build/mayfly] [--rounds 7]

Node: from the call that finds nothing running until its whole answer is here, by HTTP with the picture in the request, for functions of one core and of
two; "file": a fresh instance from the compiled file, no template; "fork": the template is there, as it is while a function is used now and then. Engine: a fresh Python in which
onnxruntime is imported already, `InferenceSession(model)` and one run. ResNet-152 has random weights: this is about time alone.
"""
import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "bench")]
from measure import say  # noqa: E402
from node import Node  # noqa: E402
from optimize import other  # noqa: E402
from optimize_models import made  # noqa: E402

RECIPES = {"int8": "int8-static", "int8-pruned": "prune-channels:0.25,int8-static", "int8-half": "prune-channels:0.4,int8-static"}
PATIENCE = 600


def cold(node, name, path, body, headers, *evict):
    node.command("scale", name, "0", *evict)
    left = (lambda all_: not all_) if evict else (lambda all_: all(p["role"] == "template" and p["state"] == "ready" for p in all_) and all_)
    node.wait(lambda: node.processes(name), left, 60)
    time.sleep(0.2)
    return node.post(path, body, headers).milliseconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mayfly", default=str(ROOT / "build/mayfly"))
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    model, samples = made("resnet152")
    picture = np.load(samples)["input"][:1].astype(np.float32).tobytes()
    head = json.dumps({"inputs": [{"name": "input", "shape": [1, 3, 224, 224], "datatype": "FP32", "parameters": {"binary_data_size": len(picture)}}]})
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    body = head.encode() + picture
    times, sizes = {"engine": []}, {"original": model.stat().st_size / 1e6}
    with tempfile.TemporaryDirectory(prefix="mayfly-classifier-") as folder:
        files = {"original": model}
        for name, recipe in RECIPES.items():
            files[name] = ROOT / f"build/bench-optimize/made/resnet152-{name}.onnx"
            if not files[name].exists():
                print(f"making {recipe}", file=sys.stderr, flush=True)
                files[name].parent.mkdir(parents=True, exist_ok=True)
                subprocess.run([options.mayfly, "optimize", str(model), "--data", str(samples), "--recipe", recipe, "--compare", "values",
                                "--same-min", "0%", "-o", str(files[name])], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE)
            sizes[name] = files[name].stat().st_size / 1e6
        functions = [(f"{name}-{cores}", cores, file) for name, file in files.items() for cores in (1, 2)]
        node = Node(options.mayfly, data=str(Path(folder) / "data"))
        try:
            for name, cores, file in functions:
                place = Path(folder) / name
                place.mkdir()
                shutil.copy(file, place / "model.onnx")
                (place / "function.yaml").write_text(json.dumps({"name": name, "resources": {"cpu": cores, "memory": "2GiB"}}))
                node.command("deploy", str(place), timeout=PATIENCE)
                node.post(f"/v2/models/{name}/infer", body, headers)
            for _ in range(options.rounds):
                times["engine"].append(other("measure", "measure", model, samples, "-")["first_ms"])
                for name, cores, _ in functions:
                    path = f"/v2/models/{name}/infer"
                    times.setdefault((name, "file"), []).append(cold(node, name, path, body, headers, "--evict"))
                    times.setdefault((name, "warm"), []).append(min(node.post(path, body, headers).milliseconds for _ in range(3)))
                    if cores == 1:  # what runs on several threads has no template
                        node.wait(lambda: node.processes(name), lambda all_: any(p["role"] == "template" and p["state"] == "ready" for p in all_), 60)
                        times.setdefault((name, "fork"), []).append(cold(node, name, path, body, headers))
        finally:
            node.stop()
    base = statistics.median(times["engine"])
    print(f"{'MODEL, CORES':16} {'MB':>6} {'FROM THE FILE':>14} {'BY A FORK':>12} {'WARM':>12}  ms, medians of {options.rounds}; least in brackets")
    print(f"{'the engine, all':16} {sizes['original']:6.1f} {base:8.0f} ({min(times['engine']):.0f})")
    for name, _, _ in functions:
        cells = [f"{statistics.median(times[name, how]):.0f} ({min(times[name, how]):.0f})" if (name, how) in times else "-" for how in ("file", "fork", "warm")]
        print(f"{name:16} {sizes[name[:-2]]:6.1f} {cells[0]:>14} {cells[1]:>12} {cells[2]:>12}")
    for name, recipe in RECIPES.items():
        ways = {(each, how): statistics.median(taken) for (each, how), taken in ((key, taken) for key, taken in times.items() if isinstance(key, tuple))
                if each.startswith(name + "-") and each[len(name) + 1:].isdigit() and how != "warm"}
        (best, how), taken = min(ways.items(), key=lambda way: way[1])
        say(f"{recipe}: cold start to the first answer", f"1/{base / taken:.1f} of loading and running the original", "1/10", taken <= base / 10,
            f"{taken:.0f} ms, {best[-1]} cores, {'from its file' if how == 'file' else 'by a fork of its template'}; the engine {base:.0f}")


if __name__ == "__main__":
    main()
