#!/usr/bin/env python3
"""A model over 2 GiB, its weights in a file of their own: the first answer from zero with nothing of the file in memory, and what an
instance has of its own, where memory holds little of it, and (--copied) where it holds the copies that the engine makes.

    build/venv/bin/python bench/large_external.py [--mayfly build/mayfly] [--rounds 5] [--folder FOLDER] [--copied]

2.46 GB: two tables of 300,000 rows of 1,024 numbers, of each of which a call takes three, and a small product. It is written to FOLDER twice.
"""
import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from large_start import ROOT, Node, forget_pages, model_pids, value
from large_models import private_bytes

ROWS, WIDTH = 300_000, 1024


def make(folder):
    folder.mkdir()
    with open(folder / "table.bin", "wb") as file:
        for begin in [*range(0, ROWS, 50_000)] * 2:
            np.repeat((np.arange(begin, begin + 50_000) % 997).astype(np.float32)[:, None], WIDTH, axis=1).tofile(file)
    tables = [TensorProto(name=f"t{i}", data_type=TensorProto.FLOAT, dims=[ROWS, WIDTH], data_location=TensorProto.EXTERNAL) for i in range(2)]
    for i, table in enumerate(tables):
        table.external_data.add(key="location", value="table.bin")
        table.external_data.add(key="offset", value=str(i * ROWS * WIDTH * 4))
    nodes = [helper.make_node("Gather", ["t0", "ids"], ["g0"]), helper.make_node("Gather", ["t1", "ids"], ["g1"]),
             helper.make_node("Add", ["g0", "g1"], ["g"]), helper.make_node("MatMul", ["g", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", [value("ids", TensorProto.INT64, ["n"])], [value("y", TensorProto.FLOAT, ["n", 8])],
                              [*tables, numpy_helper.from_array(np.full((WIDTH, 8), 0.5 / WIDTH, np.float32), "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mayfly", default=str(ROOT / "build/mayfly"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder")
    parser.add_argument("--copied", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mayfly-large-external-", dir=options.folder))
    node, draw = Node(options.mayfly, data=str(folder / "data")), np.random.default_rng(1)
    try:
        make(folder / "model")
        for memory in ["64MiB"] + ["5GiB"] * options.copied:
            (folder / "model/function.yaml").write_text(json.dumps({"name": "big", "resources": {"memory": memory}}))
            begun = time.monotonic()
            node.command("deploy", str(folder / "model"), "--force", timeout=600)
            deploy = time.monotonic() - begun
            weights = next(path for path in Path(node.data).rglob("*") if path.is_file() and path.stat().st_size == 2 * ROWS * WIDTH * 4)
            times, own = [], 0
            for _ in range(options.rounds):
                node.command("scale", "big", "0")
                node.wait(lambda: node.processes("big"), lambda all_: not all_, 20)
                forget_pages(weights)
                ids = draw.integers(0, ROWS, 3)
                reply = node.post("/functions/big", json.dumps({"ids": ids.tolist()}))
                if not np.allclose(np.array(reply.json["y"])[:, 0], ids % 997, rtol=1e-3):
                    raise SystemExit(f"rows {ids}: {reply.json}")
                times.append(reply.milliseconds)
                own = max(private_bytes(pid) for pid in model_pids(node, weights.name))
            print(f"memory {memory}: deployed in {deploy:.1f} s, first answer {statistics.median(times):.1f} ms (least {min(times):.1f}, "
                  f"most {max(times):.1f}), {own >> 20} MiB of its own", flush=True)
    finally:
        node.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
