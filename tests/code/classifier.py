#!/usr/bin/env python3
"""The image classifier of examples/classifier on a real node: numpy, onnxruntime and pillow installed at deploy, real weights, photographs.

    build/venv/bin/python tests/code/classifier.py --mayfly build/mayfly

Needs build/models/photos (examples/get_models.py photos), and the registry in reach.
"""
import base64
import io
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "examples/classifier")]
import run  # noqa: E402
from pack import pack  # noqa: E402
from run import RUNTIME, check  # noqa: E402

SAMPLES = ROOT / "build/models/samples/photos"


class World(run.World):
    def __init__(self, binary):
        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-classifier-"))
        self.node = run.Node(binary)


def png_of(tensor):
    pixels = np.clip(tensor.transpose(1, 2, 0) * 128 + 127, 0, 255).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_photographs(world):
    said = world.node.command("deploy", str(pack(world.folder / "classifier")), "--runtime", RUNTIME, timeout=600)
    check("pip packages" in said, "numpy, onnxruntime and pillow are installed at deploy", said)
    photos = json.loads((SAMPLES / "samples.json").read_text())["photos"]
    for photo, tensor in zip(photos, np.load(SAMPLES / "tensors.npy")):
        best = world.call({"image": png_of(tensor), "top": 5}, "classifier")["labels"]
        check(any(label["class"] in photo["labels"] for label in best), f"{photo['name']}: {best[0]['label']} {best[0]['score']:.2f}", best)
    reply = world.send({"image": base64.b64encode(b"no picture").decode()}, "classifier")
    check(reply.status == 500 and reply.json["errorType"] == "UnidentifiedImageError", "what is no picture is the handler's own error", reply)


if __name__ == "__main__":
    run.main(globals(), World)
