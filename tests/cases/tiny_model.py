"""The smallest useful ONNX model, written byte by byte with the standard library: y = x + x, x FP32[?,2]."""
from pathlib import Path


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def number(field, value):
    return varint(field << 3) + varint(value)


def block(field, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def tensor(name, columns):
    shape = block(1, block(2, "rows")) + block(1, number(1, columns))
    return block(1, name) + block(2, block(1, number(1, 1) + block(2, shape)))


def double_model(columns=2, operator="Add", inputs=2):
    node = block(1, "x") * inputs + block(2, "y") + block(4, operator)
    graph = block(1, node) + block(2, "double") + block(11, tensor("x", columns)) + block(12, tensor("y", columns))
    return number(1, 8) + block(7, graph) + block(8, number(2, 13))


def write_functions(folder):
    """folder/double.onnx; folder/dice.onnx, which answers random numbers; folder/twin/ with a manifest; folder/bad.onnx, which is none."""
    folder = Path(folder)
    (folder / "twin").mkdir(parents=True)
    (folder / "double.onnx").write_bytes(double_model())
    (folder / "dice.onnx").write_bytes(double_model(operator="RandomNormalLike", inputs=1))
    (folder / "twin" / "model.onnx").write_bytes(double_model(3))
    (folder / "twin" / "function.yaml").write_text("name: twin\nmodel: model.onnx\nscaling: {max: 2}\n")
    (folder / "bad.onnx").write_bytes(b"this is no model")
    (folder / "row.json").write_text('{"x": [[1, 2]]}')
