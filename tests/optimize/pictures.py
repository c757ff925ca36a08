#!/usr/bin/env python3
"""Pictures as samples of mayfly optimize, from outside: what the model gets beside what Pillow and numpy make of the same files, labels by
folders, and everything that can be wrong with a picture. The real binary; no node.

    build/venv/bin/python tests/optimize/pictures.py --mayfly build/mayfly [NAME …]

The digits are scikit-learn's, written as PNG and JPEG by Pillow, and the photographs its two of China and a flower; the network for digits
has a convolution, and is trained here.
"""
import io
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from run import PATIENCE, Skip, check, main  # noqa: E402

import json  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from PIL import Image  # noqa: E402

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
VALUE = helper.make_tensor_value_info


def save(nodes, inputs, outputs, constants, path):
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def mean_model(path, shape, kind=TensorProto.FLOAT):
    """Takes pictures of this shape and answers two numbers: what is in them does not matter here."""
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), helper.make_node("Flatten", ["f"], ["flat"]),
             helper.make_node("ReduceMean", ["flat"], ["m"], axes=[1], keepdims=1), helper.make_node("MatMul", ["m", "w"], ["y"])]
    save(nodes, [VALUE("x", kind, shape)], [VALUE("y", TensorProto.FLOAT, ["n", 2])], {"w": np.array([[1, -1]], np.float32)}, path)


class World:
    def __init__(self, binary):
        self.binary = str(Path(binary).resolve())
        self.kept = tempfile.TemporaryDirectory(prefix="mayfly-pictures-")
        self.folder = Path(self.kept.name)
        self.model, self.digits = self.folder / "digits.onnx", self.folder / "digits"
        self.train()

    def train(self):
        from sklearn.datasets import load_digits, load_sample_images
        from sklearn.model_selection import train_test_split
        from sklearn.neural_network import MLPClassifier
        data = load_digits()
        pictures = (data.images * 15).astype(np.uint8)
        seen, self.pictures, labels, self.labels = train_test_split(pictures, data.target, test_size=0.5, random_state=7)
        filters = np.random.default_rng(7).normal(0, 0.5, (16, 1, 3, 3)).astype(np.float32)

        def features(x):
            padded = np.pad(x.astype(np.float32) / 255, ((0, 0), (1, 1), (1, 1)))
            parts = sum(padded[:, None, i:i + 8, j:j + 8] * filters[None, :, 0, i, j, None, None] for i in range(3) for j in range(3))
            return np.maximum(parts, 0).reshape(len(x), -1)

        fit = MLPClassifier((128,), max_iter=80, random_state=7).fit(features(seen), labels)
        self.accuracy = float((fit.predict(features(self.pictures)) == self.labels).mean())
        nodes = [helper.make_node("Conv", ["x", "filters"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["r"]),
                 helper.make_node("Flatten", ["r"], ["f"]), helper.make_node("Gemm", ["f", "w0", "b0"], ["h"]), helper.make_node("Relu", ["h"], ["hr"]),
                 helper.make_node("Gemm", ["hr", "w1", "b1"], ["logits"])]
        constants = {"filters": filters, **{f"w{i}": fit.coefs_[i].astype(np.float32) for i in range(2)},
                     **{f"b{i}": fit.intercepts_[i].astype(np.float32) for i in range(2)}}
        save(nodes, [VALUE("x", TensorProto.FLOAT, ["n", 1, 8, 8])], [VALUE("logits", TensorProto.FLOAT, ["n", 10])], constants, self.model)
        self.write(self.digits, [str(label) for label in self.labels])
        self.photographs = self.folder / "photographs"
        for name, picture in zip(("china", "flower"), load_sample_images().images):
            (self.photographs / name).mkdir(parents=True)
            image = Image.fromarray(picture)
            image.save(self.photographs / name / "0.jpg", quality=92)
            image.save(self.photographs / name / "1.png")
            image.convert("L").save(self.photographs / name / "2.jpg", progressive=True)
            image.quantize(64).save(self.photographs / name / "3.png")
            image.rotate(90, expand=True).save(self.photographs / name / "4.JPEG", subsampling=0)
            image.putalpha(Image.linear_gradient("L").resize(image.size))
            image.save(self.photographs / name / "5.png")

    def write(self, folder, names):
        for i, (picture, name) in enumerate(zip(self.pictures, names)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / name / f"{i:04}.png")

    def run(self, model, *arguments, status=0):
        out = self.folder / "out.onnx"
        command = [self.binary, "optimize", str(model), "--recipe", "compile", "-o", str(out), "--json", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        if status is not None and done.returncode != status:
            raise AssertionError(f"exit status {done.returncode} instead of {status}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done

    def samples(self, model, data, *arguments):
        """What the model is given for this folder, whether or not so few pass the gate."""
        path = self.folder / "given.npz"
        path.unlink(missing_ok=True)
        done = self.run(model, "--data", data, "--data-out", path, *arguments, status=None)
        check(path.exists(), "the samples were written", done.stderr)
        with np.load(path) as arrays:
            return {name: arrays[name] for name in arrays}, done


def as_torchvision(path, shorter=256, cut=224, channels="RGB", resample=Image.BILINEAR, whole=False):
    image = Image.open(path).convert(channels)
    width, height = image.size
    if whole:
        size = (cut, cut)
    else:
        size = (shorter, int(shorter * height / width)) if width <= height else (int(shorter * width / height), shorter)
    image = image.resize(size, resample)
    left, top = int(round((size[0] - cut) / 2)), int(round((size[1] - cut) / 2))
    return np.asarray(image.crop((left, top, left + cut, top + cut)))


def matched(given, expected, what, tolerance):
    """Each picture that was given is one of those expected, in any order; each once."""
    left = list(range(len(expected)))
    worst = 0.0
    for one in given:
        distances = [float(np.abs(one.astype(np.float64) - expected[i]).max()) for i in left]
        worst = max(worst, min(distances))
        left.pop(int(np.argmin(distances)))
    check(len(given) == len(expected) and worst <= tolerance, f"{what}: {len(given)} pictures as Pillow and numpy prepare them, at most {worst:.3g} apart",
          (len(given), len(expected), worst))


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in (".jpg", ".jpeg", ".png"))


def test_digits(world):
    done = world.run(world.model, "--data", world.digits, "--recipe", "int8-dynamic,compile", "--accuracy-drop-max", "2%")
    report = json.loads(done.stdout)
    comparison = report["candidates"][0]["comparisons"][0]
    check(report["labelled"] and comparison["measure"] == "accuracy" and comparison["rows"] == len(world.labels), "each picture was answered", comparison)
    check(abs(comparison["original"] - world.accuracy) < 0.003, f"the original is right as often as in Python: {world.accuracy:.4f}", comparison)
    check("shorter side to 8, middle 8x8, grey, 0..1, [N,C,H,W]" in done.stderr, "how they were prepared is said", done.stderr)
    check(report["candidates"][1]["gate"] == "passed", "and the gate decides by it")


def test_as_pillow_does(world):
    model = world.folder / "photo.onnx"
    paths = files(world.photographs)
    mean_model(model, ["n", 3, 224, 224])
    given, _ = world.samples(model, world.photographs)
    expected = [((as_torchvision(path) / 255 - MEAN) / STD).transpose(2, 0, 1) for path in paths]
    # 8-bit steps are 1/255/0.225 = 0.017: a JPEG's decoder may round otherwise in another version.
    matched(given["x"], expected, "the defaults", 0.02)
    check(sorted(given["label"]) == [0] * 6 + [1] * 6, "labels are the folders in their order", given["label"])
    given, _ = world.samples(model, world.photographs, "--pictures", "resize=224x224 order=bgr range=-1..1 filter=bicubic")
    expected = [(as_torchvision(path, resample=Image.BICUBIC, whole=True)[..., ::-1] / 127.5 - 1).transpose(2, 0, 1) for path in paths]
    matched(given["x"], expected, "BGR, -1..1, bicubic, the whole", 5 / 127)  # src/gate/resample.h says why
    mean_model(model, ["n", 96, 96, 3], TensorProto.UINT8)
    given, _ = world.samples(model, world.photographs, "--pictures", "resize=110")
    matched(given["x"], [as_torchvision(path, 110, 96) for path in paths], "UINT8, channels last", 1)
    check(given["x"].dtype == np.uint8, "bytes stay bytes")
    mean_model(model, ["n", 1, "h", "w"])
    given, done = world.samples(model, world.photographs, "--pictures", "resize=64 crop=64 mean=0.5 std=0.25")
    # Grey is made before resizing here and by Pillow.
    matched(given["x"], [((as_torchvision(path, 64, 64, "L") / 255 - 0.5) / 0.25)[None] for path in paths], "grey, of any size", 0.017)
    mean_model(model, ["n", 3, "h", "w"])
    given, done = world.samples(model, world.photographs)
    check(given["x"].shape[1:] == (3, 224, 224) and "224 was taken" in done.stderr, "a free size is 224, and that is said", done.stderr)
    mean_model(model, [4, 3, 64, 64])
    given, done = world.samples(model, world.photographs, "--pictures", "count=6")
    check(given["x"].shape == (4, 3, 64, 64) and "of 12 pictures 6 are taken" in done.stderr, "count, and a model that takes four at a time", done.stderr)


def test_labels(world):
    wrong = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    named = world.folder / "named"
    world.write(named, [wrong[label] for label in world.labels])
    done = world.run(world.model, "--data", named)
    check("no more often than" in done.stderr and "--pictures" in done.stderr and "labels.txt" in done.stderr,
          "names in their alphabet's order are no digits, which shows", done.stderr)
    model, telling = onnx.load(world.model), world.folder / "telling.onnx"
    entry = model.metadata_props.add()
    entry.key, entry.value = "names", str(dict(enumerate(wrong)))  # as Ultralytics does
    onnx.save(model, telling)
    comparison = json.loads(world.run(telling, "--data", named).stdout)["candidates"][0]["comparisons"][0]
    check(abs(comparison["original"] - world.accuracy) < 0.003, "the model's own metadata names them in its order", comparison)
    (named / "labels.txt").write_text("\n".join(wrong) + "\n")
    comparison = json.loads(world.run(world.model, "--data", named).stdout)["candidates"][0]["comparisons"][0]
    check(abs(comparison["original"] - world.accuracy) < 0.003, "labels.txt names the classes in the model's order", comparison)
    (named / "labels.txt").write_text("zero\none\n")
    check("is none of the 2 classes" in world.run(world.model, "--data", named, status=1).stderr, "a folder that it does not name is refused")
    flat = world.folder / "flat"
    flat.mkdir()
    for i in range(300):
        Image.fromarray(world.pictures[i]).save(flat / f"{i}.png")
    report = json.loads(world.run(world.model, "--data", flat).stdout)
    check(not report["labelled"] and report["samples"] == 300, "pictures without folders have no labels")
    (flat / "sub").mkdir()
    check("both pictures and folders" in world.run(world.model, "--data", flat, status=1).stderr, "a mixture is refused")
    (flat / "sub").rmdir()
    shifted = world.folder / "shifted"
    world.write(shifted, [str((label + 1) % 10) for label in world.labels])
    done = world.run(world.model, "--data", shifted, status=1)
    check("are these labels the model's classes" in done.stderr and "--pictures says how" in done.stderr and "grey, 0..1" in done.stderr,
          "labels that are all wrong are refused, and the preparation is named as a cause, too", done.stderr)
    done = world.run(world.model, "--data", world.digits, "--pictures", "mean=100 std=0.01")
    check("no more often than" in done.stderr and "mean 100, std 0.01" in done.stderr, "a wrong preparation shows itself", done.stderr)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, data):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_bad_pictures(world):
    folder = world.folder / "bad"
    world.write(folder, [str(label) for label in world.labels])
    jpeg = io.BytesIO()
    Image.fromarray(world.pictures[0]).resize((64, 64)).save(jpeg, "JPEG")
    printed = io.BytesIO()
    Image.new("CMYK", (16, 16)).save(printed, "JPEG")
    bad = {"bomb.png": (png(60000, 60000, zlib.compress(bytes(1000))), "at most 65,500 a side"), "empty.png": (b"", "it is empty"),
           "cut.jpg": (jpeg.getvalue()[:400], "a JPEG that is damaged"), "cut.png": (png(8, 8, zlib.compress(bytes(200))[:9]), "a PNG that is damaged"),
           "text.png": (b"hello", "neither a JPEG nor a PNG"), "webp.webp": (b"RIFF\0\0\0\0WEBPVP8 ", "neither a JPEG nor a PNG"),
           "printed.jpg": (printed.getvalue(), "CMYK"), "narrow.png": (png(1, 60000, zlib.compress(bytes(240000))), "too narrow")}
    for name, (content, _) in bad.items():
        (folder / "0" / name).write_bytes(content)
    (folder / "0" / "notes.txt").write_text("not a picture")
    (folder / ".hidden").mkdir()
    begun = time.monotonic()
    done = world.run(world.model, "--data", folder, "--pictures", "resize=200 crop=8")
    for name, (_, why) in bad.items():
        line = next((line for line in done.stderr.splitlines() if f"0/{name}" in line), "")
        check(why in line, f"left out: {line[-120:]}", done.stderr)
    check(json.loads(done.stdout)["samples"] > 0, f"the others are taken, {time.monotonic() - begun:.1f} s")


def test_too_many_bad_pictures(world):
    folder = world.folder / "worse"
    world.write(folder, [str(label) for label in world.labels])
    for path in list((folder / "3").iterdir()):
        path.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    done = world.run(world.model, "--data", folder, status=1)
    check("more than one in twenty" in done.stderr and "3/" in done.stderr, "too many is an error", done.stderr[-300:])


def test_the_picture_as_png(world):
    import shutil
    drawn, svg = world.folder / "front.png", world.folder / "front.svg"
    nowhere = {"PATH": "/nowhere"}
    done = subprocess.run([world.binary, "optimize", str(world.model), "--png", str(drawn)], capture_output=True, text=True, env={**os.environ, **nowhere})
    check(done.returncode == 4 and "librsvg2-bin" in done.stderr and not drawn.exists(), "without its renderer it is said before anything is measured", done.stderr)
    if not shutil.which("rsvg-convert"):
        raise Skip("rsvg-convert is not installed")
    world.run(world.model, "--data", world.digits, "--png", drawn, "--svg", svg)
    image = Image.open(drawn).convert("RGB")
    check(image.size == (1720, 800), "it has twice the SVG's size", image.size)
    colors = {color for _, color in image.getcolors(1 << 20)}
    check({(0x4a, 0x6f, 0xa5), (0x2e, 0x8b, 0x57), (255, 255, 255)} <= colors, "the original and what passed are drawn in their colours")
    check(len(list(world.folder.glob("front.png*"))) == 1, "and nothing is left beside it")


def test_wrong_usage(world):
    other = world.folder / "other.onnx"
    for words, holds in (("resize=0", "1 to 8192"), ("crop=9", "the model takes [?,1,8,8]"), ("mean=a", "a number"), ("std=0", "above 0"), ("range=1", "two numbers"),
                         ("order=bgr", "grey"), ("size=3", "is not known"), ("resize=4", "less than what is cut out"), ("resize=9x7", "less than what is cut out"), ("count=0", "1 to")):
        done = world.run(world.model, "--data", world.digits, "--pictures", words, status=1)
        check(holds in done.stderr, f"{words}: {done.stderr.strip()[-150:]}", done.stderr)
    for shape, kind, holds in ((["n", 64], TensorProto.FLOAT, "is no picture"), (["n", 7, 8, 8], TensorProto.FLOAT, "is no picture"),
                               (["n", 3, 8, 8], TensorProto.INT64, "neither floats nor UINT8")):
        mean_model(other, shape, kind)
        check(holds in world.run(other, "--data", world.digits, status=1).stderr, f"a model of {shape} takes no pictures")
    empty = world.folder / "empty"
    (empty / "cat").mkdir(parents=True)
    check("holds no picture" in world.run(world.model, "--data", empty, status=1).stderr, "an empty folder is said")
    check("--data" in world.run(world.model, "--pictures", "crop=8", status=2).stderr, "--pictures without pictures is refused")


if __name__ == "__main__":
    main(World, globals())
