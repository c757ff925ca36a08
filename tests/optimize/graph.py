#!/usr/bin/env python3
"""The steps of src/optimize on whole models, run by the engine, beside ONNX Runtime's own quantiser on the same model and inputs.

    build/venv/bin/python tests/optimize/graph.py [--apply build/dev/optimize_apply] [NAME ...]

Each test_... below is one; NAME picks some. Exits 1 where one fails. ONNX Runtime's Python package is fetched by name into
build/optimize-packages. MiniLM is taken from build/models (examples/get_models.py makes it); without it those tests are skipped.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ["onnxruntime==1.22.1", "sympy==1.13.3", "mpmath==1.3.0", "flatbuffers==25.2.10", "packaging==25.0", "coloredlogs==15.0.1",
            "humanfriendly==10.0"]
FOLDER = ROOT / "build" / "optimize-packages"
if not (FOLDER / "onnxruntime").exists():
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target", FOLDER, *PACKAGES], check=True)
sys.path.append(str(FOLDER))

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

FLOAT = TensorProto.FLOAT
MINILM = ROOT / "build" / "models" / "sentences" / "model.onnx"


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def check(truth, what):
    if not truth:
        raise Failed(what)


class World:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.made = binary, folder, {}

    def apply(self, model, recipe, expect=0):
        out = self.folder / f"{pathlib.Path(model).stem}-{recipe.replace(':', '_').replace(',', '+')}.onnx"
        run = subprocess.run([self.binary, model, recipe, out], capture_output=True, text=True)
        check(run.returncode == expect, f"{recipe}: exit {run.returncode}, {run.stderr}")
        if expect == 0 and recipe != "measure":  # the checker wants shapes of outputs, which nobody knows before a run
            onnx.checker.check_model(str(out))
        return out, run.stdout + run.stderr

    def save(self, name, nodes, inputs, outputs, constants, opset=17):
        path = self.folder / f"{name}.onnx"
        value = helper.make_tensor_value_info
        graph = helper.make_graph(nodes, name, [value(*one) for one in inputs], [value(*one) for one in outputs],
                                  [numpy_helper.from_array(array, key) for key, array in constants.items()])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
        return path

    def perceptron(self, hidden=256):
        """64 -> hidden -> 10 by Gemm (transB), with weights like trained ones: a few neurons matter much."""
        rng = np.random.default_rng(3)
        size = np.exp(rng.standard_normal(hidden)).astype(np.float32)
        constants = {"w1": (rng.standard_normal((hidden, 64)) / 8).astype(np.float32) * size[:, None], "b1": rng.standard_normal(hidden).astype(np.float32) / 9,
                     "w2": rng.standard_normal((10, hidden)).astype(np.float32) / 16 * size, "b2": rng.standard_normal(10).astype(np.float32)}
        nodes = [helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first", transB=1), helper.make_node("Relu", ["h"], ["r"], name="relu"),
                 helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], name="second", transB=1)]
        return self.save("perceptron", nodes, [("x", FLOAT, ["n", 64])], [("y", FLOAT, ["n", 10])], constants)

    def convolutions(self):
        rng = np.random.default_rng(4)
        c = lambda *shape: (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        size = np.exp(rng.standard_normal(32)).astype(np.float32)
        constants = {"c1": c(32, 3, 3, 3) * size[:, None, None, None], "b1": np.zeros(32, np.float32), "g": np.ones(32, np.float32), "s": np.zeros(32, np.float32),
                     "m": np.zeros(32, np.float32), "v": np.ones(32, np.float32), "d": c(32, 1, 3, 3), "c2": c(16, 32, 1, 1), "c3": c(16, 16, 3, 3), "w": c(16, 10)}
        node = helper.make_node
        nodes = [node("Conv", ["x", "c1", "b1"], ["a"], pads=[1] * 4), node("BatchNormalization", ["a", "g", "s", "m", "v"], ["n1"]), node("Relu", ["n1"], ["r"]),
                 node("Conv", ["r", "d"], ["e"], group=32, pads=[1] * 4), node("Relu", ["e"], ["f"]), node("Conv", ["f", "c2"], ["k"]),
                 node("Conv", ["k", "c3"], ["l"], pads=[1] * 4), node("Add", ["k", "l"], ["j"]),
                 node("GlobalAveragePool", ["j"], ["p"]), node("Flatten", ["p"], ["q"]), node("MatMul", ["q", "w"], ["y"])]
        return self.save("convolutions", nodes, [("x", FLOAT, ["n", 3, 16, 16])], [("y", FLOAT, ["n", 10])], constants)


def answers(model, inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return [np.asarray(one) for one in session.run(None, inputs)]


def cosine(a, b):
    a, b = a.reshape(len(a), -1).astype(np.float64), b.reshape(len(b), -1).astype(np.float64)
    return float(np.mean(np.sum(a * b, 1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))))


def rows(count, width, seed=5):
    return {"x": np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)}


def pictures():
    return {"x": np.random.default_rng(6).standard_normal((8, 3, 16, 16)).astype(np.float32)}


def sentences():
    """Rows of words as the model's tokenizer numbers them: a start, words, an end, and nothing behind it."""
    if not MINILM.exists():
        raise Skipped("no build/models/sentences: examples/get_models.py makes it")
    rng = np.random.default_rng(7)
    ids, mask = np.zeros((24, 24), np.int64), np.zeros((24, 24), np.int64)
    for row in range(24):
        length = int(rng.integers(5, 24))
        ids[row, :length], mask[row, :length] = rng.integers(1996, 12000, length), 1
        ids[row, 0], ids[row, length - 1] = 101, 102
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def compare_dynamic(world, model, inputs):
    ours, _ = world.apply(model, "fold,int8-dynamic")
    theirs = world.folder / "theirs.onnx"
    quantize_dynamic(model, theirs, weight_type=QuantType.QInt8, per_channel=True)
    exact = answers(model, inputs)[0]
    size, their_size = ours.stat().st_size, theirs.stat().st_size
    mine, their = cosine(exact, answers(ours, inputs)[0]), cosine(exact, answers(theirs, inputs)[0])
    print(f"    int8-dynamic: {size:,} bytes, cosine {mine:.5f}; onnxruntime.quantization {their_size:,}, {their:.5f}")
    return size, their_size, mine, their


def test_int8_dynamic_of_minilm(world):
    size, their_size, mine, their = compare_dynamic(world, MINILM, sentences())
    check(size <= their_size * 1.02, f"{size} bytes, theirs {their_size}")
    check(mine >= their, f"cosine {mine}, theirs {their}")
    check(size <= 0.3 * MINILM.stat().st_size, "not below 30 % of the original")


def test_int8_dynamic_of_a_perceptron(world):
    size, their_size, mine, their = compare_dynamic(world, world.perceptron(4096), rows(256, 64))
    check(size <= their_size * 1.02, f"{size} bytes, theirs {their_size}")
    check(mine >= their - 1e-4, f"cosine {mine}, theirs {their}")


def static_int8(world, model, inputs):
    more, names = world.apply(model, "measure")
    session = onnxruntime.InferenceSession(str(more), providers=["CPUExecutionProvider"])
    found = dict(zip([one.name for one in session.get_outputs()], session.run(None, inputs))) | inputs
    ranges = world.folder / "ranges"
    ranges.write_text("".join(f"{name} {found[name].min()} {found[name].max()}\n" for name in names.split()))
    out = world.folder / f"{model.stem}-static.onnx"
    run = subprocess.run([world.binary, model, f"@{ranges}", out], capture_output=True, text=True)
    check(run.returncode == 0, run.stderr)
    onnx.checker.check_model(str(out))
    return out, run.stdout


class Samples:
    """As onnxruntime's quantiser wants them."""
    def __init__(self, inputs):
        self.rest = [inputs]

    def get_next(self):
        return self.rest.pop() if self.rest else None


def test_static_int8_of_convolutions(world):
    from onnxruntime.quantization import QuantFormat, quantize_static
    model, inputs = world.convolutions(), pictures()
    ours, said = static_int8(world, model, inputs)
    theirs = world.folder / "theirs-static.onnx"
    quantize_static(model, theirs, Samples(inputs), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    exact = answers(model, inputs)[0]
    mine, their = cosine(exact, answers(ours, inputs)[0]), cosine(exact, answers(theirs, inputs)[0])
    print(f"    static int8: {ours.stat().st_size:,} bytes, cosine {mine:.5f}; onnxruntime.quantization {theirs.stat().st_size:,}, {their:.5f}")
    check("7 changed" in said or "8 changed" in said, said)
    check(mine >= their - 0.001, f"cosine {mine}, theirs {their}")
    # The engine takes it as 8-bit kernels, not as floats between two conversions.
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(world.folder / "optimised.onnx")
    onnxruntime.InferenceSession(str(ours), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(world.folder / "optimised.onnx").graph.node]
    check(kinds.count("QLinearConv") == 4 and "Conv" not in kinds, f"the engine runs {kinds}")


def test_static_int8_of_a_perceptron(world):
    model, inputs = world.perceptron(1024), rows(256, 64)
    ours, said = static_int8(world, model, inputs)
    close = cosine(answers(model, inputs)[0], answers(ours, inputs)[0])
    check("2 changed" in said and close > 0.998, f"{said}, cosine {close}")
    check(ours.stat().st_size < 0.3 * model.stat().st_size, f"{ours.stat().st_size} bytes")


def test_fold_changes_no_answer(world):
    for model, inputs in ((world.perceptron(), rows(9, 64)), (world.convolutions(), pictures())):
        folded, _ = world.apply(model, "fold")
        check(np.array_equal(answers(model, inputs)[0], answers(folded, inputs)[0]), f"{model.name}: other answers")


def test_weights_in_fewer_bits(world):
    model, inputs = world.perceptron(1024), rows(64, 64)
    exact = answers(model, inputs)[0]
    for recipe, share, least in (("fp16", 0.51, 0.999999), ("bf16", 0.51, 0.9999), ("int8-weights", 0.29, 0.9995),
                                ("int4-weights:32", 0.2, 0.99)):
        small, _ = world.apply(model, recipe)
        close = cosine(exact, answers(small, inputs)[0])
        check(small.stat().st_size < share * model.stat().st_size, f"{recipe}: {small.stat().st_size} bytes")
        check(close >= least, f"{recipe}: cosine {close}")


def test_weights_of_minilm_in_fewer_bits(world):
    inputs = sentences()
    exact = answers(MINILM, inputs)[0]
    for recipe, least in (("fp16", 0.99999), ("int8-weights", 0.998), ("int4-weights:32", 0.95)):
        small, _ = world.apply(MINILM, recipe)
        close = cosine(exact, answers(small, inputs)[0])
        print(f"    {recipe}: {small.stat().st_size:,} bytes, cosine {close:.5f}")
        check(close >= least, f"{recipe}: cosine {close}")


def test_pruned_neurons_are_the_least(world):
    model, inputs = world.perceptron(), rows(64, 64)
    exact = answers(model, inputs)[0]
    cut, said = world.apply(model, "prune-neurons:0.3")
    check("76 neurons are gone" in said, said)
    weights = {one.name: numpy_helper.to_array(one) for one in onnx.load(cut).graph.initializer}
    check(weights["w1"].shape == (180, 64) and weights["w2"].shape == (10, 180) and weights["b1"].shape == (180,), "other shapes")
    by_worth = cosine(exact, answers(cut, inputs)[0])
    check(by_worth > 0.98, f"cosine {by_worth}")
    # The same number by chance does worse: it is the choice that keeps the answers.
    made = onnx.load(model)
    kept = np.sort(np.random.default_rng(1).permutation(256)[:180])
    for tensor in made.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name in ("w1", "b1", "w2"):
            tensor.CopyFrom(numpy_helper.from_array(array[kept] if tensor.name != "w2" else array[:, kept], tensor.name))
    onnx.save(made, world.folder / "chance.onnx")
    by_chance = cosine(exact, answers(world.folder / "chance.onnx", inputs)[0])
    check(by_worth > by_chance, f"{by_worth}, by chance {by_chance}")


def test_pruned_neurons_of_minilm(world):
    inputs = sentences()
    cut, said = world.apply(MINILM, "prune-neurons:0.1")
    check("prune-neurons:0.1: 6 changed" in said, said[:600])
    close = cosine(answers(MINILM, inputs)[0], answers(cut, inputs)[0])
    print(f"    prune-neurons:0.1: {cut.stat().st_size:,} bytes, cosine {close:.5f}")
    check(close > 0.9, f"cosine {close}")


def without_heads(model, output_weights, gone, width, path):
    """The model with these heads' rows of the output weights zero: what one without these heads must answer."""
    made = onnx.load(model)
    for tensor in made.graph.initializer:
        if tensor.name in gone and tensor.name in output_weights:
            array = numpy_helper.to_array(tensor).copy()
            for head in gone[tensor.name]:
                array[head * width:(head + 1) * width] = 0
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(made, path)
    return path


def test_pruned_heads_of_minilm(world):
    inputs = sentences()
    cut, said = world.apply(MINILM, "prune-heads:0.25")
    check("prune-heads:0.25: 6 changed" in said and "18 of 72 heads are gone" in said, said[:600])
    weights, rest = ({one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer} for path in (MINILM, cut))
    names = [f"encoder.layer.{i}.attention.output.dense.weight" for i in range(6)]
    gone = {}
    for name in names:
        check(rest[name].shape == (288, 384), f"{name} is {rest[name].shape}")
        heads, kept = weights[name].reshape(12, 32, 384), rest[name].reshape(9, 32, 384)
        gone[name] = [i for i in range(12) if not any(np.array_equal(heads[i], one) for one in kept)]
        worth = [np.linalg.norm(weights[name.replace("output.dense", "self.value")][:, i * 32:(i + 1) * 32] @ heads[i]) for i in range(12)]
        check(sorted(gone[name]) == sorted(np.argsort(worth)[:3]), f"{name}: {gone[name]} left, {worth}")
    zeroed = without_heads(MINILM, names, gone, 32, world.folder / "zeroed.onnx")
    expected, seen, exact = answers(zeroed, inputs)[0], answers(cut, inputs)[0], answers(MINILM, inputs)[0]
    check(np.abs(expected - seen).max() < 1e-4, f"other answers than without those heads: {np.abs(expected - seen).max()}")
    print(f"    prune-heads:0.25: {cut.stat().st_size:,} bytes, cosine {cosine(exact, seen):.5f}")
    small, _ = world.apply(MINILM, "prune-heads:0.1,prune-neurons:0.05,int8-dynamic")
    check(cosine(exact, answers(small, inputs)[0]) > 0.85, "with the other steps behind it")


def fused_attention(world, name="fused", more=(), outputs=("a",), **attributes):
    """com.microsoft's Attention of 8 heads and a product behind it; `more`: names of its inputs behind the bias, each with type and shape."""
    rng = np.random.default_rng(9)
    c = lambda *shape: rng.standard_normal(shape).astype(np.float32) / 8
    constants = {"w": c(64, 192), "b": c(192), "wo": c(64, 64)}
    named = [one[0] if one else "" for one in more]
    nodes = [helper.make_node("Attention", ["x", "w", "b", *named], list(outputs), name="attention", domain="com.microsoft", num_heads=8, **attributes),
             helper.make_node("MatMul", ["a", "wo"], ["y"], name="out")]
    ends = [("y", FLOAT, ["n", "s", 64])] + [(one, FLOAT, [2, "n", 8, "t", 8]) for one in outputs[1:]]
    path = world.save(name, nodes, [("x", FLOAT, ["n", "s", 64]), *filter(None, more)], ends, constants)
    made = onnx.load(path)
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(made, path)
    return path, constants, {"x": rng.standard_normal((2, 5, 64)).astype(np.float32)}


def test_pruned_heads_of_the_fused_node(world):
    path, constants, inputs = fused_attention(world)
    cut, said = world.apply(path, "prune-heads:0.5")
    check("4 of 8 heads are gone" in said, said)
    heads, kept = constants["wo"].reshape(8, 8, 64), numpy_helper.to_array(next(t for t in onnx.load(cut).graph.initializer if t.name == "wo")).reshape(4, 8, 64)
    gone = {"wo": [i for i in range(8) if not any(np.array_equal(heads[i], one) for one in kept)]}
    expected = answers(without_heads(path, ["wo"], gone, 8, world.folder / "fused_zeroed.onnx"), inputs)[0]
    check(np.abs(expected - answers(cut, inputs)[0]).max() < 1e-5, "other answers than without those heads")


def test_int8_of_the_fused_node(world):
    past = np.random.default_rng(3).standard_normal((2, 2, 8, 4, 8)).astype(np.float32)
    forms = {
        "plain": ((), ("a",), {}, {}),
        "masked": ((("mask", TensorProto.INT32, ["n", "s"]),), ("a",), {}, {"mask": np.array([[1, 1, 1, 0, 0], [1] * 5], np.int32)}),
        "lengths": ((("mask", TensorProto.INT32, ["n"]),), ("a",), {}, {"mask": np.array([3, 5], np.int32)}),
        "of_pairs": ((("mask", TensorProto.INT32, ["n", "s", "s"]),), ("a",), {}, {"mask": np.tile(np.tri(5, dtype=np.int32), (2, 1, 1))}),
        "scaled": ((), ("a",), {"scale": 0.9, "unidirectional": 1}, {}),
        "with_past": (((), ("past", FLOAT, [2, "n", 8, "p", 8])), ("a", "present"), {"unidirectional": 1}, {"past": past}),
    }
    for name, (more, outputs, attributes, also) in forms.items():
        path, _, inputs = fused_attention(world, f"fused_{name}", more, outputs, **attributes)
        inputs |= also
        size, their_size, mine, their = compare_dynamic(world, path, inputs)
        check(size <= their_size * 1.02, f"{name}: {size} bytes, theirs {their_size}")
        check(mine >= min(their - 1e-4, 0.9999) and mine > 0.999, f"{name}: cosine {mine}, theirs {their}")
        stored, _ = world.apply(path, "int8-weights")
        for exact, seen in zip(answers(path, inputs), answers(stored, inputs)):
            check(cosine(exact, seen) > 0.999, f"{name}: {cosine(exact, seen)} by int8-weights")


def test_pruned_channels(world):
    model, inputs = world.convolutions(), pictures()
    cut, said = world.apply(model, "prune-channels:0.25")
    weights = {one.name: numpy_helper.to_array(one).shape for one in onnx.load(cut).graph.initializer}
    check(weights["c1"] == (24, 3, 3, 3) and weights["d"] == (24, 1, 3, 3) and weights["c2"] == (16, 24, 1, 1), said)
    close = cosine(answers(model, inputs)[0], answers(cut, inputs)[0])
    check(close > 0.8, f"cosine {close}")


def test_low_rank_is_the_best_of_its_rank(world):
    rng = np.random.default_rng(8)
    weights = (rng.standard_normal((96, 128)) * np.geomspace(1, 0.01, 128)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")]
    model = world.save("matrix", nodes, [("x", FLOAT, ["n", 96])], [("y", FLOAT, ["n", 128])], {"w": weights})
    thin, _ = world.apply(model, "low-rank:0.5")
    left, right = (numpy_helper.to_array(one) for one in onnx.load(thin).graph.initializer)
    u, s, v = np.linalg.svd(weights)
    rank = left.shape[1]
    best = np.linalg.norm(weights - (u[:, :rank] * s[:rank]) @ v[:rank])
    check(rank == 27, f"rank {rank}")
    check(np.linalg.norm(weights - left @ right) <= best * 1.001 + 1e-5, "not the best of its rank")


def test_steps_after_one_another(world):
    inputs = sentences()
    small, _ = world.apply(MINILM, "fold,prune:0.2,prune-neurons:0.05,int8-dynamic,shape:n=24" if has_dimension("n") else "fold,prune:0.2,prune-neurons:0.05,int8-dynamic")
    close = cosine(answers(MINILM, inputs)[0], answers(small, inputs)[0])
    print(f"    in a row: {small.stat().st_size:,} bytes, cosine {close:.5f}")
    check(close > 0.85, f"cosine {close}")


def has_dimension(name):
    return any(dim.dim_param == name for one in onnx.load(MINILM).graph.input for dim in one.type.tensor_type.shape.dim)


def test_a_full_disk_leaves_nothing(world):
    if os.geteuid() != 0:
        raise Skipped("only root can mount a small disk")
    disk = world.folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode != 0:
        raise Skipped("no mount here")
    try:
        model = world.perceptron(4096)
        run = subprocess.run([world.binary, model, "fold", disk / "out.onnx"], capture_output=True, text=True)
        check(run.returncode == 1 and "space" in run.stderr.lower(), run.stderr)
        check(not list(disk.iterdir()), f"left: {list(disk.iterdir())}")
    finally:
        subprocess.run(["umount", disk], check=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--apply", default=ROOT / "build" / "dev" / "optimize_apply", type=pathlib.Path)
    arguments.add_argument("names", nargs="*")
    given = arguments.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        world = World(given.apply.resolve(), pathlib.Path(folder))
        for name, test in [(name, test) for name, test in globals().items() if name.startswith("test_")]:
            if given.names and not any(one in name for one in given.names):
                continue
            try:
                print(f"{name}", flush=True)
                test(world)
                print("  ok", flush=True)
            except Skipped as why:
                print(f"  skipped: {why}")
            except Failed as why:
                failed += 1
                print(f"  FAILED: {why}", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
