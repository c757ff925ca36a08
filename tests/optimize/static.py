#!/usr/bin/env python3
"""Static int8 and layers that are kept back, by `mayfly optimize` from outside, beside onnxruntime.quantization on the same samples.

    build/venv/bin/python tests/optimize/static.py --mayfly build/mayfly [NAME …]

Each test_… below is one; NAME picks some. Exits 1 where one fails. The models are made here: a convolutional network that numpy trains on
scikit-learn's digits, and a small ResNet of random weights. ONNX Runtime's Python package is fetched by tests/optimize/graph.py.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import graph  # noqa: E402  (it brings onnxruntime)
import run  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static  # noqa: E402

METHODS = {"": CalibrationMethod.MinMax, ":percentile": CalibrationMethod.Percentile, ":entropy": CalibrationMethod.Entropy}
check = graph.check


def columns(x, stride):
    """The 3x3 surroundings of each place, padded by one: [n, c * 9, places]."""
    n, c, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    high, wide = (height + stride - 1) // stride, (width + stride - 1) // stride
    parts = [padded[:, :, i:i + height:stride, j:j + width:stride] for i in range(3) for j in range(3)]
    return np.stack(parts, 2).reshape(n, c * 9, high * wide), (high, wide)


def back_to_places(gradient, shape, stride):
    n, c, height, width = shape
    padded = np.zeros((n, c, height + 2, width + 2), np.float32)
    parts = gradient.reshape(n, c, 9, (height + stride - 1) // stride, (width + stride - 1) // stride)
    for k in range(9):
        padded[:, :, k // 3:k // 3 + height:stride, k % 3:k % 3 + width:stride] += parts[:, :, k]
    return padded[:, :, 1:-1, 1:-1]


def train(x, y, channels=(32, 64), epochs=12):
    """Two convolutions with Relu and a product, by Adam on the cross-entropy: [weights, biases] of each."""
    rng = np.random.default_rng(3)
    sizes = [(channels[0], 9), (channels[1], channels[0] * 9), (10, channels[1] * 16)]
    values = [part for size in sizes for part in (rng.normal(0, np.sqrt(2 / size[1]), size).astype(np.float32), np.zeros(size[0], np.float32))]
    means, squares, step = [np.zeros_like(v) for v in values], [np.zeros_like(v) for v in values], 0
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for begin in range(0, len(x), 64):
            some, right = x[order[begin:begin + 64]], y[order[begin:begin + 64]]
            w1, b1, w2, b2, w3, b3 = values
            c1, _ = columns(some, 1)
            h1 = np.maximum(w1 @ c1 + b1[:, None], 0).reshape(len(some), -1, 8, 8)
            c2, _ = columns(h1, 2)
            h2 = np.maximum(w2 @ c2 + b2[:, None], 0)
            flat = h2.reshape(len(some), -1)
            logits = flat @ w3.T + b3
            odds = np.exp(logits - logits.max(1, keepdims=True))
            odds /= odds.sum(1, keepdims=True)
            odds[np.arange(len(some)), right] -= 1
            odds /= len(some)
            g2 = (odds @ w3).reshape(h2.shape) * (h2 > 0)
            g1 = back_to_places(np.einsum("oc,nop->ncp", w2, g2), h1.shape, 2) * (h1 > 0)
            g1 = g1.reshape(len(some), -1, 64)
            gradients = [np.einsum("nop,ncp->oc", g1, c1), g1.sum((0, 2)), np.einsum("nop,ncp->oc", g2, c2), g2.sum((0, 2)), odds.T @ flat, odds.sum(0)]
            step += 1
            for value, gradient, mean, square in zip(values, gradients, means, squares):
                mean += 0.1 * (gradient - mean)
                square += 0.001 * (gradient ** 2 - square)
                value -= 0.002 * (mean / (1 - 0.9 ** step)) / (np.sqrt(square / (1 - 0.999 ** step)) + 1e-8)
    return values


def save(path, nodes, constants, inputs, outputs):
    value = helper.make_tensor_value_info
    made = helper.make_graph(nodes, "model", [value(n, TensorProto.FLOAT, s) for n, s in inputs], [value(n, TensorProto.FLOAT, s) for n, s in outputs],
                             [numpy_helper.from_array(np.ascontiguousarray(v, np.float32), n) for n, v in constants.items()])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


class World:
    def __init__(self, binary):
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
        self.binary = str(pathlib.Path(binary).resolve())
        self.kept = tempfile.TemporaryDirectory(prefix="mayfly-static-")
        folder = self.folder = pathlib.Path(self.kept.name)
        data = load_digits()
        x = (data.images / 16).astype(np.float32)[:, None]
        x_train, self.x, y_train, self.y = train_test_split(x, data.target, test_size=0.5, random_state=7)
        w1, b1, w2, b2, w3, b3 = train(x_train, y_train)
        self.digits, self.data = folder / "digits.onnx", folder / "digits.npz"
        node = helper.make_node
        conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
        save(self.digits, [node("Conv", ["image", "w1", "b1"], ["c1"], "first", **conv), node("Relu", ["c1"], ["r1"], "relu1"),
                           node("Conv", ["r1", "w2", "b2"], ["c2"], "second", strides=[2, 2], **conv), node("Relu", ["c2"], ["r2"], "relu2"),
                           node("Flatten", ["r2"], ["f"], "flatten"), node("Gemm", ["f", "w3", "b3"], ["logits"], "last", transB=1)],
             {"w1": w1.reshape(-1, 1, 3, 3), "b1": b1, "w2": w2.reshape(len(w2), -1, 3, 3), "b2": b2, "w3": w3, "b3": b3},
             [("image", ["n", 1, 8, 8])], [("logits", ["n", 10])])
        np.savez(self.data, image=self.x, label=self.y)

    def run(self, *arguments, status=0):
        done = subprocess.run([self.binary, "optimize", *map(str, arguments)], capture_output=True, text=True, timeout=400)
        check(done.returncode == status, f"exit status {done.returncode} instead of {status}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done

    def report(self, *arguments, status=0):
        return json.loads(self.run(*arguments, "--json", status=status).stdout)

    def resnet(self, blocks=4, width=64):
        """Blocks of two convolutions and a sum, as in ResNet, of random weights, each scaled to keep the values' size."""
        rng, node = np.random.default_rng(5), helper.make_node
        constants, nodes = {}, []

        def conv(name, source, out, into, relu=True):
            constants[name] = rng.normal(0, np.sqrt(2 / (into * 9)), (out, into, 3, 3))
            constants[name + "_bias"] = rng.normal(0, 0.1, out)
            nodes.append(node("Conv", [source, name, name + "_bias"], [name + "_c"], name + "_node", kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
            if relu:
                nodes.append(node("Relu", [name + "_c"], [name + "_r"]))
            return name + ("_r" if relu else "_c")

        value = conv("stem", "image", width, 3)
        for i in range(blocks):
            inner = conv(f"b{i}b", conv(f"b{i}a", value, width, width), width, width, relu=False)
            nodes += [node("Add", [inner, value], [f"s{i}"]), node("Relu", [f"s{i}"], [f"v{i}"])]
            value = f"v{i}"
        constants["head"], constants["head_bias"] = rng.normal(0, 0.05, (width, 32)), rng.normal(0, 0.1, 32)
        nodes += [node("GlobalAveragePool", [value], ["pooled"]), node("Flatten", ["pooled"], ["flat"]), node("Gemm", ["flat", "head", "head_bias"], ["features"])]
        path = self.folder / "resnet.onnx"
        save(path, nodes, constants, [("image", ["n", 3, 24, 24])], [("features", ["n", 32])])
        return path


def theirs(world, model, inputs, method, name):
    out = world.folder / f"theirs-{name}.onnx"
    quantize_static(model, out, graph.Samples(inputs), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8, calibrate_method=method)
    return out


def milliseconds(models, inputs):
    """The median of single runs, in turns, so that all meet the same machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"]) for model in models]
    times = [[] for _ in models]
    one = {name: value[:1] for name, value in inputs.items()}
    for _ in range(60):
        for session, taken in zip(sessions, times):
            begun = time.perf_counter()
            session.run(None, one)
            taken.append(time.perf_counter() - begun)
    return [1e3 * float(np.median(taken)) for taken in times]


def calibration_of(x, keeps=300, most=100):
    """The samples that mayfly optimize measures ranges on: spread evenly (src/gate/split.cpp)."""
    take = min(most, len(x) - keeps)
    picked, rest = [], []
    for i in range(len(x)):
        (picked if len(picked) < take and i * take >= len(picked) * len(x) else rest).append(i)
    return picked, rest


def test_digits_with_labels(world):
    picked, rest = calibration_of(world.x)
    for method, their_method in METHODS.items():
        output = world.folder / "small.onnx"
        report = world.report(world.digits, "--recipe", f"int8-static{method}", "--data", world.data, "-o", output, "--accuracy-drop-max", "2%")
        original, row = report["candidates"]
        other = theirs(world, world.digits, {"image": world.x[picked]}, their_method, "digits")
        right = [float((graph.answers(m, {"image": world.x[rest]})[0].argmax(1) == world.y[rest]).mean()) for m in (world.digits, output, other)]
        print(f"    int8-static{method}: {row['size']:,} bytes, accuracy {right[0]:.4f} -> {right[1]:.4f}; theirs {other.stat().st_size:,}, {right[2]:.4f}")
        check(report["samples"] == len(rest) and "none of which is compared on" in report["calibration"], f"apart: {report['calibration']}")
        check(abs(row["comparisons"][0]["candidate"] - right[1]) < 0.004, f"the gate's accuracy {row['comparisons'][0]['candidate']} is what is measured here")
        check(row["gate"] == "passed" and right[0] > 0.95, f"it passes: {row['why']}")
        # A candidate that is really as good has a difference within the interval of the paired comparison.
        spread = row["comparisons"][0]["high"] - row["comparisons"][0]["value"]
        check(right[1] >= right[2] - spread, f"no less right than theirs: {right}")
        check(output.stat().st_size <= 1.02 * other.stat().st_size, f"{output.stat().st_size} bytes, theirs {other.stat().st_size}")
        check(row["size"] < 0.4 * original["size"], f"{original['size']} -> {row['size']}")
        check(any("measured on 100 samples" in note for note in row["notes"]), f"the report says what it measured: {row['notes']}")


def test_a_resnet(world):
    model = world.resnet()
    x = np.random.default_rng(11).normal(0, 1, (400, 3, 24, 24)).astype(np.float32)
    np.savez(world.folder / "pictures.npz", image=x)
    picked, rest = calibration_of(x)
    output = world.folder / "resnet-small.onnx"
    report = world.report(model, "--recipe", "int8-static", "--data", world.folder / "pictures.npz", "-o", output, "--compare", "values", "--same-min", "98%")
    row = report["candidates"][1]
    other = theirs(world, model, {"image": x[picked]}, CalibrationMethod.MinMax, "resnet")
    inputs = {"image": x[rest][:64]}
    exact, mine, their = (graph.answers(m, inputs)[0] for m in (model, output, other))
    near = [graph.cosine(exact, mine), graph.cosine(exact, their)]
    spent = milliseconds([model, output, other], inputs)
    print(f"    {model.stat().st_size:,} -> {output.stat().st_size:,} bytes (theirs {other.stat().st_size:,}), cosine {near[0]:.5f} (theirs {near[1]:.5f}), "
          f"{spent[0]:.2f} -> {spent[1]:.2f} ms (theirs {spent[2]:.2f})")
    check(row["gate"] == "passed", row["why"])
    check(output.stat().st_size <= 1.02 * other.stat().st_size, "no larger than theirs by 2 %")
    check(near[0] >= near[1] - 0.002, f"no further off than theirs: {near}")
    check(spent[1] <= 1.6 * spent[2], f"not much slower than theirs: {spent}")


def test_auto_takes_static_for_convolutions(world):
    done = world.report(world.resnet(blocks=2), "--time-max", "2m", "-o", world.folder / "auto.onnx", "--goal", "size")
    names = [row["recipe"] for row in done["candidates"]]
    check(names[1] == "int8-static,compile", f"static comes first: {names}")
    check("made-up" in done["calibration"], f"made-up samples are said: {done['calibration']}")
    taken = next(row for row in done["candidates"] if row["chosen"])
    check("int8" in taken["recipe"], f"{taken['recipe']} is taken")


def test_few_samples_are_said(world):
    few = world.folder / "few.npz"
    np.savez(few, image=world.x[:40], label=world.y[:40])
    report = world.report(world.digits, "--recipe", "int8-static", "--data", few, "-o", world.folder / "few.onnx", status=1)
    check("too few to keep them apart" in report["calibration"] and report["samples"] == 40, report["calibration"])


def test_weights_that_fit(world):
    """Samples of their own say how weights are rounded; what the others answer is much nearer than with the nearest numbers."""
    plain = world.folder / "unlabelled.npz"
    np.savez(plain, image=world.x)
    arguments = ("--data", plain, "--compare", "values", "-o", world.folder / "fit.onnx")
    recipes = [word for recipe in ("int8-weights", "int8-weights:fit", "int8-weights:fit,fp16", "int8-static", "int8-static:fit") for word in ("--recipe", recipe)]
    report = world.report(world.digits, *recipes, *arguments)
    rows = {row["recipe"]: row for row in report["candidates"]}
    distance = {name: row["comparisons"][0]["distance_mean"] for name, row in rows.items()}
    print(f"    mean distances {distance}")
    check("none of which is compared on" in report["calibration"], report["calibration"])
    check(distance["int8-weights:fit"] < 0.6 * distance["int8-weights"], "weights that fit are nearer than the nearest numbers")
    check(rows["int8-weights:fit"]["size"] < 1.02 * rows["int8-weights"]["size"], "and no larger")
    check(rows["int8-weights:fit,fp16"]["size"] < rows["int8-weights:fit"]["size"], "what stays out of 8 bits is stored in 16")
    check(any("2 of 2 layers" in note for note in rows["int8-weights:fit"]["notes"]), f"{rows['int8-weights:fit']['notes']}")
    check(rows["int8-static:fit"]["gate"] == "passed", f"{rows['int8-static:fit']['why']}")
    output = world.folder / "fit-static.onnx"
    world.run(world.digits, "--recipe", "int8-static:fit", "--data", world.data, "--accuracy-drop-max", "2%", "-o", output)
    whole = [numpy_helper.to_array(t) for t in onnx.load(output).graph.initializer if t.data_type == TensorProto.INT8 and len(t.dims) > 1]
    check(len(whole) == 3 and max(abs(w.astype(int)).max() for w in whole) == 63, "its weights are of 7 bits")
    rows = {name: session_answers(output, world.x, level) for name, level in (("plain", "ORT_DISABLE_ALL"), ("kernels", "ORT_ENABLE_ALL"))}
    off = np.abs(rows["plain"] - rows["kernels"]).mean() / np.abs(rows["plain"]).mean()
    print(f"    8-bit kernels against the same in 32 bits: {off:.5f}")
    check(off < 0.01, "so no kernel of any processor overflows")


def session_answers(path, x, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, {"image": x})[0]


def spoiled(world):
    """The digits' network with a layer before it that 8 bits can't hold: one channel is a thousand times the others."""
    made = onnx.load(world.digits)
    tensors = {t.name: t for t in made.graph.initializer}
    w1, b1, w2 = (numpy_helper.to_array(tensors[n]).copy() for n in ("w1", "b1", "w2"))
    large = np.ones(len(w1), np.float32)
    large[0] = 3000
    for name, value in (("w1", w1 * large[:, None, None, None]), ("b1", b1 * large), ("w2", w2 / large[None, :, None, None])):
        tensors[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
    path = world.folder / "spoiled.onnx"
    onnx.save(made, path)
    return path


def test_layers_that_hurt_are_kept(world):
    model = spoiled(world)
    plain = world.report(model, "--recipe", "int8-static", "--data", world.data, "-o", world.folder / "plain.onnx", "--accuracy-drop-max", "2%", status=1)
    check(plain["candidates"][1]["gate"] == "failed", f"8 bits for all of it fail: {plain['candidates'][1]['why']}")
    output = world.folder / "kept.onnx"
    arguments = (model, "--recipe", "int8-static,keep", "--data", world.data, "-o", output, "--accuracy-drop-max", "2%")
    row = world.report(*arguments)["candidates"][1]
    print("    " + "; ".join(row["kept"]))
    check(row["gate"] == "passed" and row["kept"], f"with some kept it passes: {row['why']}")
    check(any(line.startswith(("first", "second")) for line in row["kept"]), f"the layers around the large channel are kept: {row['kept']}")
    check(row["size"] < model.stat().st_size, f"it is still smaller: {row['size']}")
    kept = {line.split(":")[0] for line in row["kept"]}
    floats = {n.name for n in onnx.load(output).graph.node if n.op_type in ("Conv", "Gemm") and n.input[1] in ("w1", "w2", "w3")}
    check(floats == kept & {"first", "second", "last"}, f"and just those are in 32 bits: {floats}, {kept}")
    check("kept out of 8 bits: " in world.run(*arguments).stdout, "the report for people says so")


def products(world, name, large):
    """Three products; of the values before the second the first `large` are 20,000 times the others, its rows of weights that much smaller."""
    rng, node = np.random.default_rng(2), helper.make_node
    x = rng.normal(0, 1, (400, 64)).astype(np.float32)
    huge = np.ones(256, np.float32)
    huge[:large] = 20000
    save(world.folder / f"{name}.onnx", [node("MatMul", ["x", "a"], ["p"], "first"), node("Relu", ["p"], ["r"]), node("MatMul", ["r", "b"], ["q"], "second"),
                                         node("Relu", ["q"], ["s"]), node("MatMul", ["s", "c"], ["y"], "third")],
         {"a": rng.normal(0, 0.1, (64, 256)) * huge, "b": rng.normal(0, 0.1, (256, 256)) / huge[:, None], "c": rng.normal(0, 0.1, (256, 64))},
         [("x", ["n", 64])], [("y", ["n", 64])])
    np.savez(world.folder / f"{name}.npz", x=x)
    return world.folder / f"{name}.onnx", world.folder / f"{name}.npz"


def test_keep_of_weights(world):
    """A scale for each column holds no rows that are 20,000 times smaller than others: of the second product half would be gone."""
    model, data = products(world, "halves", 128)
    output = world.folder / "halves-small.onnx"
    rows = world.report(model, "--recipe", "int8-weights", "--recipe", "int8-weights,keep", "--data", data, "-o", output)["candidates"]
    check(rows[1]["gate"] == "failed", f"8 bits for all weights fail: {rows[1]['why']}")
    check(rows[2]["gate"] == "passed" and rows[2]["kept"][0].startswith("second:"), f"the layer that they hurt stays: {rows[2]['kept']}, {rows[2]['why']}")
    numbers = [t.name for t in onnx.load(output).graph.initializer if t.data_type == TensorProto.INT8]
    check(sorted(numbers) == ["a_int8", "c_int8"], f"and that alone: {numbers}")


def test_keep_of_dynamic(world):
    """A network of products whose second matrix has an outlier in each row, which one scale a column can't hold, is kept alone."""
    model, data = products(world, "products", 4)
    row = world.report(model, "--recipe", "int8-dynamic,keep,compile", "--data", data, "-o", world.folder / "products-small.onnx")["candidates"][1]
    print("    " + "; ".join(row["kept"]))
    check(row["gate"] == "passed" and row["kept"] and row["kept"][0].startswith("second"), f"the second product is kept: {row['kept']}, {row['why']}")


if __name__ == "__main__":
    run.main(World, globals())
