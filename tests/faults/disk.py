"""A full disk: the data folder on a small file system of its own."""
import os
import subprocess
import tempfile

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from node import Node
from world import MODELS, ROW, Skip, check, until


def large_model(path, megabytes):
    weights = np.random.default_rng(1).standard_normal((megabytes * 256, 1024), np.float32)
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, ["n", megabytes * 256])]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "graph", inputs,
                              [value("y", TensorProto.FLOAT, ["n", 1024])], [numpy_helper.from_array(weights, "w")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def free(folder):
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def fill(folder):
    """Takes every byte that is left."""
    with open(os.path.join(folder, "ballast"), "ab", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


def test_a_full_disk(world):
    folder = tempfile.mkdtemp(prefix="mayfly-disk-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "mayfly-faults", folder], capture_output=True, text=True)
    if mounted.returncode != 0:
        os.rmdir(folder)
        raise Skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    node = None
    try:
        node = Node(world.binary, data=folder)
        world.deploy(MODELS / "add.onnx", node=node)
        large_model(world.folder / "large.onnx", 8)
        fill(folder)
        check(free(folder) == 0, "the disk is full")
        done = world.run("deploy", world.folder / "large.onnx", node=node)
        check(done.returncode == 1 and "the disk is full" in done.stderr, f"an upload: {done.stderr.strip()}", done)
        # What is uploaded already takes room in the catalog and for the compiled model; there may be just enough in a file that is there.
        for i in range(200):
            done = world.run("deploy", MODELS / "add.onnx", "--force", "--name", f"more-{i}", "--no-wait", node=node)
            if done.returncode != 0:
                break
        check(done.returncode == 1 and "disk is full" in done.stderr,
              f"after {i} deploys, one of an uploaded model: {done.stderr.strip()}", done)
        world.answers("a function", node=node)
        lost = until(lambda: world.metric("mayfly_usage_records_lost", node=node), "lost records are counted")
        notes = until(lambda: [note for note in node.get("/api/node")["notes"] if "usage records are being lost" in note], "a note")
        check("the disk is full" in notes[0], f"{lost:.0f} usage records are lost, and `mayfly node` says: {notes[0]}")
        for _ in range(100):
            node.post("/functions/add", ROW)
        check(world.metric("mayfly_usage_records_lost", node=node) >= 100, "calls go on, each lost record is counted")
        lines = world.run("logs", "add", "--json", node=node).stdout.splitlines()
        check(sum('"ok"' in line for line in lines) >= 100, "the log in memory has them")

        os.remove(os.path.join(folder, "ballast"))
        world.deploy(world.folder / "large.onnx", node=node)
        check(True, "with room again, the same deploy works")

        def kept():
            for _ in range(100):
                node.post("/functions/add", ROW)
            return [s for s in node.get("/api/usage?function=add")["sums"] if s["invocations"] > 0]
        until(kept, "usage records are kept again")
        check(True, f"and records are kept again, after {world.metric('mayfly_usage_records_lost', node=node):.0f} lost ones")
        before = sorted(f["name"] for f in node.get("/api/functions")["functions"])
        check(node.stop() == 0, "it ends")
        node = Node(world.binary, data=folder)
        after = sorted(f["name"] for f in node.get("/api/functions")["functions"])
        check(before == after and f"more-{i}" not in after,
              f"after a restart all {len(after)} functions are there, not the one that was refused", (before, after))
        world.answers("a function", node=node)
        check(node.send("POST", "/functions/large", '{"x": [' + str([0] * 2048) + "]}").status == 200, "and the large one")
    finally:
        if node:
            node.kill()
        subprocess.run(["umount", "-l", folder], check=False)
        os.rmdir(folder)
