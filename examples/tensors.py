"""Calls with binary tensors, as the Open Inference Protocol's extension has them."""
import json

import numpy as np

from node import Failed

DATATYPES = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "INT32": np.int32, "UINT8": np.uint8}


def binary_infer(node, name, tensors):
    """An Open Inference Protocol call with binary tensors both ways: ({output: array}, milliseconds)."""
    kinds = {np.dtype(kind): datatype for datatype, kind in DATATYPES.items()}
    parts = {key: np.ascontiguousarray(tensor).tobytes() for key, tensor in tensors.items()}
    head = json.dumps({"parameters": {"binary_data_output": True}, "inputs": [
        {"name": key, "shape": list(tensor.shape), "datatype": kinds[tensor.dtype], "parameters": {"binary_data_size": len(parts[key])}}
        for key, tensor in tensors.items()]}).encode()
    reply = node.post(f"/v2/models/{name}/infer", head + b"".join(parts.values()),
                      {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))})
    size = reply.headers.get("Inference-Header-Content-Length")
    if size is None:
        raise Failed(f"{name}: asked for binary outputs, but the reply has no Inference-Header-Content-Length: {reply!r}")
    outputs, offset = {}, int(size)
    for output in json.loads(reply.body[:offset])["outputs"]:
        count = output["parameters"]["binary_data_size"]
        outputs[output["name"]] = np.frombuffer(reply.body[offset:offset + count], DATATYPES[output["datatype"]]).reshape(output["shape"])
        offset += count
    if offset != len(reply.body):
        raise Failed(f"{name}: the reply has {len(reply.body)} bytes, its outputs say {offset}")
    return outputs, reply.milliseconds
