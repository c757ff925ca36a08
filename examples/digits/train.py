"""Handwritten digits of 8 x 8 points: a small neural network, trained from scikit-learn's digits data in a second.

Run as `build/venv/bin/python examples/get_models.py digits`; it leaves model.onnx beside this file, so that
`mayfly deploy examples/digits/` works as it stands.
"""
import json

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier


def build(folder, samples, wheels):
    del wheels  # the data is in scikit-learn itself
    data = load_digits()
    x_train, x_test, y_train, y_test = train_test_split((data.data / 16).astype(np.float32), data.target, test_size=0.3, random_state=7)
    model = MLPClassifier((64,), max_iter=300, tol=1e-3, random_state=7).fit(x_train, y_train)
    graph = to_onnx(model, x_train[:1], options={"zipmap": False}, target_opset=17, name="digits")
    for value in graph.graph.input:
        value.name = "pixels"
    for node in graph.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = "pixels" if name == "X" else name
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    rows = [[float(str(value)) for value in row] for row in x_test]
    (samples / "samples.json").write_text(json.dumps({"rows": rows, "labels": y_test.tolist()}))
    (samples / "row.json").write_text(json.dumps({"pixels": rows[:1]}) + "\n")
