#!/usr/bin/env python3
"""Writes the tiny models that the tests need: make_models.py FOLDER. Quick where all are there already.

They are made, not kept: each is one idea (a datatype, a shape, a fault), small enough to read here. Seeds are fixed.
"""
import hashlib
import pathlib
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from onnx.external_data_helper import convert_model_to_external_data

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def model(nodes, inputs, outputs, initializers=(), opset=17, domains=()):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="mayfly-tests")


def add():
    """N x 3 -> N x 3: adds 1, 2, 3."""
    node = helper.make_node("Add", ["x", "one_two_three"], ["y"])
    return model([node], [value("x", FLOAT, ["n", 3])], [value("y", FLOAT, ["n", 3])], [constant("one_two_three", np.float32([1, 2, 3]))])


def matmul_fixed():
    """2 x 3 -> 2 x 2: no dimension is free."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return model([node], [value("x", FLOAT, [2, 3])], [value("y", FLOAT, [2, 2])], [constant("w", np.arange(6, dtype=np.float32).reshape(3, 2))])


def strings():
    node = helper.make_node("Identity", ["text"], ["same"])
    return model([node], [value("text", STRING, ["n"])], [value("same", STRING, ["n"])])


def several():
    """Two INT64 inputs; their sum, their product, and the first as FP32."""
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Mul", ["a", "b"], ["product"]),
             helper.make_node("Cast", ["a"], ["real"], to=FLOAT)]
    return model(nodes, [value("a", INT64, ["n", 2]), value("b", INT64, ["n", 2])],
                 [value("sum", INT64, ["n", 2]), value("product", INT64, ["n", 2]), value("real", FLOAT, ["n", 2])])


def mixes_rows():
    """N x 2 -> N x 2, but each row minus the mean of all rows: the shapes promise batching, the values break it."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1), helper.make_node("Sub", ["x", "mean"], ["y"])]
    return model(nodes, [value("x", FLOAT, ["n", 2])], [value("y", FLOAT, ["n", 2])])


def gather():
    """Picks rows of a table of 4: an index past it fails in the engine."""
    node = helper.make_node("Gather", ["table", "index"], ["row"])
    return model([node], [value("index", INT64, ["n"])], [value("row", FLOAT, ["n", 2])], [constant("table", np.arange(8, dtype=np.float32).reshape(4, 2))])


def nonzero():
    """The outputs' shape depends on the inputs' values."""
    nodes = [helper.make_node("NonZero", ["x"], ["where"])]
    return model(nodes, [value("x", FLOAT, ["n"])], [value("where", INT64, [1, "found"])])


def conv():
    rng = np.random.default_rng(1)
    nodes = [helper.make_node("Conv", ["image", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("GlobalAveragePool", ["r"], ["p"]), helper.make_node("Flatten", ["p"], ["scores"], axis=1)]
    return model(nodes, [value("image", FLOAT, ["n", 3, "h", "w_"])], [value("scores", FLOAT, ["n", 16])],
                 [constant("w", rng.standard_normal((16, 3, 3, 3)).astype(np.float32)), constant("b", np.zeros(16, np.float32))])


def random_normal():
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["noise"]), helper.make_node("Add", ["x", "noise"], ["y"])]
    return model(nodes, [value("x", FLOAT, ["n", 2])], [value("y", FLOAT, ["n", 2])])


def random_inside():
    """The draw hides in a branch of an If."""
    def branch(name, op):
        out = value(name, FLOAT, [1])
        return helper.make_graph([op], name, [], [out])
    then = branch("t", helper.make_node("RandomUniform", [], ["t"], shape=[1]))
    other = branch("e", helper.make_node("Constant", [], ["e"], value=constant("c", np.float32([0]))))
    nodes = [helper.make_node("If", ["pick"], ["y"], then_branch=then, else_branch=other)]
    return model(nodes, [value("pick", TensorProto.BOOL, [])], [value("y", FLOAT, [1])])


def loops():
    """Runs until it is killed where x > 0; ends at once where x is 0, so that a check passes."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Sqrt", ["state"], ["next"])], "body",
        [value("i", INT64, []), value("go", TensorProto.BOOL, []), value("state", FLOAT, [1])], [value("go_on", TensorProto.BOOL, []), value("next", FLOAT, [1])])
    nodes = [helper.make_node("Greater", ["x", "zero"], ["many"]), helper.make_node("Squeeze", ["many"], ["go"]),
             helper.make_node("Loop", ["trips", "go", "x"], ["y"], body=body)]
    return model(nodes, [value("x", FLOAT, [1])], [value("y", FLOAT, [1])], [constant("trips", np.int64(2**62)), constant("zero", np.float32([0]))])


def loops_always():
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Sqrt", ["state"], ["next"])], "body",
        [value("i", INT64, []), value("go", TensorProto.BOOL, []), value("state", FLOAT, [1])], [value("go_on", TensorProto.BOOL, []), value("next", FLOAT, [1])])
    nodes = [helper.make_node("Loop", ["trips", "yes", "x"], ["y"], body=body)]
    return model(nodes, [value("x", FLOAT, [1])], [value("y", FLOAT, [1])], [constant("trips", np.int64(2**62)), constant("yes", np.bool_(True))])


def allocates():
    """x elements, as many as x says: a small body asks for any amount of memory."""
    nodes = [helper.make_node("ConstantOfShape", ["size"], ["y"], value=helper.make_tensor("v", FLOAT, [1], [1.0]))]
    return model(nodes, [value("size", INT64, [1])], [value("y", FLOAT, ["n"])])


def wrong_opset():
    return model([helper.make_node("Relu", ["x"], ["y"])], [value("x", FLOAT, [1])], [value("y", FLOAT, [1])], opset=99)


def new_ir():
    made = add()
    made.ir_version = 99
    return made


def unknown_operator():
    return model([helper.make_node("Sparkle", ["x"], ["y"], domain="my.company")], [value("x", FLOAT, [1])], [value("y", FLOAT, [1])], domains=["my.company"])


def sequence_input():
    node = helper.make_node("ConcatFromSequence", ["parts"], ["y"], axis=0)
    return model([node], [helper.make_tensor_sequence_value_info("parts", FLOAT, None)], [value("y", FLOAT, None)])


def sequence_output():
    node = helper.make_node("SplitToSequence", ["x"], ["parts"], axis=0)
    return model([node], [value("x", FLOAT, ["n", 2])], [helper.make_tensor_sequence_value_info("parts", FLOAT, None)])


def complex_output():
    """The model only passes it through; no protocol carries complex numbers."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [value("x", TensorProto.COMPLEX64, [1])], [value("y", TensorProto.COMPLEX64, [1])])


def external(location="weights/part.bin"):
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], [value("x", FLOAT, ["n", 64])], [value("y", FLOAT, ["n", 64])],
                 [constant("w", np.eye(64, dtype=np.float32) * 2)])
    convert_model_to_external_data(made, all_tensors_to_one_file=True, location=location, size_threshold=0)
    return made


def stored():
    """A convolution of one place whose 147,456 weights are of 8 bits with a scale for each filter, computed with in 32."""
    rng = np.random.default_rng(0)
    weights = [constant("w", rng.integers(-127, 128, (128, 128, 3, 3), np.int8)), constant("s", rng.uniform(0.0001, 0.001, 128).astype(np.float32))]
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["real"], axis=0), helper.make_node("Conv", ["x", "real"], ["y"])]
    return model(nodes, [value("x", FLOAT, ["n", 128, 3, 3])], [value("y", FLOAT, ["n", 128, 1, 1])], weights)


def rounded():
    """As static int8 has it: what is multiplied by 8-bit weights is rounded to 8 bits as well."""
    rng = np.random.default_rng(0)
    weights = [constant("w", rng.integers(-127, 128, (128, 128), np.int8)), constant("s", rng.uniform(0.001, 0.01, 128).astype(np.float32)),
               constant("xs", np.float32(0.02)), constant("xz", np.uint8(128))]
    nodes = [helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["few"]), helper.make_node("DequantizeLinear", ["few", "xs", "xz"], ["back"]),
             helper.make_node("DequantizeLinear", ["w", "s"], ["real"], axis=1), helper.make_node("MatMul", ["back", "real"], ["y"])]
    return model(nodes, [value("x", FLOAT, ["n", 128])], [value("y", FLOAT, ["n", 128])], weights)


def trees(folder):
    """Real ones, trained on a table that scikit-learn carries: 30 features, two classes."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier
    table = load_breast_cancer()
    forest = RandomForestClassifier(n_estimators=20, max_depth=6, random_state=0, n_jobs=1).fit(table.data.astype(np.float32), table.target)
    for name, zipmap in (("forest", False), ("forest_zipmap", True)):
        made = convert_sklearn(forest, initial_types=[("input", FloatTensorType([None, 30]))], options={"zipmap": zipmap}, target_opset=17)
        save(made, folder / f"{name}.onnx")
    rows = table.data[:64].astype(np.float32)
    (folder / "forest_rows.bin").write_bytes(rows.tobytes())
    (folder / "forest_probabilities.bin").write_bytes(forest.predict_proba(rows).astype(np.float32).tobytes())


SIMPLE = [add, matmul_fixed, strings, several, mixes_rows, gather, nonzero, conv, random_normal, random_inside, loops, loops_always, allocates,
          wrong_opset, new_ir, unknown_operator, sequence_input, sequence_output, complex_output, stored, rounded]


def main(folder):
    stamp = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()
    if (folder / "stamp").exists() and (folder / "stamp").read_text() == stamp:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for make in SIMPLE:
        save(make(), folder / f"{make.__name__}.onnx")
    whole = (folder / "conv.onnx").read_bytes()
    (folder / "truncated.onnx").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "not_a_model.onnx").write_bytes(b"PK\x03\x04" + bytes(200))
    (folder / "text.onnx").write_text("this is a letter, not a model\n" * 10)
    (folder / "nets" / "weights").mkdir(parents=True, exist_ok=True)
    save(external(), folder / "nets" / "external.onnx")  # writes nets/weights/part.bin beside it
    (folder / "outside.onnx").write_bytes(external("weights.bin").SerializeToString().replace(b"weights.bin", b"../../a.bin"))
    trees(folder)
    (folder / "stamp").write_text(stamp)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/test-models"))
