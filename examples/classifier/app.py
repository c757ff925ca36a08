"""{"image": a picture in base64, "top": 3} -> the best of ImageNet's 1,000 classes: numpy and onnxruntime in the function itself.

model.onnx and classes.txt lie beside this file (examples/classifier/pack.py). What is made at import is made once, and forked.
"""
import base64
import io
import os

import numpy as np
import onnxruntime
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
SIZE = 224

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1  # no threads at import: so it can be forked
options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
SESSION = onnxruntime.InferenceSession(os.path.join(HERE, "model.onnx"), options, providers=["CPUExecutionProvider"])
with open(os.path.join(HERE, "classes.txt"), encoding="utf-8") as file:
    CLASSES = file.read().splitlines()


def shape_input(image):
    """The middle square of a picture, as the network was trained: RGB, (value - 127) / 128."""
    picture = Image.open(io.BytesIO(image)).convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.BICUBIC)
    return ((np.asarray(square, np.float32) - 127) / 128).transpose(2, 0, 1)[None]


def handler(event, context):
    chances = SESSION.run(None, {"image": shape_input(base64.b64decode(event["image"]))})[0][0]
    best = np.argsort(chances)[::-1][: int(event.get("top", 3))]
    return {"labels": [{"label": CLASSES[i], "class": int(i), "score": float(chances[i])} for i in best]}
