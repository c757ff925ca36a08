"""Models that can't be served, at deploy: exit status 1, a message that says what, which and what to do, and a node that lives."""
import os
import signal
import subprocess

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from node import Node
from world import MODELS, burning, check, until

REFUSED = {  # the file: what its message must hold
    "not_a_model": ("'not_a_model.onnx'", "not an ONNX model", "zip archive"),
    "text": ("'text.onnx'", "not an ONNX model", "export it to ONNX"),
    "truncated": ("'truncated.onnx'", "truncated", "upload it again"),
    "wrong_opset": ("opset 99", "export it with an older opset"),
    "new_ir": ("IR version 99", "older"),
    "unknown_operator": ("my.company:Sparkle", "export it with standard ONNX operators"),
    "outside": ("'../../a.bin'", "outside the function's folder", "beside it"),
    "sequence_input": ("'parts'", "tensors only"),
    "complex_output": ("complex64", "export it without"),
}


def test_what_is_no_model(world):
    for name, parts in REFUSED.items():
        world.refused(MODELS / f"{name}.onnx", *parts)
    missing = world.run("invoke", "truncated", "--data", "{}")
    check(missing.returncode == 4, "nothing of a refused model is left to call", missing)
    world.answers()


def grows_always():
    """Doubles its state in each of 2^62 rounds, whatever comes in."""
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Concat", ["state", "state"], ["next"], axis=0)]
    inputs = [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("state", TensorProto.FLOAT, [None])]
    body = helper.make_graph(nodes, "body", inputs, [value("go_on", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, [None])])
    loop = helper.make_node("Loop", ["trips", "yes", "x"], ["y"], body=body)
    graph = helper.make_graph([loop], "graph", [value("x", TensorProto.FLOAT, ["n"])], [value("y", TensorProto.FLOAT, ["m"])],
                              [numpy_helper.from_array(np.int64(2**62), "trips"), numpy_helper.from_array(np.bool_(True), "yes")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_model_that_allocates_without_end(world):
    path = world.folder / "grows.onnx"
    save(grows_always(), path)
    world.refused(path, "'grows.onnx'", "exceeded its memory limit of 1.07 GB", "resources.memory")
    world.answers()


def calls_itself():
    value = helper.make_tensor_value_info
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    again = helper.make_node("F", ["x"], ["y"], domain="mine")
    graph = helper.make_graph([again], "graph", [value("x", TensorProto.FLOAT, ["n"])], [value("y", TensorProto.FLOAT, ["n"])])
    function = helper.make_function("mine", "F", ["x"], ["y"], [again], opsets)
    return helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)


def test_a_model_that_calls_itself(world):
    path = world.folder / "recursive.onnx"
    save(calls_itself(), path)
    world.refused(path, "'recursive.onnx'", "calls itself (mine:F -> mine:F)", "export it without recursion")
    world.answers()


def test_a_model_whose_process_crashes(world):
    """No model is known that crashes this engine: the signal that a crash ends with is sent, while the model is being checked."""
    deploying = subprocess.Popen([world.binary, "deploy", MODELS / "loops_always.onnx", "--url", world.node.url], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)
    try:
        crashed = until(lambda: burning(world.node), "the check of a model without end computes")
        world.answers("while the check never ends, another function")
        for pid in crashed:
            os.kill(pid, signal.SIGSEGV)
        error = deploying.communicate(timeout=100)[1].strip()
    finally:
        deploying.kill()
        deploying.wait()
    how = "process ended: " if world.sanitized else "signal 11"  # a sanitizer catches the signal, and ends in its own way
    check(deploying.returncode == 1 and "'loops_always.onnx' was not deployed" in error and how in error, error, deploying.returncode)
    world.answers()


def test_a_model_without_end(world):
    """The check ends after two minutes: begun here, waited for at the end of all tests, and only with --slow."""
    if not world.slow:
        print("   the check's own limit is 2 minutes: run with --slow")
        return
    node = Node(world.binary)  # its own: other tests look at what computes on the shared one

    def wait():
        try:
            done = world.run("deploy", MODELS / "loops_always.onnx", node=node)
            check(done.returncode == 1 and "'loops_always.onnx'" in done.stderr and "2.00 min" in done.stderr, done.stderr.strip(), done)
        finally:
            node.kill()
    world.begin("a model that loops without end", wait)


def test_what_compiles_to_nothing(world):
    """100,000 nodes: the engine writes a flat file that it refuses to read."""
    if not world.slow:
        print("   compiling 100,000 nodes takes long: run with --slow")
        return
    count = 100_000
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("Relu", [f"t{i}" if i else "x"], [f"t{i + 1}" if i + 1 < count else "y"]) for i in range(count)]
    graph = helper.make_graph(nodes, "graph", [value("x", TensorProto.FLOAT, ["n", 2])], [value("y", TensorProto.FLOAT, ["n", 2])])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), world.folder / "chain.onnx")
    done = world.run("deploy", world.folder / "chain.onnx", "--memory", "4GiB")
    check(done.returncode == 0 and "can't read what it compiled" in done.stdout, "the deploy says that it serves as uploaded", done)
    done = world.run("invoke", "chain", "--data", '{"x": [[1, -2]]}')
    check(done.stdout == '{"y":[[1,0]]}\n', "and it does", done)
