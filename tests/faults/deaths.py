"""kill -9 of an instance, of the zygote and of the node; a second node on the same data; usage against the kernel's own clock."""
import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from node import Failed, Node, descendants, start_time, zygote_of
from world import MODELS, ROW, Call, Skip, burning, check, kill, until


def test_an_instance_that_is_killed(world):
    manifest = "resources: {timeout: 60s, cpu: 1}\nscaling: {min: 2, max: 2, concurrency: 1}"
    world.deploy(world.write("killed", manifest, MODELS / "loops.onnx"))
    until(lambda: len([p for p in world.instances("killed").values() if p["state"] == "ready"]) == 2, "two instances")
    held = Call(world.node, "killed", {"x": [1]})
    until(lambda: any(p["in_flight"] for p in world.instances("killed").values()), "the call runs")
    first = until(lambda: burning(world.node), "an instance computes")
    other = Call(world.node, "killed", {"x": [1]}, {"X-Mayfly-Timeout": "6s"})
    until(lambda: sum(p["in_flight"] for p in world.instances("killed").values()) == 2, "another call runs in the other instance")
    kill(first[0])
    reply = held.answer()
    message = reply.json["error"]["message"]
    check(reply.status == 503 and "the instance that ran this call ended: killed by signal 9" in message, f"its caller: {message}", reply)
    world.answers()
    reply = other.answer()
    check(reply.status == 504, "the call in the other instance ran on until its own deadline", reply)
    check(Call(world.node, "killed", {"x": [0]}).answer().status == 200, "the next call is answered")
    world.log('"killed"', "the instance ended: killed by signal 9")
    world.run("delete", "killed", "--yes")


def test_a_zygote_that_is_killed(world):
    before = until(lambda: zygote_of(world.node), "a zygote")
    kill(before)
    world.answers("at once, a function that runs already")
    world.deploy(MODELS / "several.onnx")
    check(True, "a deploy, which needs new sandboxes, works")
    world.run("scale", "add", "0", "--evict")
    until(lambda: not world.node.processes("add"), "nothing of add runs")
    after = until(lambda: zygote_of(world.node), "a new zygote")
    check(after != before, "there is a new zygote")
    world.answers("from nothing, a function")


def test_a_second_node_on_the_same_data(world):
    done = subprocess.run([world.binary, "serve", "--listen", "127.0.0.1:0", "--data", world.node.data], capture_output=True, text=True,
                          timeout=60)
    check(done.returncode == 1 and world.node.data in done.stderr, f"it is refused: {done.stderr.strip()}", done)
    world.answers("the first node goes on: a function")


def test_a_node_that_stands_still(world):
    """Stopped for longer than a deadline, as on a machine that was suspended: what is over is told, the rest is answered."""
    world.deploy(world.write("stands", "resources: {timeout: 60s, cpu: 1}\nscaling: {min: 1, max: 1, concurrency: 1}", MODELS / "loops.onnx"))
    until(lambda: any(p["state"] == "ready" for p in world.instances("stands").values()), "an instance")
    held = Call(world.node, "stands", {"x": [1]}, {"X-Mayfly-Timeout": "2s"})
    until(lambda: any(p["in_flight"] for p in world.instances("stands").values()), "a call runs")
    os.kill(world.node.process.pid, signal.SIGSTOP)
    try:
        late = [Call(world.node, "add", {"x": [[i, 0, 0]]}) for i in range(5)]
        time.sleep(4)
        check(not any(call.reply for call in late), "nobody is answered by a node that stands still")
    finally:
        os.kill(world.node.process.pid, signal.SIGCONT)
    reply = held.answer()
    check(reply.status == 504, "the call whose time was over meanwhile is told so", reply)
    check(all(call.answer().json == {"y": [[i + 1, 2, 3]]} for i, call in enumerate(late)), "the calls that came meanwhile are answered")
    check(Call(world.node, "stands", {"x": [0]}).answer().status == 200, "the next call is answered")
    world.run("delete", "stands", "--yes")


def groups_of(pid):
    return glob.glob(f"/sys/fs/cgroup/**/mayfly-{pid}", recursive=True)


def test_a_node_that_is_killed(world):
    """In the middle of deploys, alias moves and calls: what it acknowledged is there afterwards."""
    data = tempfile.mkdtemp(prefix="mayfly-faults-")
    node = Node(world.binary, data=data)
    moves_max = 100_000
    stop, kept = threading.Event(), {"deployed": [], "called": 0, "alias": 0}
    try:
        world.deploy(MODELS / "add.onnx", node=node)
        world.deploy(MODELS / "add.onnx", "--force", "--no-alias", node=node)

        def deploy():
            model = json.loads(node.send("GET", "/api/functions/add/versions/1").body)["files"][0]
            connection = node.connect()
            for i in range(1000):
                body = json.dumps({"name": f"copy-{i}", "files": [{key: model[key] for key in ("path", "sha256", "size")}]})
                reply = node.send("POST", "/api/functions", body, connection=connection)
                if reply.status == 201:
                    kept["deployed"].append(f"copy-{i}")

        def move_alias():
            connection = node.connect()
            for i in range(moves_max):
                weights = json.dumps({"weights": [{"version": 1, "share": i / moves_max}, {"version": 2, "share": 1 - i / moves_max}]})
                if node.send("PUT", "/api/functions/add/aliases/moving", weights, connection=connection).status == 200:
                    kept["alias"] = i

        def call():
            connection = node.connect()
            for _ in range(1_000_000):
                if node.send("POST", "/functions/add", ROW, connection=connection).status == 200:
                    kept["called"] += 1

        def until_killed(work):
            try:
                work()
            except Failed as error:
                if not stop.is_set():
                    kept.setdefault("early", error)
        threads = [threading.Thread(target=until_killed, args=(work,)) for work in (deploy, move_alias, call)]
        for thread in threads:
            thread.start()
        until(lambda: len(kept["deployed"]) >= 8 and kept["alias"] >= 8 and kept["called"] >= 100 or "early" in kept,
              "some of each was acknowledged")
        stop.set()
        processes, pid = descendants(node.process.pid), node.process.pid
        node.process.kill()
        node.process.wait()
        for thread in threads:
            thread.join()
        check("early" not in kept,
              f"killed after {len(kept['deployed'])} deploys, {kept['alias']} moves of an alias, {kept['called']} calls", kept.get("early"))
        until(lambda: not [p for p, start in processes if start_time(p) == start], "the dead node's processes are gone")
        check(True, f"its {len(processes)} processes are gone")
        node = Node(world.binary, data=data)
        names = {function["name"] for function in node.get("/api/functions")["functions"]}
        check(set(kept["deployed"]) <= names, f"all {len(kept['deployed'])} acknowledged deploys are there, of {len(names)}",
              set(kept["deployed"]) - names)
        for name in ("add", kept["deployed"][0], kept["deployed"][-1]):
            reply = node.send("POST", f"/functions/{name}", ROW)
            check(reply.status == 200, f"{name} answers", reply)
        # The move under way at the end may be there or not.
        moving = next(a for a in node.get("/api/functions/add")["aliases"] if a["name"] == "moving")["weights"]
        move = round(next(w["share"] for w in moving if w["version"] == 1) * moves_max)
        check(kept["alias"] <= move <= kept["alias"] + 1, f"the alias is where move {move} put it; {kept['alias']} was acknowledged last")
        used = next(s for s in node.get("/api/usage?function=add")["sums"] if s["version"] == 1)["invocations"]
        # A call may be answered and not yet recorded when the node dies: one, by the one caller; and one came after.
        check(kept["called"] <= used <= kept["called"] + 2,
              f"usage has the calls: {used} of {kept['called']} acknowledged before, and 1 after")
        check(not groups_of(pid), "the dead node's control groups are gone", groups_of(pid))
    finally:
        stop.set()
        node.kill()
        shutil.rmtree(data, ignore_errors=True)


def cpu_clock(pid):
    """Of all control groups of a node, in seconds; by the kernel."""
    total = 0.0
    for folder in groups_of(pid):
        for leaf in Path(folder).glob("s*"):
            if (leaf / "cpuacct.usage").exists():
                total += int((leaf / "cpuacct.usage").read_text()) / 1e9
            elif folder.startswith("/sys/fs/cgroup/unified") or not os.path.isdir("/sys/fs/cgroup/cpuacct"):
                text = (leaf / "cpu.stat").read_text()
                total += int(text.split("usage_usec ")[1].split()[0]) / 1e6
    return total


def test_usage_agrees_with_the_kernels_clock(world):
    """CPU time in usage records, of calls and of what no call caused, against the control groups of the processes."""
    def used():
        sums = node.get("/api/usage?function=forest")["sums"]
        return sum(s["cpu_s"] for s in sums), sum(s["overhead_cpu_s"] for s in sums)

    def settled():
        """Processes at rest, and told: overhead is measured once a second."""
        last, since = used(), time.monotonic()
        while time.monotonic() - since < 3:
            time.sleep(0.2)
            if (now := used()) != last:
                last, since = now, time.monotonic()
        return last

    node = Node(world.binary)
    try:
        if not groups_of(node.process.pid):
            raise Skip("control groups can't be used here")
        world.deploy(world.write("forest", "scaling: {max: 2}", MODELS / "forest.onnx"), node=node)
        row = {"input": [[float(i % 7) for i in range(30)]] * 64}
        Call(node, "forest", row).answer()
        until(lambda: node.processes("forest") and any(p["role"] == "template" for p in node.processes("forest")), "a template")
        calls_before, other_before = settled()
        clock_before = cpu_clock(node.process.pid)
        done = world.run("bench", "forest", "--concurrency", "8", "--duration", "4s", "--data", json.dumps(row), node=node)
        check(done.returncode == 0, "load for 4 s", done)
        calls_after, other_after = settled()
        clock = cpu_clock(node.process.pid) - clock_before
        calls, other = calls_after - calls_before, other_after - other_before
        off = (calls + other) / clock - 1
        check(abs(off) < 0.01, f"usage has {calls:.4f} s of calls and {other:.4f} s besides, the control groups {clock:.4f} s: {off:+.2%}")
    finally:
        node.kill()
