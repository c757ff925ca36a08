"""A model whose file is larger than its memory: it answers, is not ended for it, and its next start reads ahead what the first touched."""
import json
import os
import sqlite3
import time
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from node import Node, descendants, stat_fields
from world import Skip, check, until

TABLES, ROWS, WIDTH = 48, 1024, 1024  # 4 MiB each, 192 MiB in all
MEMORY_MIB = 40
IDS = 16  # of one call


def value(table, row):
    return (table * 7 + row * 3) % 101


def tables():
    """ids [n] -> y [n, 1]: a row of each of many tables, added up: of each table only that row's page is touched."""
    nodes, constants = [], []
    for table in range(TABLES):
        rows = np.array([value(table, row) for row in range(ROWS)], np.float32)
        constants.append(numpy_helper.from_array(np.repeat(rows[:, None], WIDTH, axis=1), f"t{table}"))
        nodes.append(helper.make_node("Gather", [f"t{table}", "ids"], [f"g{table}"]))
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    nodes += [helper.make_node("Sum", [f"g{table}" for table in range(TABLES)], ["sum"]),
              helper.make_node("ReduceMean", ["sum"], ["y"], axes=[1], keepdims=1)]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "tables", [info("ids", TensorProto.INT64, ["n"])], [info("y", TensorProto.FLOAT, ["n", 1])], constants[:-1])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def ask(node, ids, times=1):
    reply = node.post("/functions/tables", json.dumps({"ids": ids}))
    expected = [[float(times * sum(value(table, row) for table in range(TABLES)))] for row in ids]
    got = reply.json["y"]
    if not np.allclose(got, expected, rtol=1e-5):
        raise AssertionError(f"ids {ids}: {got} instead of {expected}")


def forget_pages(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def to_zero(node):
    node.command("scale", "tables", "0")
    until(lambda: not node.processes("tables"), "no process of it is left")


def cold(node, artifact):
    """The first answer with nothing of the file in memory: (the start as the node tells it, waits for the disk of the instance)."""
    to_zero(node)
    forget_pages(artifact)
    known = {start["at"] for start in node.get("/api/functions/tables")["cold_starts"]}
    ask(node, [0])
    start = next(s for s in node.get("/api/functions/tables")["cold_starts"] if s["at"] not in known)
    return start, sum(int(stat_fields(pid)[9]) for pid in model_pids(node, artifact.name))


def model_pids(node, artifact):
    """Processes below the node that map it: instances and templates."""
    found = []
    for pid, _ in descendants(node.process.pid):
        try:
            if artifact in Path(f"/proc/{pid}/maps").read_text():
                found.append(pid)
        except OSError:
            pass
    return found


def group_of(pid, controller):
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}")
    return None


def again(node, **changes):
    """The node stopped, its measurements changed, and started again."""
    check(node.stop() == 0, "the node stops")
    change_tuning(node.data, **changes)
    return Node(node.binary, data=node.data)


def not_sanitized(world):
    if world.sanitized:
        raise Skip("a sanitizer takes more memory than these models may, and its allocator does not tell how much")


def test_a_model_larger_than_its_memory(world):
    not_sanitized(world)
    folder = world.folder / "tables"
    folder.mkdir()
    save(tables(), folder / "model.onnx")
    (folder / "function.yaml").write_text(f"name: tables\nresources:\n  memory: {MEMORY_MIB}MiB\n")
    node = Node(world.binary, data=str(world.folder / "tables-data"))
    try:
        world.deploy(folder, "--no-wait", node=node)
        ask(node, [1, 2, 3])
        check(True, "it answers as uploaded, where its weights are copied")
        version = until(lambda: next((v for v in node.get("/api/functions/tables")["versions"] if v["stage"] == "ready"), None), "it is ready")
        compiled = version["compiled"]
        check(compiled and compiled["size"] > MEMORY_MIB << 20, f"compiled, {compiled['size']} bytes are more than {MEMORY_MIB} MiB")
        check("larger than its memory" in version["weights_note"], version["weights_note"])
        check("larger than its memory" in node.command("describe", "tables"), "describe says so")
        record = compiled["tuning"]["working_set"]
        check(record and TABLES <= record["ranges"] and record["size"] < compiled["size"] // 8,
              f"of it a start touches {record['size']} bytes in {record['ranges']} ranges", record)
        artifact = next(Path(node.data).rglob(compiled["sha256"]))
        node = again(node, template_allowed=False)  # which would fork from memory: it is a start from the file that is tried

        start, waits = cold(node, artifact)
        pid = max(model_pids(node, artifact.name))
        check(start["prefetched"] == record["size"], f"a start reads ahead just that, and waits {waits} times for the disk", start)
        group = group_of(pid, "memory")
        limited = group and (group / "memory.limit_in_bytes").exists()
        if limited:
            (group / "memory.max_usage_in_bytes").write_text("0")  # of whoever had the group before
        for begin in range(0, ROWS, IDS):
            ask(node, list(range(begin, begin + IDS)))
        for begin in range(0, ROWS // 4, IDS):  # which have left meanwhile
            ask(node, list(range(begin, begin + IDS)))
        check(pid in model_pids(node, artifact.name), "calls that touch all of it, and part of it again, are answered right, by one process that is not ended")
        check(not node.get("/api/functions/tables")["failures"], "nothing of it has failed")
        if limited:
            limit = int((group / "memory.limit_in_bytes").read_text())
            most = int((group / "memory.max_usage_in_bytes").read_text())
            check(limit <= 2 * MEMORY_MIB << 20 and most <= limit, f"it had {most >> 20} MiB at most, of {limit >> 20}")

        node = again(node, working_set="")
        start, waits_without = cold(node, artifact)
        check(start["prefetched"] == 0 and waits_without >= 4 * max(waits, 1), f"without the record it waits {waits_without} times, not {waits}")
    finally:
        node.kill()


TIMES = 12  # that each table is named


def tables_in_a_file(folder):
    """The same tables in a file of their own, each under twelve names: 2.4 GB of weights in 201 MB, which no flat file holds."""
    with open(folder / "tables.bin", "wb") as file:
        for table in range(TABLES):
            rows = np.array([value(table, row) for row in range(ROWS)], np.float32)
            np.repeat(rows[:, None], WIDTH, axis=1).tofile(file)
    nodes, constants = [], []
    for name in range(TABLES * TIMES):
        tensor = TensorProto(name=f"t{name}", data_type=TensorProto.FLOAT, dims=[ROWS, WIDTH], data_location=TensorProto.EXTERNAL)
        size = ROWS * WIDTH * 4
        for key, text in (("location", "tables.bin"), ("offset", str(name % TABLES * size)), ("length", str(size))):
            tensor.external_data.add(key=key, value=text)
        constants.append(tensor)
        nodes.append(helper.make_node("Gather", [f"t{name}", "ids"], [f"g{name}"]))
    nodes += [helper.make_node("Sum", [f"g{name}" for name in range(TABLES * TIMES)], ["sum"]),
              helper.make_node("ReduceMean", ["sum"], ["y"], axes=[1], keepdims=1)]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "tables", [info("ids", TensorProto.INT64, ["n"])], [info("y", TensorProto.FLOAT, ["n", 1])], constants)
    (folder / "model.onnx").write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def test_weights_in_files_of_their_own(world):
    """A model that can't be compiled, whose weights are larger than its memory: it answers from their file, and copies nothing."""
    not_sanitized(world)
    folder = world.folder / "external"
    folder.mkdir()
    tables_in_a_file(folder)
    (folder / "function.yaml").write_text(f"name: tables\nresources:\n  memory: {MEMORY_MIB}MiB\n")
    node = Node(world.binary, data=str(world.folder / "external-data"))
    try:
        told = world.deploy(folder, node=node)
        version = node.get("/api/functions/tables")["versions"][0]
        check("compile_error" in version and not version.get("compiled"), f"it is not compiled: {version.get('compile_error')}", told)
        check(not version.get("notes"), "and its weights can be used in place", version.get("notes"))
        to_zero(node)
        for path in Path(node.data).rglob("*"):
            if path.is_file() and path.stat().st_size == TABLES * ROWS * WIDTH * 4:
                forget_pages(path)
                weights = path
        started = time.monotonic()
        ask(node, [0], TIMES)
        took = time.monotonic() - started
        pid = max(model_pids(node, weights.name))
        own = private_bytes(pid)
        check(own < MEMORY_MIB << 20, f"a start that answers in {1000 * took:.0f} ms has {own >> 20} MiB of its own, of 2.4 GB of weights")
        group = group_of(pid, "memory")
        limited = group and (group / "memory.limit_in_bytes").exists()
        if limited:
            (group / "memory.max_usage_in_bytes").write_text("0")
        for begin in range(0, ROWS, IDS):
            ask(node, list(range(begin, begin + IDS)), TIMES)
        check(pid in model_pids(node, weights.name), "calls that touch all of it are answered right, by one process that is not ended")
        check(not node.get("/api/functions/tables")["failures"], "nothing of it has failed")
        if limited:
            limit, most = (int((group / f"memory.{name}").read_text()) for name in ("limit_in_bytes", "max_usage_in_bytes"))
            check(limit <= 2 * MEMORY_MIB << 20 and most <= limit, f"it had {most >> 20} MiB at most, of {limit >> 20}")
    finally:
        node.kill()


def private_bytes(pid):
    """What a process has that is of no file."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"no RssAnon of {pid}")


def change_tuning(data, **changes):
    """Of a node that is stopped: as if that had been measured."""
    with sqlite3.connect(next(Path(data).rglob("catalog.db"))) as catalog:
        for version, text in catalog.execute("SELECT id, compiled FROM versions").fetchall():
            compiled = json.loads(text)
            compiled["tuning"].update(changes)
            catalog.execute("UPDATE versions SET compiled = ? WHERE id = ?", (json.dumps(compiled), version))


def test_what_does_not_fit_beside_its_weights(world):
    """A model that allocates more for one run than its memory."""
    not_sanitized(world)
    nodes = [helper.make_node("Expand", ["x", "shape"], ["large"]), helper.make_node("ReduceMean", ["large"], ["y"], axes=[1], keepdims=1)]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "wide", [info("x", TensorProto.FLOAT, ["n", 1])], [info("y", TensorProto.FLOAT, ["n", 1])],
                              [numpy_helper.from_array(np.array([1, 12 << 20], np.int64), "shape")])
    folder = world.folder / "wide"
    folder.mkdir()
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
    (folder / "function.yaml").write_text("name: wide\nresources:\n  memory: 32MiB\n")
    world.deploy(folder)
    reply = world.node.send("POST", "/functions/wide", json.dumps({"x": [[1]]}), connection=world.node.connect())
    check(reply.status >= 400, f"a call of it: {reply.body.decode()[:300]}", reply)
    version = world.node.get("/api/functions/wide")["versions"][0]
    check("raise resources.memory" in version.get("weights_note", ""), version.get("weights_note", "no note"), version)
    world.answers()
