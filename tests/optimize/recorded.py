#!/usr/bin/env python3
"""Calls that a node records as samples, from outside: what was sent comes back as arrays, in every form of a request, and no more than was
allowed; nothing is kept unless it was said, and nothing stays. The real binary, a node on loopback.

    build/venv/bin/python tests/optimize/recorded.py --mayfly build/mayfly [NAME …]
"""
import json
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
from node import Node  # noqa: E402
from run import World as Digits, check, main  # noqa: E402

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def sizes_model(path):
    """Takes rows of any length, and texts beside them."""
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0), helper.make_node("Identity", ["t"], ["u"])]
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, ["n", "m"]), value("t", TensorProto.STRING, ["n"])],
                              [value("y", TensorProto.FLOAT, []), value("u", TensorProto.STRING, ["n"])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


class World(Digits):
    def __init__(self, binary):
        super().__init__(binary)
        self.data_folder = tempfile.mkdtemp(prefix="mayfly-recorded-")
        self.node = Node(binary, data=self.data_folder)
        self.node.command("deploy", str(self.digits), "--name", "digits")

    def __del__(self):
        if hasattr(self, "node"):
            self.node.kill()
            shutil.rmtree(self.data_folder, ignore_errors=True)

    def call(self, rows, name="digits"):
        return self.node.post(f"/functions/{name}", json.dumps({"pixels": rows.tolist()})).json

    def state(self, name="digits"):
        return json.loads(self.node.command("record", name, "--json"))

    def on_disk(self, count):
        return self.node.wait(lambda: len(self.files()), lambda n: n == count, 30)

    def files(self):
        return [path for path in Path(self.data_folder, "recordings").glob("*/*") if path.suffix != ".part"]

    def export(self, name="digits"):
        path = self.folder / "recorded.npz"
        told = self.node.command("record", name, "-o", str(path))
        with np.load(path) as arrays:
            return {key: arrays[key] for key in arrays}, told

    def fails(self, *words):
        done = subprocess.run([self.binary, *words, "--url", self.node.url], capture_output=True, text=True, timeout=60)
        check(done.returncode != 0, f"{' '.join(words)} is refused", done.stdout)
        return done.stderr


def test_nothing_unless_it_was_said(world):
    world.call(world.x[:2])
    check("no calls of function 'digits' are recorded" in world.fails("record", "digits"), "nothing is recorded by itself")
    check(not world.files(), "and no file is there")


def test_what_was_sent_comes_back(world):
    told = world.node.command("record", "digits", "--calls", "100")
    check("0 of at most 100 calls recorded" in told, "recording begins", told)
    x = world.x.astype(np.float32)
    world.call(x[0:1])
    v2 = {"inputs": [{"name": "pixels", "shape": [2, 64], "datatype": "FP32", "data": x[1:3].ravel().tolist()}]}
    world.node.post("/v2/models/digits/infer", json.dumps(v2))
    head = json.dumps({"inputs": [{"name": "pixels", "shape": [1, 64], "datatype": "FP32", "parameters": {"binary_data_size": 256}}]}).encode()
    world.node.post("/v2/models/digits/infer", head + x[3:4].tobytes(), {"Inference-Header-Content-Length": str(len(head))})
    world.call(np.repeat(x[4:8], 100, axis=0))  # more than a frame holds: it travels in a memfd
    reply = world.node.send("POST", "/functions/digits", '{"pixels": [["what"]]}')
    check(reply.status == 400, "a call that the model does not take")
    world.on_disk(5)
    arrays, told = world.export()
    expected = np.concatenate([x[:4], np.repeat(x[4:8], 100, axis=0)])
    check(sorted(arrays) == ["pixels"] and arrays["pixels"].dtype == np.float32 and np.array_equal(arrays["pixels"], expected),
          f"{len(expected)} rows come back as they were sent, in their order", {k: v.shape for k, v in arrays.items()})
    check("404 samples of 4 calls" in told and "left out: 1 call that the model does not take" in told, "what was left out is said", told)
    state = world.state()
    check(state["calls"] == 5 and state["seen"] == 5 and state["size"] > 400 * 64, "and it is counted", state)
    check("recorded: 5 calls of at most 100" in world.node.command("describe", "digits"), "describe shows it")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in world.files()} | {stat.S_IMODE(path.parent.stat().st_mode) for path in world.files()}
    check(modes == {0o600, 0o700}, "for the node's user alone", modes)
    report = world.report(world.digits, "--recipe", "compile", "--data", world.folder / "recorded.npz", "-o", world.folder / "by_calls.onnx")
    check(report["samples"] == 404 and report["passed"], "mayfly optimize takes them as samples")
    done = world.run(world.digits, "--recipe", "compile", "--data", "recorded:digits", "--url", world.node.url, "-o", world.folder / "by_node.onnx",
                     "--json", status=0)
    check(json.loads(done.stdout)["samples"] == 404 and "left out: 1 call that the model does not take" in done.stderr, "from the node, too", done.stderr)
    done = world.run(world.digits, "--data", "recorded:other", "--url", world.node.url, status=4)
    check("there is no function 'other'" in done.stderr, "of a function that is not there", done.stderr)


def test_no_more_than_was_said(world):
    world.node.command("record", "digits", "--calls", "20")
    check(world.state()["seen"] == 0 and not world.files(), "to begin again removes what was kept")
    for i in range(200):
        world.call(np.full((1, 64), i, np.float32))
    world.node.wait(world.state, lambda state: state["seen"] == 200, 30)
    world.on_disk(20)
    arrays, _ = world.export()
    which = arrays["pixels"][:, 0]
    check(len(which) == 20 and len(set(which)) == 20 and list(which) == sorted(which), "20 of 200 calls are kept, each once")
    check(which.min() < 80 and which.max() >= 120, f"spread over all of them: {sorted(map(int, which))}")
    world.node.command("record", "digits", "--calls", "100000", "--size-max", "10KB")
    for i in range(60):
        world.call(np.full((1, 64), i, np.float32))
    world.node.wait(world.state, lambda state: state["seen"] == 60, 30)
    state = world.state()
    check(5 < state["calls"] < 60 and state["size"] <= 10_000, f"{state['calls']} calls are kept in {state['size']} bytes", state)
    world.node.command("record", "digits", "--calls", "1000", "--share", "20%")
    for i in range(200):
        world.call(world.x[:1])
    state = world.state()
    check(10 <= state["seen"] <= 80 and state["calls"] == state["seen"], f"a share of them: {state['seen']} of 200", state)


def test_other_sizes(world):
    model = world.folder / "sizes.onnx"
    sizes_model(model)
    world.node.command("deploy", str(model), "--name", "sizes")
    world.node.command("record", "sizes", "--calls", "100")
    for size, text in ((3, "a"), (3, "bär"), (5, "c"), (3, "")):
        world.node.post("/functions/sizes", json.dumps({"x": [[float(size)] * size], "t": [text]}))
    world.node.wait(lambda: world.state("sizes"), lambda state: state["seen"] == 4, 30)
    arrays, told = world.export("sizes")
    check(arrays["x"].shape == (3, 3) and [t.decode() for t in arrays["t"]] == ["a", "bär", ""], "calls of one size are arrays", arrays)
    check(arrays["x.2"].tolist() == [[5.0] * 5] and arrays["t.2"].tolist() == [b"c"], "and those of the next size are arrays of their own", arrays)
    check("4 samples of 4 calls, of 2 sizes" in told and "left out" not in told, "none is left out", told)
    world.node.command("delete", "sizes", "-y")


def sentences_model(path):
    """Rows of a table, a product, the mean over however many there were: ids [n, m] -> y [n, 32]."""
    rng, value = np.random.default_rng(3), helper.make_tensor_value_info
    weights = {"t": rng.normal(0, 1, (500, 64)), "w": rng.normal(0, 1, (64, 256)), "v": rng.normal(0, 1, (256, 32))}
    nodes = [helper.make_node("Gather", ["t", "ids"], ["g"]), helper.make_node("MatMul", ["g", "w"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("MatMul", ["r", "v"], ["p"]), helper.make_node("ReduceMean", ["p"], ["y"], axes=[1], keepdims=0)]
    graph = helper.make_graph(nodes, "g", [value("ids", TensorProto.INT64, ["n", "m"])], [value("y", TensorProto.FLOAT, ["n", 32])],
                              [numpy_helper.from_array(x.astype(np.float32), name) for name, x in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_sentences_of_many_lengths_are_samples(world):
    model = world.folder / "lengths.onnx"
    sentences_model(model)
    world.node.command("deploy", str(model), "--name", "lengths")
    world.node.command("record", "lengths", "--calls", "1000")
    rng = np.random.default_rng(4)
    sent = [rng.integers(0, 500, int(length)).tolist() for length in rng.integers(2, 12, 60)]
    for ids in sent:
        world.node.post("/functions/lengths", json.dumps({"ids": [ids]}))
    world.node.wait(lambda: world.state("lengths"), lambda state: state["seen"] == 60, 30)
    arrays, told = world.export("lengths")
    lengths = sorted({len(ids) for ids in sent})
    back = [row for array in arrays.values() for row in array.tolist()]
    check(len(arrays) == len(lengths) and sorted(back) == sorted(sent), f"60 calls of {len(lengths)} lengths come back as they were sent", told)
    report = world.report(model, "--recipe", "int8-dynamic,compile", "--recipe", f"shape:m={lengths[0]}", "--same-min", "0.9", "--data", world.folder / "recorded.npz",
                          "-o", world.folder / "lengths-small.onnx")
    row, fixed = report["candidates"][1:]
    check(report["samples"] == 60 and row["gate"] == "passed" and row["comparisons"][0]["rows"] == 60, "each is answered and compared, in its own length", row)
    check(fixed["gate"] == "error" and f"Expected: {lengths[0]}" in fixed["why"], f"a candidate that takes one length alone is found out: {fixed['why'].splitlines()[0]}", fixed)
    # The ranges of static int8 come from sentences of all lengths: as many as there are.
    row = world.report(model, "--recipe", "int8-static", "--same-min", "0.9", "--data", "recorded:lengths", "--url", world.node.url,
                       "-o", world.folder / "lengths-static.onnx")["candidates"][1]
    check(row["gate"] == "passed" and "measured on 60 samples" in str(row["notes"]), "ranges are measured on all of them", row)
    # numpy writes such sets, too, and --data-out writes what was read.
    labels = {"label": np.arange(8) % 2, "label.2": np.arange(4) % 2}
    np.savez(world.folder / "two.npz", **{"ids": rng.integers(0, 500, (8, 5)), "ids.2": rng.integers(0, 500, (4, 9))}, **labels)
    world.run(model, "--recipe", "compile", "--data", world.folder / "two.npz", "--data-out", world.folder / "again.npz", "-o", world.folder / "two.onnx")
    with np.load(world.folder / "two.npz") as first, np.load(world.folder / "again.npz") as again:
        check(sorted(again) == sorted(first) and all(np.array_equal(again[key], first[key]) for key in first), "what is read is written as it was")
    np.savez(world.folder / "gap.npz", **{"ids": rng.integers(0, 500, (8, 5)), "ids.3": rng.integers(0, 500, (4, 9))})
    done = world.run(model, "--recipe", "compile", "--data", world.folder / "gap.npz", "-o", world.folder / "gap.onnx", status=1)
    check("nothing of size 2" in done.stderr, "a size that is left out is said", done.stderr)
    world.node.command("delete", "lengths", "-y")


def test_it_outlives_the_node_and_no_more(world):
    world.node.command("record", "digits", "--calls", "10")
    for i in range(10):
        world.call(world.x[i:i + 1])
    world.on_disk(10)
    before, _ = world.export()
    world.node.stop()
    world.node = Node(world.binary, data=world.data_folder)
    state = world.state()
    check(state["calls"] == 10 and state["seen"] == 10, "a node that starts again knows what was kept", state)
    after, _ = world.export()
    check(np.array_equal(before["pixels"], after["pixels"]), "and has it")
    check("removed" in world.node.command("record", "digits", "--off"), "it is switched off")
    world.on_disk(0)
    world.call(world.x[:1])
    check("no calls" in world.fails("record", "digits") and not world.files(), "then nothing is kept any more")
    world.node.command("record", "digits", "--calls", "10")
    world.call(world.x[:1])
    world.on_disk(1)
    world.node.command("delete", "digits", "-y")
    world.on_disk(0)
    check(not world.files(), "a function's calls go with it")
    world.node.command("deploy", str(world.digits), "--name", "digits")
    check("no calls" in world.fails("record", "digits"), "and one of the same name has none")


def test_wrong_usage(world):
    check("there is no function 'nothing'" in world.fails("record", "nothing", "--calls", "5"), "an unknown function is said")
    check("no share above 0%" in world.fails("record", "digits", "--calls", "5", "--share", "0%"), "a share of nothing is said")
    check("one of them at a time" in world.fails("record", "digits", "--calls", "5", "--off"), "two wishes are refused")
    check("size_max" in world.fails("record", "digits", "--calls", "5", "--size-max", "10GB"), "too much is refused")
    for body, holds in (("{}", "calls"), ('{"calls": 0}', "1 to 100000"), ('{"calls": 5, "rate": 1}', "is not known"), ("[]", "JSON object"),
                        ('{"calls": 5, "share": "x"}', "above 0")):
        reply = world.node.send("PUT", "/api/functions/digits/recording", body)
        check(reply.status == 400 and holds in reply.body.decode(), f"{body}: {reply.body.decode().strip()[:100]}", reply)
    world.node.command("record", "digits", "--calls", "5")
    check("no call is recorded yet" in world.fails("record", "digits", "-o", str(world.folder / "none.npz")), "nothing to write is said")
    world.node.command("record", "digits", "--off")
    code = world.folder / "code"
    code.mkdir()
    (code / "app.py").write_text("def handler(event, context):\n    return event\n")
    (code / "function.yaml").write_text("name: echo\nruntime: python3.11\nhandler: app.handler\n")
    done = subprocess.run([world.binary, "deploy", str(code), "--url", world.node.url], capture_output=True, text=True, timeout=60)
    if done.returncode == 0:
        check("is code" in world.fails("record", "echo", "--calls", "5"), "code has no samples of a model")


if __name__ == "__main__":
    main(World, globals())
