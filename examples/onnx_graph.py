"""Builds an ONNX graph node by node, and reads weights from the files that packages carry. No PyTorch.

Used by photos/build.py and sentences/build.py. Graph.op() adds a node and returns the name of its output;
Graph.weight() adds an initializer. Nothing here knows a model.
"""
import io
import json
import pickle
import struct
from collections import OrderedDict

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    def __init__(self):
        self.nodes, self.weights, self.constants = [], [], {}

    def weight(self, array, name=None):
        name = name or f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(array, order="C", copy=True), name))
        return name

    def constant(self, value, dtype=np.int64):
        key = (str(value), np.dtype(dtype).name)
        if key not in self.constants:
            self.constants[key] = self.weight(np.array(value, dtype), f"constant{len(self.constants)}")
        return self.constants[key]

    def op(self, kind, *inputs, out=None, **attributes):
        number = len(self.nodes)
        out = out or f"t{number}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=f"{kind}_{number}", **attributes))
        return out

    def save(self, path, name, inputs, outputs, opset=17):
        """inputs and outputs: {name: (TensorProto type, [dimensions; a string is a free one])}."""
        infos = [[helper.make_tensor_value_info(key, *value) for key, value in side.items()] for side in (inputs, outputs)]
        graph = helper.make_graph(self.nodes, name, *infos, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        model.producer_name = "mayfly-examples"
        onnx.checker.check_model(model)
        onnx.save(model, path)


def read_safetensors(data):
    """bytes -> {name: array}."""
    length = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + length])
    types = {"F32": np.float32, "F16": np.float16, "I64": np.int64}
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            arrays[name] = np.frombuffer(data[8 + length + begin:8 + length + end], types[entry["dtype"]]).reshape(entry["shape"])
    return arrays


class _Tensors(pickle.Unpickler):
    """Only what a dictionary of float tensors needs; any other class in the file is refused."""

    def find_class(self, module, name):
        allowed = {("collections", "OrderedDict"): OrderedDict,
                   ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides),
                   ("torch", "FloatStorage"): np.float32, ("torch", "LongStorage"): np.int64}
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"the weights name {module}.{name}, which a file of tensors does not need")
        return allowed[module, name]

    def persistent_load(self, key):
        _, dtype, storage, _, count, *_ = key
        return storage, np.dtype(dtype), count


def read_torch(data):
    """The bytes of a .pth of PyTorch's format before 1.6 -> {name: array}: four pickles, then the storages one by one."""
    file = io.BytesIO(data)
    for _ in range(3):  # magic number, protocol version, sizes of the machine that wrote it
        _Tensors(file).load()
    tensors, order = _Tensors(file).load(), _Tensors(file).load()
    dtypes = {storage[0]: storage[1] for storage, *_ in tensors.values()}
    storages = {}
    for key in order:
        count = struct.unpack("<Q", file.read(8))[0]
        storages[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key])
    arrays = {}
    for name, (storage, offset, shape, strides) in tensors.items():
        flat = storages[storage[0]][offset:]
        bytes_strides = [stride * flat.itemsize for stride in strides]
        arrays[name] = np.lib.stride_tricks.as_strided(flat, shape, bytes_strides, writeable=False)
    return arrays


FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
