#!/usr/bin/env python3
"""What it would bring to record what the first real call of a model touches of its file, beside what made-up input does: the first answer
from zero of nodes whose records are of made-up input alone, and of made-up input and one real call, in turns. The file is not in memory.

    build/venv/bin/python bench/large_first_call.py [--mayfly build/mayfly] [--rounds 7] [--folder FOLDER]

A table of 134 MB of which a call takes 20 rows, drawn by Zipf's law as words are, or evenly; and two branches of 34 MB of dense layers, of
which made-up input takes one. Each where its memory holds the file and where not. "same" calls are the one that was recorded.
"""
import argparse
import json
import shutil
import sqlite3
import statistics
import tempfile
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from large_start import Node, change_tuning, cold, value, write

ROOT = Path(__file__).resolve().parent.parent
UNIT, ROWS, WIDTH, LAYERS = 65536, 32768, 1024, 8


def encode(size, units):
    """A record as domain/working_set.h has it."""
    ranges = []
    for unit in sorted(set(units)):
        if ranges and sum(ranges[-1]) == unit:
            ranges[-1][1] += 1
        else:
            ranges.append([unit, 1])
    octets = bytearray(b"W1")

    def put(number):
        while number >= 0x80:
            octets.append(number & 0x7F | 0x80)
            number >>= 7
        octets.append(number)

    put(size)
    put(len(ranges))
    at = 0
    for begin, count in ranges:
        put(begin - at)
        put(count)
        at = begin + count
    checksum = 2166136261
    for octet in octets:
        checksum = (checksum ^ octet) * 16777619 & 0xFFFFFFFF
    return (bytes(octets) + checksum.to_bytes(4, "little")).hex()


def units_of(text):
    octets, numbers, number, shift = bytes.fromhex(text)[2:-4], [], 0, 0
    for octet in octets:
        number |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            numbers.append(number)
            number = shift = 0
    units, at = [], 0
    for gap, count in zip(numbers[2::2], numbers[3::2]):
        units += range(at + gap, at + gap + count)
        at += gap + count
    return units


def within(whole, array, first=0, count=None):
    """The units that rows of a constant lie in."""
    begin = whole.find(array.tobytes())
    row = array.nbytes // len(array)
    last = begin + (first + (len(array) if count is None else count)) * row - 1
    return range((begin + first * row) // UNIT, last // UNIT + 1)


def words(path):
    draw = np.random.default_rng(1)
    table, out = draw.standard_normal((ROWS, WIDTH), dtype=np.float32), draw.standard_normal((WIDTH, 64), dtype=np.float32)
    write(path, [helper.make_node("Gather", ["t", "ids"], ["g"]), helper.make_node("ReduceMean", ["g"], ["m"], axes=[1], keepdims=0),
                 helper.make_node("MatMul", ["m", "w"], ["y"])], [value("ids", TensorProto.INT64, ["n", "k"])],
          [value("y", TensorProto.FLOAT, ["n", 64])], [numpy_helper.from_array(table, "t"), numpy_helper.from_array(out, "w")])
    chances = 1 / np.arange(1, ROWS + 1)
    ways = {"Zipf": lambda: draw.choice(ROWS, 20, p=chances / chances.sum()).tolist(), "even": lambda: draw.integers(0, ROWS, 20).tolist()}
    for way, call in ways.items():
        first = call()
        yield f"{way}, same", {"ids": [first]}, lambda whole, ids=first: [u for i in ids for u in within(whole, table, i, 1)], lambda f=first: {"ids": [f]}
        yield f"{way}, other", None, None, lambda c=call: {"ids": [c()]}


def branches(path):
    draw, all_ = np.random.default_rng(2), {}

    def branch(name):
        all_[name] = [draw.standard_normal((1024, 1024), dtype=np.float32) * np.float32(0.03) for _ in range(LAYERS)]
        nodes = [helper.make_node("MatMul", ["x" if i == 0 else f"{name}h{i - 1}", f"{name}{i}"], [f"{name}h{i}"]) for i in range(LAYERS)]
        return helper.make_graph(nodes, name, [], [value(f"{name}h{LAYERS - 1}", TensorProto.FLOAT, ["n", 1024])],
                                 [numpy_helper.from_array(w, f"{name}{i}") for i, w in enumerate(all_[name])])

    write(path, [helper.make_node("If", ["c"], ["y"], then_branch=branch("p"), else_branch=branch("q"))],
          [value("x", TensorProto.FLOAT, ["n", 1024]), value("c", TensorProto.BOOL, [1])], [value("y", TensorProto.FLOAT, ["n", 1024])], [])
    call = {way: {"x": [[0.5] * 1024], "c": [way]} for way in (True, False)}
    yield "the other branch, same", call[True], lambda whole: [u for w in all_["p"] for u in within(whole, w)], lambda: call[True]
    yield "the branch of made-up input", None, None, lambda: call[False]


def record_of(data):
    with sqlite3.connect(next(Path(data).rglob("catalog.db"))) as catalog:
        return [json.loads(text)["tuning"]["working_set"] for (text,) in catalog.execute("SELECT compiled FROM versions") if text][-1]


def compare(options, folder, model, memory):
    kind = model.__name__
    ways = list(model(folder / kind))
    (folder / kind / "function.yaml").write_text(json.dumps({"name": kind, "resources": {"memory": memory}}))
    node = Node(options.mayfly, data=str(folder / "made up"))
    nodes = [node]
    try:
        node.command("deploy", str(folder / kind), timeout=300)
        artifact = node.get(f"/api/functions/{kind}")["versions"][-1]["compiled"]
        node.stop()
        change_tuning(folder / "made up", template_allowed=False)
        text = record_of(folder / "made up")
        whole = next((folder / "made up").rglob(artifact["sha256"])).read_bytes()
        nodes[:] = [Node(options.mayfly, data=str(folder / "made up"))]
        for way, first, touched, call in ways:
            if first:
                for one in nodes[1:]:
                    one.kill()
                shutil.rmtree(folder / "real", ignore_errors=True)
                nodes[0].stop()
                shutil.copytree(folder / "made up", folder / "real")
                change_tuning(folder / "real", working_set=encode(artifact["size"], units_of(text) + touched(whole)))
                nodes[:] = [Node(options.mayfly, data=str(folder / how)) for how in ("made up", "real")]
            seen = [[], []]
            for _ in range(options.rounds + 1):
                body = json.dumps(call())
                for one, times in zip(nodes, seen):
                    times.append(cold(one, kind, body, next(Path(one.data).rglob(artifact["sha256"])), False))
            texts = [f"{statistics.median(t[0] for t in times[1:]):6.1f} ms (least {min(t[0] for t in times[1:]):.1f}, "
                     f"{times[-1][2] / 1e6:.1f} MB ahead)" for times in seen]
            print(f"{kind} of {artifact['size'] / 1e6:.0f} MB, memory {memory}, {way}: made up {texts[0]}, and a real call {texts[1]}", flush=True)
    finally:
        for one in nodes:
            one.kill()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mayfly", default=str(ROOT / "build/mayfly"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder")
    options = parser.parse_args()
    for model in (words, branches):
        for memory in ("2GiB", "48MiB"):
            folder = Path(tempfile.mkdtemp(prefix="mayfly-first-call-", dir=options.folder))
            try:
                compare(options, folder, model, memory)
            finally:
                shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
