#!/usr/bin/env python3
"""NVIDIA's own client of the Open Inference Protocol (PyPI tritonclient, HTTP) against a node of ours.

    build/venv/bin/python tests/clients/test_tritonclient.py --mayfly build/mayfly

Starts a node, deploys models that it makes here, and runs every test_… function below. Needs tools/venv.sh and
`examples/get_models.py fraud`. The last line is "N passed, N failed"; the exit status is 0 only if none failed.
"""
import asyncio
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
from node import Node  # noqa: E402
from runner import main  # noqa: E402

# datatype of the protocol: (ONNX type, values that an encoding error would change)
ZOO = {
    "BOOL": (TensorProto.BOOL, np.array([[True, False, True]])),
    "UINT8": (TensorProto.UINT8, np.array([[0, 1, 255]], np.uint8)),
    "UINT16": (TensorProto.UINT16, np.array([[0, 1, 65535]], np.uint16)),
    "UINT32": (TensorProto.UINT32, np.array([[0, 1, 2**32 - 1]], np.uint32)),
    "UINT64": (TensorProto.UINT64, np.array([[0, 1, 2**64 - 1]], np.uint64)),
    "INT8": (TensorProto.INT8, np.array([[-128, 0, 127]], np.int8)),
    "INT16": (TensorProto.INT16, np.array([[-2**15, 0, 2**15 - 1]], np.int16)),
    "INT32": (TensorProto.INT32, np.array([[-2**31, 0, 2**31 - 1]], np.int32)),
    "INT64": (TensorProto.INT64, np.array([[-2**63, 0, 2**63 - 1]], np.int64)),
    "FP16": (TensorProto.FLOAT16, np.array([[-65504, 0.1, 6e-8]], np.float16)),
    "FP32": (TensorProto.FLOAT, np.array([[-3.4028235e38, 0.1, 1e-45]], np.float32)),
    "FP64": (TensorProto.DOUBLE, np.array([[-1.7e308, 0.1, 5e-324]], np.float64)),
    "BYTES": (TensorProto.STRING, np.array([["", "snow ☃ \" \\ \n", "x" * 5000]], np.object_)),
}


def zoo_model(kinds):
    """A model that gives every input back: in_FP32 -> out_FP32 and so on, batch x 3."""
    nodes = [helper.make_node("Identity", ["in_" + kind], ["out_" + kind]) for kind in kinds]
    inputs = [helper.make_tensor_value_info("in_" + kind, ZOO[kind][0], ["batch", 3]) for kind in kinds]
    outputs = [helper.make_tensor_value_info("out_" + kind, ZOO[kind][0], ["batch", 3]) for kind in kinds]
    graph = helper.make_graph(nodes, "zoo", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class World:
    """What the tests share: a node with its models, and the client."""

    def __init__(self, binary):
        self.samples = json.loads((ROOT / "build/models/samples/fraud/samples.json").read_text())
        self.rows = np.array(self.samples["rows"], np.float32)
        self.node = Node(binary)
        try:
            with tempfile.TemporaryDirectory() as folder:
                for name, kinds in (("zoo", [kind for kind in ZOO if kind != "BYTES"]), ("strings", ["BYTES"])):
                    path = Path(folder) / (name + ".onnx")
                    onnx.save(zoo_model(kinds), path)
                    self.node.command("deploy", str(path))
            self.node.command("deploy", str(ROOT / "build/models/fraud"))
            self.client = triton.InferenceServerClient(self.node.host)
        except BaseException:
            self.node.show_log()
            self.node.kill()
            raise

    def close(self):
        self.client.close()
        self.node.kill()


def tensor(name, values, datatype="FP32", binary=True):
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def refusal(action):
    """The exception that the client raises for a refused call; that none came is a failure."""
    try:
        action()
    except InferenceServerException as error:
        assert error.message(), "an error without a message"
        return error
    raise AssertionError("the call was accepted")


def test_health(world):
    assert world.client.is_server_live() and world.client.is_server_ready()
    assert world.client.is_model_ready("fraud") and world.client.is_model_ready("fraud", "1")
    assert not world.client.is_model_ready("nobody") and not world.client.is_model_ready("fraud", "7")


def test_server_metadata(world):
    metadata = world.client.get_server_metadata()
    assert metadata["name"] and metadata["version"], metadata
    assert "binary_tensor_data" in metadata["extensions"], metadata


def test_model_metadata(world):
    for version in ("", "1"):
        metadata = world.client.get_model_metadata("fraud", version)
        assert metadata["name"] == "fraud" and "1" in metadata["versions"] and metadata["platform"], metadata
        assert metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 30]}], metadata
        outputs = {output["name"]: (output["datatype"], output["shape"]) for output in metadata["outputs"]}
        assert outputs == {"label": ("INT64", [-1]), "probabilities": ("FP32", [-1, 2])}, metadata
    kinds = {entry["name"]: entry["datatype"] for name in ("zoo", "strings") for entry in world.client.get_model_metadata(name)["inputs"]}
    assert kinds == {"in_" + kind: kind for kind in ZOO}, kinds


def test_infer_every_way_of_sending_and_answering(world):
    wanted = None
    for binary_in in (False, True):
        for binary_out in (False, True):
            outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("label", "probabilities")]
            result = world.client.infer("fraud", [tensor("input", world.rows, binary=binary_in)], outputs=outputs, request_id="row 1")
            reply = result.get_response()
            assert reply["id"] == "row 1" and reply["model_name"] == "fraud" and reply["model_version"] == "1", reply
            label, chances = result.as_numpy("label"), result.as_numpy("probabilities")
            assert label.dtype == np.int64 and chances.dtype == np.float32 and chances.shape == (len(world.rows), 2)
            assert (label == world.samples["labels"]).mean() > 0.93
            assert wanted is None or np.array_equal(chances, wanted), "the way of sending changed a value"
            wanted = chances
    result = world.client.infer("fraud", [tensor("input", world.rows)])  # names no output: all of them
    assert np.array_equal(result.as_numpy("probabilities"), wanted) and result.as_numpy("label") is not None


def test_infer_one_output_only(world):
    result = world.client.infer("fraud", [tensor("input", world.rows[:2])], outputs=[triton.InferRequestedOutput("label")])
    assert result.as_numpy("label").shape == (2,) and result.as_numpy("probabilities") is None


def test_infer_by_version(world):
    assert world.client.infer("fraud", [tensor("input", world.rows[:1])], model_version="1").as_numpy("label").shape == (1,)
    error = refusal(lambda: world.client.infer("fraud", [tensor("input", world.rows[:1])], model_version="7"))
    assert "7" in error.message(), error


def test_every_datatype_there_and_back(world):
    numbers = [kind for kind in ZOO if kind != "BYTES"]
    for binary in (False, True):
        # The client sends FP16 in binary only, as the protocol wants it.
        inputs = [tensor("in_" + kind, ZOO[kind][1], kind, binary or kind == "FP16") for kind in numbers]
        outputs = [triton.InferRequestedOutput("out_" + kind, binary_data=binary or kind == "FP16") for kind in numbers]
        result = world.client.infer("zoo", inputs, outputs=outputs)
        for kind in numbers:
            got, sent = result.as_numpy("out_" + kind), ZOO[kind][1]
            assert got.dtype == sent.dtype and np.array_equal(got, sent), f"{kind}, binary {binary}: sent {sent}, got {got}"


def test_strings(world):
    sent = ZOO["BYTES"][1]
    for binary_in in (False, True):
        for binary_out in (False, True):
            result = world.client.infer("strings", [tensor("in_BYTES", sent, "BYTES", binary_in)],
                                        outputs=[triton.InferRequestedOutput("out_BYTES", binary_data=binary_out)])
            got = [value.decode() if isinstance(value, bytes) else value for value in result.as_numpy("out_BYTES").ravel()]
            assert got == sent.ravel().tolist(), f"binary {binary_in}, {binary_out}: got {got}"


def test_errors_say_what_is_wrong(world):
    rows = world.rows[:1]
    cases = [("a model that is not there", "nobody", [tensor("input", rows)], "nobody"),
             ("a wrong input name", "fraud", [tensor("inputt", rows)], "inputt"),
             ("a wrong datatype", "fraud", [tensor("input", rows.astype(np.float64), "FP64")], "FP64"),
             ("a wrong shape", "fraud", [tensor("input", rows[:, :29])], "29")]
    for what, model, inputs, word in cases:
        for binary in (True, False):
            for made in inputs:
                if not binary:
                    kind = np.float64 if made.datatype() == "FP64" else np.float32
                    made.set_data_from_numpy(rows[:, :made.shape()[1]].astype(kind), binary_data=False)
            error = refusal(lambda model=model, inputs=inputs: world.client.infer(model, inputs))
            assert word in error.message(), f"{what}, binary {binary}: {error}"
    error = refusal(lambda: world.client.infer("fraud", [tensor("input", rows)], outputs=[triton.InferRequestedOutput("lable")]))
    assert "lable" in error.message(), error
    error = refusal(lambda: world.client.get_model_metadata("nobody"))
    assert "nobody" in error.message(), error
    assert world.client.infer("fraud", [tensor("input", rows)]).as_numpy("label").shape == (1,), "an error must not hurt the next call"


def test_statistics(world):
    def of(version=""):
        stats = world.client.get_inference_statistics("fraud", version)["model_stats"]
        assert [(s["name"], s["version"]) for s in stats] == [("fraud", "1")], stats
        return stats[0]

    before = of()
    world.client.infer("fraud", [tensor("input", world.rows[:5])])
    after = of("1")
    assert after["inference_count"] == before["inference_count"] + 5, (before, after)
    assert after["execution_count"] == before["execution_count"] + 1, (before, after)
    for phase in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert after["inference_stats"][phase]["count"] == before["inference_stats"][phase]["count"] + 1, (phase, before, after)
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]
    assert "fraud" in [s["name"] for s in world.client.get_inference_statistics()["model_stats"]]


def test_many_at_once(world):
    client = triton.InferenceServerClient(world.node.host, concurrency=16)
    pending = [client.async_infer("fraud", [tensor("input", world.rows[index:index + 1])]) for index in range(len(world.rows))]
    labels = [int(call.get_result().as_numpy("label")[0]) for call in pending]
    client.close()
    assert np.mean(np.array(labels) == world.samples["labels"]) > 0.93, "answers went to the wrong calls"


def test_asyncio(world):
    async def calls():
        async with triton_aio.InferenceServerClient(world.node.host) as client:
            assert await client.is_server_live()
            results = await asyncio.gather(*[client.infer("fraud", [tensor("input", world.rows[index:index + 1])]) for index in range(32)])
            return [int(result.as_numpy("label")[0]) for result in results]

    assert np.mean(np.array(asyncio.run(calls())) == world.samples["labels"][:32]) > 0.9


def test_compressed_request(world):
    """Either understood or refused with a reason; never misread."""
    for algorithm in ("gzip", "deflate"):
        try:
            result = world.client.infer("fraud", [tensor("input", world.rows[:4])], request_compression_algorithm=algorithm)
        except InferenceServerException as error:
            assert error.message(), f"{algorithm}: an error without a message"
        else:
            assert result.as_numpy("label").tolist() == world.client.infer("fraud", [tensor("input", world.rows[:4])]).as_numpy("label").tolist()


def test_classification(world):
    result = world.client.infer("fraud", [tensor("input", world.rows[:3])], outputs=[triton.InferRequestedOutput("probabilities", class_count=2)])
    chances = world.client.infer("fraud", [tensor("input", world.rows[:3])]).as_numpy("probabilities")
    named = result.as_numpy("probabilities")
    assert named.shape == (3, 2), named
    for row, entries in zip(chances, named):
        parts = [entry.decode().split(":") for entry in entries]
        assert [int(part[1]) for part in parts] == np.argsort(-row).tolist(), parts
        assert all(np.isclose(float(part[0]), row[int(part[1])], atol=1e-5) for part in parts), parts
        assert [part[2] for part in parts] == [world.samples["classes"][int(part[1])] for part in parts], parts


if __name__ == "__main__":
    main(World, globals(), __doc__)
