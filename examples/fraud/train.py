"""Boosted trees on a table of 30 numbers: scikit-learn's breast cancer data, standing in for a bank's transactions.

100 trees of depth 2, trained on 398 rows; the other 171 rows, which it never saw, go with their labels into the
samples. Exported without the ZipMap operator: outputs are `label` (int64) and `probabilities` (batch x 2, float).
"""
import json

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import train_test_split


def build(folder, samples, wheels):
    del wheels  # the data is in scikit-learn itself
    data = load_breast_cancer()
    x_train, x_test, y_train, y_test = train_test_split(data.data.astype(np.float32), data.target, test_size=0.3,
                                                        random_state=7, stratify=data.target)
    model = GradientBoostingClassifier(n_estimators=100, max_depth=2, learning_rate=0.2, random_state=7).fit(x_train, y_train)
    graph = to_onnx(model, x_train[:1], options={"zipmap": False}, target_opset=17, name="fraud")
    rename(graph, {"X": "input"})
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    # Shortest decimal of each float32: the row that the model sees is exactly the one in the file.
    rows = [[float(str(value)) for value in row] for row in x_test]
    (samples / "samples.json").write_text(json.dumps({"rows": rows, "labels": y_test.tolist(), "classes": data.target_names.tolist()}))
    (samples / "row.json").write_text(json.dumps({"input": rows[:1]}) + "\n")


def rename(model, names):
    """Other names for a model's inputs."""
    for value in model.graph.input:
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
