#!/usr/bin/env python3
"""mayfly optimize from outside: real models, the gate, and everything that can go wrong. The real binary; no node.

    build/venv/bin/python tests/optimize/run.py --mayfly build/mayfly [NAME …]

Runs every test_… function, or those named. The last line is "N passed, N failed, N skipped"; the exit status is 0 only if none failed.
The models are trained or made here: scikit-learn's digits, as a network of dense layers; MiniLM only where examples/get_models.py has
brought it. Nothing is asserted about time.
"""
import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path
from xml.etree import ElementTree

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300


class Skip(Exception):
    """Why something can't be tried here."""


def check(holds, text, seen=None):
    if not holds:
        raise AssertionError(f"{text}; seen: {str(seen)[:1500]}" if seen is not None else text)
    print(f"   ok {text}", flush=True)


def dense_model(weights, path, classes="probabilities", opset=17):
    """A network of dense layers with Relu between and Softmax behind; weights: [(matrix, bias), …]."""
    nodes, tensors, name = [], [], "pixels"
    for i, (matrix, bias) in enumerate(weights):
        tensors += [numpy_helper.from_array(matrix.astype(np.float32), f"w{i}"), numpy_helper.from_array(bias.astype(np.float32), f"b{i}")]
        nodes += [helper.make_node("MatMul", [name, f"w{i}"], [f"m{i}"], f"matmul{i}"), helper.make_node("Add", [f"m{i}", f"b{i}"], [f"a{i}"], f"add{i}")]
        name = f"a{i}"
        if i + 1 < len(weights):
            nodes.append(helper.make_node("Relu", [name], [f"r{i}"], f"relu{i}"))
            name = f"r{i}"
    nodes.append(helper.make_node("Softmax", [name], [classes], "softmax", axis=-1))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "digits", [value("pixels", TensorProto.FLOAT, ["n", weights[0][0].shape[0]])],
                              [value(classes, TensorProto.FLOAT, ["n", weights[-1][0].shape[1]])], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)


class World:
    def __init__(self, binary):
        self.binary = str(Path(binary).resolve())
        self.kept = tempfile.TemporaryDirectory(prefix="mayfly-optimize-")
        self.folder = Path(self.kept.name)
        self.digits, self.data = self.folder / "digits.onnx", self.folder / "digits.npz"
        self.train()

    def train(self):
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
        from sklearn.neural_network import MLPClassifier
        data = load_digits()
        x_train, x_test, y_train, y_test = train_test_split((data.data / 16).astype(np.float32), data.target, test_size=0.5, random_state=7)
        model = MLPClassifier((512, 256), max_iter=60, random_state=7).fit(x_train, y_train)
        dense_model(list(zip(model.coefs_, model.intercepts_)), self.digits)
        self.x, self.y = x_test, y_test
        np.savez(self.data, pixels=x_test, label=y_test)
        self.hash = hashlib.sha256(self.digits.read_bytes()).hexdigest()

    def command(self, *arguments):
        return [self.binary, "optimize", *map(str, arguments)]

    def run(self, *arguments, status=None):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=PATIENCE)
        if status is not None and done.returncode != status:
            raise AssertionError(f"exit status {done.returncode} instead of {status}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        if hashlib.sha256(self.digits.read_bytes()).hexdigest() != self.hash:
            raise AssertionError("the original was changed")
        return done

    def report(self, *arguments, status=0):
        return json.loads(self.run(*arguments, "--json", status=status).stdout)

    def refused(self, *arguments, holds, status):
        output = self.folder / "refused.onnx"
        done = self.run(*arguments, "-o", output, status=status)
        check(all(part in done.stderr for part in holds), f"refused, status {status}: {done.stderr.strip()[-200:]}", done.stderr)
        left = [path.name for path in self.folder.iterdir() if "refused" in path.name]
        check(not left, "nothing was written and nothing is left", left)


def row_of(report, recipe):
    return next(row for row in report["candidates"] if row["recipe"] == recipe)



def test_a_recipe_with_labels(world):
    output = world.folder / "small.onnx"
    report = world.report(world.digits, "--recipe", "int8-dynamic,compile", "--data", world.data, "-o", output)
    original, row = report["candidates"]
    check(report["passed"] and row["gate"] == "passed" and row["chosen"], "int8 passes the gate", row["why"])
    check(row["size"] == output.stat().st_size and row["size"] < 0.35 * original["size"],
          f"{original['size']} bytes became {row['size']}: under 35 %")
    comparison = row["comparisons"][0]
    check(comparison["measure"] == "accuracy" and comparison["rows"] == len(world.y), "accuracy was measured on every sample", comparison)
    expected = float((predictions(world) == world.y).mean())
    check(abs(comparison["original"] - expected) < 1e-9, f"the original's accuracy is {expected:.4f}, as numpy has it", comparison)
    check(comparison["low"] <= comparison["value"] <= comparison["high"] <= 0.01, "the drop's interval is within what is allowed", comparison)
    check(row["artifact"] == (world.folder / "small.ort").stat().st_size, "what was compiled lies beside it")
    for key in ("load_ns", "first_ns", "memory", "cost_per_million"):
        check(row[key] > 0 and original[key] > 0, f"{key} was measured: {original[key]} -> {row[key]}")
    check(row["one"]["p50_ns"] <= row["one"]["p99_ns"] and row["best"]["rows_per_second"] >= 1e9 / row["one"]["p50_ns"] * 0.5, "latencies are sane", row)
    onnx.checker.check_model(onnx.load(output))
    check(output.stat().st_mode == world.digits.stat().st_mode, "who may read the original may read it")


def predictions(world):
    tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load(world.digits).graph.initializer}
    x = world.x
    for i in range(3):
        x = x @ tensors[f"w{i}"] + tensors[f"b{i}"]
        x = np.maximum(x, 0) if i < 2 else x
    return x.argmax(1)


def test_the_search(world):
    output, page, picture = world.folder / "auto.onnx", world.folder / "report.html", world.folder / "report.svg"
    done = world.run(world.digits, "--data", world.data, "--goal", "size", "-o", output, "--html", page, "--svg", picture, status=0)
    lines = done.stdout.splitlines()
    check(lines[0].split()[:3] == ["RECIPE", "SIZE", "COMPILED"] and lines[1].startswith("original"), "a table comes", lines[:2])
    taken = [line for line in lines if "passed, taken" in line]
    check(len(taken) == 1, "one is taken", done.stdout)
    sizes = [line for line in lines[2:] if " passed" in line]
    check(len(sizes) >= 3, f"{len(sizes)} recipes pass", done.stdout)
    check(output.stat().st_size < 0.3 * world.digits.stat().st_size, f"{world.digits.stat().st_size} -> {output.stat().st_size} bytes")
    check(done.stderr.count("passed") == len(sizes), "each is told when it is done", done.stderr)
    root = ElementTree.fromstring(picture.read_text())
    check(len(root.findall("{http://www.w3.org/2000/svg}circle")) >= 4, "the picture has a point for each")
    check("<svg" in page.read_text() and "int8-dynamic" in page.read_text(), "the page holds table and picture")


def test_without_data(world):
    report = world.report(world.digits, "--recipe", "int8-weights,compile", "--recipe", "compile", "-o", world.folder / "made_up.onnx")
    row = row_of(report, "compile")
    check(row["comparisons"][0]["measure"] == "agreement" and row["comparisons"][0]["value"] == 1, "what was only compiled answers the same", row)
    check(report["samples"] == 400 and not report["labelled"], "400 samples were made up")


def test_what_fails_the_gate_is_not_written(world):
    output = world.folder / "pruned.onnx"
    report = world.report(world.digits, "--recipe", "prune:0.98,compile", "--data", world.data, "-o", output, status=1)
    row = row_of(report, "prune:0.98,compile")
    check(row["gate"] == "failed" and not report["passed"] and report["output"] is None, "a model of zeros fails", row["why"])
    check(not output.exists() and not output.with_suffix(".ort").exists(), "and is not written")
    loose = world.report(world.digits, "--recipe", "prune:0.98,compile", "--data", world.data, "--accuracy-drop-max", "100%", "-o", output)
    check(loose["passed"] and output.exists(), "who allows it gets it")


def test_steps_that_find_nothing(world):
    report = world.report(world.digits, "--recipe", "prune-channels:0.1,compile", "--recipe", "compile", "--data", world.data,
                          "-o", world.folder / "same.onnx")
    row = row_of(report, "prune-channels:0.1,compile")
    check(row["gate"] == "no change" and "changes nothing" in row["why"], "there are no channels to prune: that is said, and no error", row)
    check(report["passed"], "the others go on")


def test_too_few_samples(world):
    few = world.folder / "few.npz"
    np.savez(few, pixels=world.x[:20], label=world.y[:20])
    done = world.run(world.digits, "--recipe", "int8-dynamic", "--data", few, "-o", world.folder / "few.onnx", status=1)
    check("too few samples to tell: it takes 268" in done.stdout and "unsure" in done.stdout, "20 samples tell nothing", done.stdout)
    check(not (world.folder / "few.onnx").exists(), "and nothing is written")


def test_a_csv(world):
    table = world.folder / "digits.csv"
    head = ",".join([f"p{i}" for i in range(64)] + ["label"])
    table.write_text("\n".join([head] + [",".join([*map(str, row), str(label)]) for row, label in zip(world.x.tolist(), world.y)]))
    report = world.report(world.digits, "--recipe", "int8-dynamic", "--data", table, "-o", world.folder / "csv.onnx")
    check(report["labelled"] and report["samples"] == len(world.y), "a table's columns are the input", report["samples"])


def test_bad_samples(world):
    def set_of(name, **arrays):
        np.savez(world.folder / name, **arrays)
        return world.folder / name

    wrong = world.folder / "wrong.csv"
    wrong.write_text("a,b,label\n1,2,3\n")
    broken = world.folder / "broken.npz"
    broken.write_bytes(world.data.read_bytes()[:5000])
    other = world.folder / "other.npz"
    with zipfile.ZipFile(other, "w") as zipped:
        zipped.writestr("readme.txt", "hello")
    label = (world.y + 1) % 10
    for path, holds in (
            (set_of("shape.npz", pixels=world.x[:, :32]), ["[899,32]", "takes [?,64]"]), (set_of("empty.npz", pixels=world.x[:0]), ["is empty"]),
            (set_of("missing.npz", a=world.x, b=world.x), ["no array for input 'pixels'"]),
            (set_of("counts.npz", pixels=world.x, label=world.y[:9]), ["9 labels for 899 samples"]),
            (set_of("beyond.npz", pixels=world.x, label=world.y + 5), ["10 classes: 0 to 9"]),
            (set_of("shifted.npz", pixels=world.x, label=label), ["are these labels the model's classes"]),
            (set_of("hot.npz", pixels=world.x, label=np.eye(10)[world.y]), ["one label a sample"]),
            (set_of("objects.npz", pixels=world.x.astype(complex)), ["astype"]), (wrong, ["2 columns", "takes 64 values"]), (broken, ["broken.npz"]),
            (other, ["no array of numpy"]), (world.digits, [".npz, .npy or .csv"]), (world.folder, ["'pixels' FP32[?,64] is no picture"])):
        world.refused(world.digits, "--recipe", "compile", "--data", path, holds=holds, status=1)
    world.refused(world.digits, "--recipe", "compile", "--data", world.folder / "none.npz", holds=["is not there"], status=4)


def test_bad_models(world):
    from importlib.util import module_from_spec, spec_from_file_location
    made = world.folder / "bad"
    if not (made / "stamp").exists():
        spec = spec_from_file_location("make_models", ROOT / "tests/models/make_models.py")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        subprocess.run([sys.executable, ROOT / "tests/models/make_models.py", made], check=True, stdout=subprocess.DEVNULL)
    for name, holds in (("wrong_opset", ["opset 99"]), ("unknown_operator", ["my.company:Sparkle"]), ("truncated", ["truncated"]),
                        ("text", ["not an ONNX model"]), ("not_a_model", ["not an ONNX model"]), ("outside", ["outside"])):
        world.refused(made / f"{name}.onnx", "--recipe", "compile", holds=holds, status=1)
    world.refused(world.folder / "nothing.onnx", "--recipe", "compile", holds=["is not there"], status=4)
    bytes_ = world.digits.read_bytes()
    for at in (len(bytes_) // 3, len(bytes_) - 10):
        (world.folder / "cut.onnx").write_bytes(bytes_[:at])
        world.refused(world.folder / "cut.onnx", "--recipe", "compile", holds=["mayfly:"], status=1)


def test_wrong_usage(world):
    for arguments, holds in ((["--recipe", "int9-dynamic"], ["int9-dynamic", "int8-dynamic"]), (["--recipe", "compile,fp16"], ["'compile' comes last"]),
                             (["--goal", "beauty"], ["latency"]), (["--accuracy-drop-max", "ten"], ["'ten' is no share"]),
                             (["--accuracy-drop-max", "-1%"], ["no share"]), (["--time-max", "0s"], ["--time-max"]), (["--compare", "x"], ["classes"])):
        world.refused(world.digits, *arguments, holds=holds, status=2)
    done = world.run(world.digits, "--recipe", "compile", "-o", world.digits, status=2)
    check("never overwritten" in done.stderr, "the original is no output", done.stderr)
    done = world.run(world.digits, "--recipe", "compile", "-o", world.folder / "no/such/place.onnx", status=4)
    check("is not there" in done.stderr, "a folder that is not there is no place", done.stderr)


def test_an_interruption(world):
    output = world.folder / "interrupted.onnx"
    arguments = (world.digits, "--data", world.data, "--goal", "size", "-o", output)
    for end in (signal.SIGINT, signal.SIGTERM):
        running = subprocess.Popen(world.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        told = [running.stderr.readline(), running.stderr.readline()]
        time.sleep(0.3)
        running.send_signal(end)
        out, err = running.communicate(timeout=60)
        check(running.returncode == 1 and "interrupted: nothing was written" in err, f"signal {end} ends it, after {told[1].strip()}", err)
        check(not output.exists() and not out, "nothing half done is there")
    kept = json.loads((world.folder / ".interrupted.onnx.optimize/state.json").read_text())["rows"]
    check(len(kept) >= 1, f"{len(kept)} candidates are kept")
    report = world.report(*arguments)
    again = row_of(report, kept[0]["recipe"])
    check(again["load_ns"] == kept[0]["load_ns"] and again["one"] == kept[0]["one"], "the next run goes on with what was measured")
    check(output.exists() and not (world.folder / ".interrupted.onnx.optimize").exists(), "and leaves nothing but the output")


def test_a_full_disk(world):
    mount = world.folder / "full"
    mount.mkdir(exist_ok=True)
    size = world.digits.stat().st_size // 2
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", mount]).returncode != 0:
        raise Skip("a disk that is full takes root to mount")
    try:
        done = world.run(world.digits, "--recipe", "compile", "-o", mount / "out.onnx", status=1)
        check("full" in done.stdout + done.stderr and "no candidate passed" in done.stderr, "it is said", done.stdout + done.stderr)
        check(not list(mount.iterdir()), "nothing is left on it", list(mount.iterdir()))
    finally:
        subprocess.run(["umount", mount], check=True)


def test_little_time(world):
    for seconds in (1, 2, 4, 8, 16, 32, 64):  # how long the original takes depends on what else the machine does
        done = world.run(world.digits, "--data", world.data, "--time-max", f"{seconds}s", "-o", world.folder / "quick.onnx", "--json")
        if done.stdout:
            break
        check("--time-max" in done.stderr and done.returncode == 1, f"{seconds} s are too few for the original, and that is said", done.stderr)
    report = json.loads(done.stdout)
    names = [row["recipe"] for row in report["candidates"]] + report["not_tried"]
    check(len(names) == 6 and names[0] == "original", f"in {seconds} s: what was not tried is named, {report['not_tried']}", names)
    check((done.returncode == 0) == report["passed"], "the exit status says whether one passed")


def test_two_at_a_time(world):
    output = world.folder / "twice.onnx"
    running = subprocess.Popen(world.command(world.digits, "--data", world.data, "-o", output), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        running.stderr.readline()
        done = world.run(world.digits, "--data", world.data, "-o", output, status=1)
        check("another 'mayfly optimize'" in done.stderr, "the second is refused", done.stderr)
    finally:
        running.communicate(timeout=PATIENCE)
    check(running.returncode == 0, "the first was not disturbed")


def test_minilm(world):
    model = ROOT / "build/models/sentences/model.onnx"
    if not model.exists():
        raise Skip("MiniLM is not there: examples/get_models.py sentences brings it")
    output = world.folder / "minilm.onnx"
    # 98 %: a CPU without 8-bit products of its own (VNNI) saturates, and may come just below 0.99.
    report = world.report(model, "--recipe", "int8-dynamic,compile", "--same-min", "98%", "-o", output)
    original, row = report["candidates"]
    check(row["gate"] == "passed" and row["comparisons"][0]["value"] > 0.98, f"cosine {row['comparisons'][0]['value']:.4f}", row["why"])
    check(row["size"] <= 0.3 * original["size"], f"{original['size'] / 1e6:.1f} MB became {row['size'] / 1e6:.1f} MB")
    stated = {tuple(one.dim_param or one.dim_value for one in value.type.tensor_type.shape.dim) for value in onnx.load(output).graph.value_info}
    check(stated == {("batch", "seq", 384)}, "what its normalisations' sums add is stated as the inputs' dimensions and the width", stated)
    check(b"SkipLayerNormalization" in output.with_suffix(".ort").read_bytes(), "the engine joined sums and normalisations by it")


def main(kind, names):
    """Runs the test_… of these names, of this module or of one beside it, on a world of this kind."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mayfly", required=True)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    found = [(name, test) for name, test in names.items() if name.startswith("test_")]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    world = kind(options.mayfly)
    for name, test in found:
        if options.names and not any(part in name for part in options.names):
            continue
        print(name, flush=True)
        begun = time.monotonic()
        try:
            test(world)
            outcome = "passed"
        except Skip as reason:
            print(f"   skipped: {reason}")
            outcome = "skipped"
        except Exception:
            traceback.print_exc(file=sys.stdout)
            outcome = "failed"
        counts[outcome] += 1
        print(f"   {outcome}, {time.monotonic() - begun:.1f} s", flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    sys.exit(counts["failed"] > 0)


if __name__ == "__main__":
    main(World, globals())
