"""The models and samples of optimize.py, made once under build/bench-optimize/models. Random weights (ResNet-152, ViT) show size and time; how
right a candidate still is they can't show: for that are EfficientNet-Lite0, MiniLM and digits, which are trained."""
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))
sys.path.insert(0, str(ROOT / "examples/sentences"))
from onnx_graph import FLOAT, Graph  # noqa: E402

FOLDER = ROOT / "build/bench-optimize/models"


def normal(rng, *shape, scale=0.02):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def resnet152(path, samples):
    """60.2 million parameters, normalisation folded into the convolutions, as exporters leave it."""
    rng, graph = np.random.default_rng(0), Graph()

    def conv(x, before, after, kernel, stride=1, relu=True, scale=0.7):
        weights = normal(rng, after, before, kernel, kernel, scale=scale * (2 / (before * kernel * kernel)) ** 0.5)
        y = graph.op("Conv", x, graph.weight(weights), graph.weight(np.full(after, 0.01, np.float32)), kernel_shape=[kernel] * 2,
                     strides=[stride] * 2, pads=[kernel // 2] * 4)
        return graph.op("Relu", y) if relu else y

    x = graph.op("MaxPool", conv("input", 3, 64, 7, 2), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, blocks in enumerate((3, 8, 36, 3)):
        width = 64 * 2 ** stage
        for block in range(blocks):
            stride = 2 if block == 0 and stage else 1
            y = conv(conv(conv(x, channels, width, 1), width, width, 3, stride), width, 4 * width, 1, relu=False)
            x = graph.op("Relu", graph.op("Add", y, conv(x, channels, 4 * width, 1, stride, relu=False) if block == 0 else x))
            channels = 4 * width
    x = graph.op("Flatten", graph.op("GlobalAveragePool", x), axis=1)
    graph.op("Gemm", x, graph.weight(normal(rng, 1000, channels)), graph.weight(np.zeros(1000, np.float32)), transB=1, out="logits")
    graph.save(path, "resnet152", {"input": (FLOAT, ["batch", 3, 224, 224])}, {"logits": (FLOAT, ["batch", 1000])})
    np.savez(samples, input=normal(rng, 16, 3, 224, 224, scale=1))


def vit(path, samples, layers=8, width=768, heads=12):
    """ViT-B/16 of 8 layers: 57.4 million parameters."""
    rng, graph = np.random.default_rng(1), Graph()

    def norm(x):
        return graph.op("LayerNormalization", x, graph.weight(np.ones(width, np.float32)), graph.weight(np.zeros(width, np.float32)), axis=-1)

    def linear(x, before, after):
        return graph.op("Add", graph.op("MatMul", x, graph.weight(normal(rng, before, after))), graph.weight(normal(rng, after)))

    def attention(x):
        def part(order):
            split = graph.op("Reshape", linear(x, width, width), graph.constant([0, 0, heads, width // heads]))
            return graph.op("Transpose", split, perm=order)
        scores = graph.op("Div", graph.op("MatMul", part([0, 2, 1, 3]), part([0, 2, 3, 1])), graph.constant(float((width / heads) ** 0.5), np.float32))
        mixed = graph.op("Transpose", graph.op("MatMul", graph.op("Softmax", scores, axis=-1), part([0, 2, 1, 3])), perm=[0, 2, 1, 3])
        return linear(graph.op("Reshape", mixed, graph.constant([0, 0, width])), width, width)

    def gelu(x):
        erf = graph.op("Erf", graph.op("Div", x, graph.constant(2 ** 0.5, np.float32)))
        return graph.op("Mul", graph.op("Mul", x, graph.op("Add", erf, graph.constant(1.0, np.float32))), graph.constant(0.5, np.float32))

    x = graph.op("Conv", "input", graph.weight(normal(rng, width, 3, 16, 16)), graph.weight(normal(rng, width)), kernel_shape=[16, 16], strides=[16, 16])
    x = graph.op("Transpose", graph.op("Reshape", x, graph.constant([0, width, 196])), perm=[0, 2, 1])
    x = graph.op("Add", x, graph.weight(normal(rng, 1, 196, width)))
    for _ in range(layers):
        x = graph.op("Add", x, attention(norm(x)))
        x = graph.op("Add", x, linear(gelu(linear(norm(x), width, 4 * width)), 4 * width, width))
    x = graph.op("ReduceMean", norm(x), axes=[1], keepdims=0)
    graph.op("Gemm", x, graph.weight(normal(rng, 1000, width)), graph.weight(normal(rng, 1000)), transB=1, out="logits")
    graph.save(path, "vit", {"input": (FLOAT, ["batch", 3, 224, 224])}, {"logits": (FLOAT, ["batch", 1000])})
    np.savez(samples, input=normal(rng, 16, 3, 224, 224, scale=1))


def photos(path, samples):
    """EfficientNet-Lite0 with its trained weights; 400 crops of scikit-image's photographs, which have no labels."""
    from get_models import get
    from PIL import Image
    sys.path.insert(0, str(ROOT / "examples/photos"))
    import get_models
    to_tensor = get_models.load(ROOT / "examples/photos/build.py").to_tensor
    get("photos")
    path.write_bytes((ROOT / "build/models/photos/model.onnx").read_bytes())
    wheel = zipfile.ZipFile(next((ROOT / "build/models/wheels/scikit-image").glob("*.whl")))
    found = []
    for name in sorted(wheel.namelist()):
        if name.startswith("skimage/data/") and name.endswith((".png", ".jpg", ".jpeg")):
            try:
                picture = Image.open(io.BytesIO(wheel.read(name)))
                if picture.mode == "RGB" and min(picture.size) >= 224:
                    found.append(picture.convert("RGB"))
            except OSError:
                pass
    rng, tensors = np.random.default_rng(2), []
    for i in range(400):
        picture = found[i % len(found)]
        side = int(rng.integers(160, min(picture.size) + 1))
        left, top = (int(rng.integers(0, length - side + 1)) for length in picture.size)
        crop = picture.crop((left, top, left + side, top + side))
        tensors.append(to_tensor(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if i % 2 else crop))
    np.savez(samples, image=np.stack(tensors))


def imagenet(path, samples):
    """The same network; 20 pictures of ImageNet's validation set that the package foolbox carries, their classes in the files' names. Of each the
    ten crops of Krizhevsky et al. (2012): four corners and the middle, and these mirrored, at two scales (224 of 256, and of 288)."""
    from get_models import fetch, get
    from PIL import Image
    import get_models
    to_tensor = get_models.load(ROOT / "examples/photos/build.py").to_tensor
    get("photos")
    path.write_bytes((ROOT / "build/models/photos/model.onnx").read_bytes())
    wheel, tensors, labels = zipfile.ZipFile(fetch("foolbox")), [], []
    for name in sorted(name for name in wheel.namelist() if name.startswith("foolbox/data/imagenet_")):
        picture = Image.open(io.BytesIO(wheel.read(name))).convert("RGB")
        for shorter in (256, 288):
            side = min(picture.size) * 224 // shorter
            right, low = picture.width - side, picture.height - side
            for left, top in ((0, 0), (right, 0), (0, low), (right, low), (right // 2, low // 2)):
                crop = picture.crop((left, top, left + side, top + side))
                tensors += [to_tensor(crop), to_tensor(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT))]
                labels += [int(name.rpartition("_")[2].removesuffix(".jpg"))] * 2
    np.savez(samples, image=np.stack(tensors), label=np.array(labels))


def sentences(path, samples):
    """MiniLM-L6-v2 with its trained weights; the example's 24 sentences, and 24 halves of them."""
    import json
    from get_models import get
    from wordpiece import WordPiece
    get("sentences")
    path.write_bytes((ROOT / "build/models/sentences/model.onnx").read_bytes())
    folder = ROOT / "build/models/samples/sentences"
    pairs = json.loads((folder / "samples.json").read_text())
    texts = [text for kind in pairs.values() for pair in kind for text in pair]
    texts += [" ".join(text.split()[:max(3, len(text.split()) // 2)]) for text in texts]
    pieces = WordPiece((folder / "vocab.txt").read_text().splitlines())
    rows = [pieces.encode(text, 24) for text in texts]
    ids, mask = np.zeros((len(rows), 24), np.int64), np.zeros((len(rows), 24), np.int64)
    for i, row in enumerate(rows):
        ids[i, :len(row)], mask[i, :len(row)] = row, 1
    np.savez(samples, input_ids=ids, attention_mask=mask, token_type_ids=np.zeros_like(ids))


def digits(path, samples):
    """scikit-learn's digits: 3 x 3 filters learned from patches (Coates and Ng, 2012), dense layers trained on what they find."""
    from sklearn.cluster import KMeans
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier
    data = load_digits()
    x = (data.images / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(x, data.target, test_size=0.5, random_state=7)
    windows = np.lib.stride_tricks.sliding_window_view(x_train, (3, 3), axis=(1, 2)).reshape(-1, 9)
    filters = KMeans(32, n_init=1, random_state=7).fit(windows[::7] - windows[::7].mean(1, keepdims=True)).cluster_centers_.astype(np.float32)
    filters /= np.linalg.norm(filters, axis=1, keepdims=True) + 1e-3

    def features(images):
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
        maps = np.maximum(np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).reshape(-1, 8, 8, 9) @ filters.T, 0)
        return maps.reshape(-1, 4, 2, 4, 2, 32).max((2, 4)).transpose(0, 3, 1, 2).reshape(-1, 512)

    dense = MLPClassifier((256,), max_iter=60, random_state=7).fit(features(x_train), y_train)
    graph = Graph()
    y = graph.op("Relu", graph.op("Conv", "pixels", graph.weight(filters.reshape(32, 1, 3, 3)), pads=[1] * 4, kernel_shape=[3, 3]))
    y = graph.op("Flatten", graph.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]))
    for i, (weights, bias) in enumerate(zip(dense.coefs_, dense.intercepts_)):
        y = graph.op("Add", graph.op("MatMul", y, graph.weight(weights.astype(np.float32))), graph.weight(bias.astype(np.float32)))
        y = graph.op("Relu", y) if i == 0 else graph.op("Softmax", y, axis=1, out="probabilities")
    graph.save(path, "digits", {"pixels": (FLOAT, ["batch", 1, 8, 8])}, {"probabilities": (FLOAT, ["batch", 10])})
    np.savez(samples, pixels=x_test[:, None], label=y_test)


def made(name):
    """The model's file and its samples."""
    path, samples = FOLDER / f"{name}.onnx", FOLDER / f"{name}.npz"
    if not samples.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        print(f"making {name}", file=sys.stderr, flush=True)
        globals()[name](path, samples)
    return path, samples
