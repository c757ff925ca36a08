"""Dynamic 8-bit quantisation of an ONNX model: products with constant weights, and tables that are looked up.

Weights become int8 per column, activations uint8 while the model runs (DynamicQuantizeLinear, MatMulInteger), which the
engine fuses. The scheme is that of ONNX Runtime's quantize_dynamic; biases and everything else stay as they are.
"""
import numpy as np
import onnx
from onnx import helper, numpy_helper


def to_int8(weights, axis):
    """(int8, scale per slice): symmetric, so that no zero point is needed."""
    scale = np.maximum(np.abs(weights).max(axis=axis, keepdims=True) / 127, 1e-12).astype(np.float32)
    return np.clip(np.rint(weights / scale), -127, 127).astype(np.int8), scale


def quantise(source, target, least_size=4096):
    model = onnx.load(source)
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes, made, activations = [], {}, {}

    def add(kind, inputs, outputs, **attributes):
        nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    def weight(name, axis):
        """Names of the int8 weights and of their scale, one for each slice along `axis`."""
        if (name, axis) not in made:
            values, scale = to_int8(numpy_helper.to_array(constants[name]), axis)
            made[name, axis] = [numpy_helper.from_array(values, name + "_int8"), numpy_helper.from_array(scale.squeeze(axis), name + "_scale")]
        return [tensor.name for tensor in made[name, axis]]

    def is_weight(name):
        return name in constants and len(constants[name].dims) == 2 and np.prod(constants[name].dims) >= least_size

    for node in graph.node:
        out = node.output[0]
        if node.op_type == "MatMul" and is_weight(node.input[1]):
            data = node.input[0]
            if data not in activations:  # query, key and value share one
                activations[data] = [data + "_uint8", data + "_scale", data + "_zero"]
                add("DynamicQuantizeLinear", [data], activations[data])
            values, scale = weight(node.input[1], 0)
            add("MatMulInteger", [activations[data][0], values, activations[data][2]], [out + "_int32"])
            add("Cast", [out + "_int32"], [out + "_float"], to=onnx.TensorProto.FLOAT)
            add("Mul", [activations[data][1], scale], [out + "_scales"])
            add("Mul", [out + "_float", out + "_scales"], [out])
        elif node.op_type == "Gather" and is_weight(node.input[0]):
            values, scale = weight(node.input[0], 1)
            add("Gather", [values, node.input[1]], [out + "_int8"])
            add("Gather", [scale, node.input[1]], [out + "_scale"])
            add("Cast", [out + "_int8"], [out + "_float"], to=onnx.TensorProto.FLOAT)
            # One scale a row: a last dimension of 1.
            add("Unsqueeze", [out + "_scale", "last_dimension"], [out + "_column"])
            add("Mul", [out + "_float", out + "_column"], [out])
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "last_dimension"))
    for tensors in made.values():
        graph.initializer.extend(tensors)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    onnx.checker.check_model(model)
    onnx.save(model, target)
