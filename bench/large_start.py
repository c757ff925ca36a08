#!/usr/bin/env python3
"""The first answer of a model from zero, with and without the record of what a start touches of its file, the file in memory and not:
MiniLM, a table of which little is touched, and dense layers of which all is. All in one run, in turns.

    build/venv/bin/python bench/large_start.py [--mayfly build/mayfly] [--rounds 11] [--folder FOLDER]

Two nodes: of the second one the records were taken away (the catalog's column), which is all that differs. FOLDER is on the disk that
is measured; the kernel's read-ahead of that disk is printed, since all depends on it. MiniLM: `examples/get_models.py sentences`.
"""
import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests/faults")]
from node import Node, stat_fields  # noqa: E402
from large_models import change_tuning, forget_pages, model_pids  # noqa: E402

value = helper.make_tensor_value_info


def write(path, nodes, inputs, outputs, constants):
    path.mkdir(parents=True)
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path / "model.onnx")


def table(path):
    """256 MB: a table of 65,536 rows, of which a call takes 16."""
    draw = np.random.default_rng(1)
    write(path, [helper.make_node("Gather", ["t", "ids"], ["g"]), helper.make_node("ReduceMean", ["g"], ["y"], axes=[1], keepdims=0)],
          [value("ids", TensorProto.INT64, ["n", "k"])], [value("y", TensorProto.FLOAT, ["n", 1024])],
          [numpy_helper.from_array(draw.standard_normal((65536, 1024), dtype=np.float32), "t")])
    return {"ids": [list(range(16))]}


def tables(path):
    """192 MB: 48 tables, of each of which a call takes a row."""
    draw = np.random.default_rng(2)
    nodes = [helper.make_node("Gather", [f"t{i}", "ids"], [f"g{i}"]) for i in range(48)]
    nodes.append(helper.make_node("Sum", [f"g{i}" for i in range(48)], ["y"]))
    write(path, nodes, [value("ids", TensorProto.INT64, ["n"])], [value("y", TensorProto.FLOAT, ["n", 1024])],
          [numpy_helper.from_array(draw.standard_normal((1024, 1024), dtype=np.float32), f"t{i}") for i in range(48)])
    return {"ids": [0]}


def dense(path):
    """256 MB: 16 layers of 2,048 by 2,048, all of which every call reads."""
    draw, nodes, constants, at = np.random.default_rng(3), [], [], "x"
    for i in range(16):
        constants.append(numpy_helper.from_array(draw.standard_normal((2048, 2048), dtype=np.float32) * np.float32(0.02), f"w{i}"))
        nodes += [helper.make_node("MatMul", [at, f"w{i}"], [f"h{i}"]), helper.make_node("Relu", [f"h{i}"], [f"r{i}"])]
        at = f"r{i}"
    nodes.append(helper.make_node("Identity", [at], ["y"]))
    write(path, nodes, [value("x", TensorProto.FLOAT, ["n", 2048])], [value("y", TensorProto.FLOAT, ["n", 2048])], constants)
    return {"x": [[0.5] * 2048]}


def minilm(path):
    source = ROOT / "build/models/sentences"
    path.mkdir(parents=True)
    shutil.copy(source / "model.onnx", path / "model.onnx")
    # Made-up ids are small; these are a sentence's.
    ids = [101, 2023, 2003, 1037, 6251, 1997, 1037, 2210, 2062, 2084, 12365, 16596, 1010, 2029, 2003, 2146, 2438, 102]
    return {"input_ids": [ids], "attention_mask": [[1] * len(ids)], "token_type_ids": [[0] * len(ids)]}


MODELS = {"MiniLM": minilm, "table": table, "tables": tables, "dense": dense}


def cold(node, name, body, artifact, cached):
    node.command("scale", name, "0")
    node.wait(lambda: node.processes(name), lambda all_: not all_, 20)
    forget_pages(artifact)
    if cached:
        artifact.read_bytes()
    time.sleep(0.1)
    reply = node.post(f"/functions/{name}", body)
    start = node.get(f"/api/functions/{name}")["cold_starts"][0]
    faults = [stat_fields(pid) for pid in model_pids(node, artifact.name)]
    return (start["first_answer_ms"] or reply.milliseconds, max((int(f[9]) for f in faults if f), default=0), start["prefetched"])


def artifact_of(node, name):
    return next(Path(node.data).rglob(node.get(f"/api/functions/{name}")["versions"][-1]["compiled"]["sha256"]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mayfly", default=str(ROOT / "build/mayfly"))
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--folder")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mayfly-large-start-", dir=options.folder))
    device = os.stat(folder).st_dev
    read_ahead = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/queue/read_ahead_kb")
    print("read-ahead of the disk:", read_ahead.read_text().strip() if read_ahead.exists() else "not known", "KiB")
    nodes = []
    try:
        bodies = {name: json.dumps(make(folder / "models" / name.lower())) for name, make in MODELS.items()}
        node = Node(options.mayfly, data=str(folder / "with"))
        nodes.append(node)
        for name in MODELS:
            manifest = {"name": name.lower(), "resources": {"memory": "2GiB"}}
            (folder / "models" / name.lower() / "function.yaml").write_text(json.dumps(manifest))
            node.command("deploy", str(folder / "models" / name.lower()), timeout=300)
        node.stop()
        # A template would answer by a fork: an instance from the file is what is measured.
        change_tuning(folder / "with", template_allowed=False)
        shutil.copytree(folder / "with", folder / "without")
        change_tuning(folder / "without", working_set="")
        nodes[:] = [Node(options.mayfly, data=str(folder / how)) for how in ("with", "without")]
        for name in MODELS:
            label, body = name.lower(), bodies[name]
            tuning = nodes[0].get(f"/api/functions/{label}")["versions"][-1]["compiled"]["tuning"]
            size = nodes[0].get(f"/api/functions/{label}")["versions"][-1]["compiled"]["size"]
            print(f"{name}: {size / 1e6:.0f} MB, of which a start touches {tuning['working_set']['size'] / 1e6:.1f} MB in "
                  f"{tuning['working_set']['ranges']} ranges")
            for cached in (True, False):
                seen = {"with": [], "without": []}
                for _ in range(options.rounds + 1):
                    for node, how in zip(nodes, seen):
                        seen[how].append(cold(node, label, body, artifact_of(node, label), cached))
                middle = {how: statistics.median(ms for ms, _, _ in all_[1:]) for how, all_ in seen.items()}
                print(f"   {'in memory' if cached else 'on disk':10}" + "".join(
                    f" {how} {middle[how]:7.1f} ms (least {min(ms for ms, _, _ in all_[1:]):.1f}), "
                    f"{statistics.median(waits for _, waits, _ in all_[1:]):.0f} waits for the disk, "
                    f"{statistics.median(ahead for _, _, ahead in all_[1:]) / 1e6:.1f} MB ahead;" for how, all_ in seen.items()) +
                      f" ratio {middle['without'] / middle['with']:.2f}", flush=True)
    finally:
        for node in nodes:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
