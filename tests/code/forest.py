"""A function of code that needs numpy and onnxruntime, which pip installs below build/: for tests/code/fork.py and bench/code_start.py."""
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = f"python3.{sys.version_info.minor}"
PACKAGES = ["numpy==2.2.6", "onnxruntime==1.22.1"]  # no more is wanted to run a model
HANDLER = """
import os
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
session = onnxruntime.InferenceSession(os.path.join(os.path.dirname(__file__), "model.onnx"), options)

def handler(event, context):
    answer = session.run(None, {"input": numpy.full([1, 30], event.get("x", 0.5), dtype=numpy.float32)})
    return {"label": str(answer[0][0]), "random": float(numpy.random.random())}
"""


def packages():
    folder = ROOT / "build/code-packages"
    stamp = folder / "stamp"
    if not stamp.exists() or stamp.read_text() != " ".join([RUNTIME, *PACKAGES]):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--root-user-action=ignore", "--no-deps",
                        "--only-binary=:all:", "--target", str(folder), *PACKAGES], check=True)
        stamp.write_text(" ".join([RUNTIME, *PACKAGES]))
    return folder


def make(folder, manifest=None):
    """The function's folder, as `mayfly deploy` takes it. Two threads of OpenBLAS, so that there is one to end before a fork."""
    shutil.copytree(packages(), folder)
    shutil.copy(ROOT / "build/test-models/forest.onnx", folder / "model.onnx")
    (folder / "app.py").write_text(HANDLER)
    (folder / "function.yaml").write_text(json.dumps({
        "runtime": RUNTIME, "handler": "app.handler", "environment": {"OPENBLAS_NUM_THREADS": "2"}, **(manifest or {})}))
