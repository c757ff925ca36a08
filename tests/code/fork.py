#!/usr/bin/env python3
"""Forks of code on a real node: a function's second start from zero is a fork of a process that has imported everything.

    tests/code/fork.py --mayfly build/mayfly [--packages] [NAME …]

--packages: with numpy and onnxruntime, which pip installs below build/.
"""
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import forest  # noqa: E402
from run import Failed, Node, RUNTIME, check, main  # noqa: E402

PLAIN = """
import os, random, sys
calls = 0
print("imported", flush=True)

def handler(event, context):
    global calls
    calls += 1
    do = event.get("do")
    if do == "exit":
        os._exit(7)
    if do == "spawn":
        import subprocess
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
    if do == "sleep":
        import time
        time.sleep(event["seconds"])
    if do == "leave":
        open(event["path"], "w").write("x")
    if do == "print":
        print("said by", os.getpid(), flush=True)
    return {"calls": calls, "pid": os.getpid(), "random": random.random(), "stream": context.log_stream_name, "files": os.listdir("/tmp"),
            "group": os.getpgid(0), "open": len(os.listdir("/proc/self/fd"))}
"""


class World:
    def __init__(self, binary):
        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-fork-"))
        self.node = Node(binary)

    def deploy(self, name, source, manifest=""):
        folder = self.folder / name
        folder.mkdir()
        (folder / "app.py").write_text(source)
        (folder / "function.yaml").write_text(f"runtime: {RUNTIME}\nhandler: app.handler\nresources: {{memory: 512MiB, timeout: 5s}}\n{manifest}")
        self.node.command("deploy", str(folder))

    def call(self, name, event=None, status=200):
        reply = self.node.send("POST", f"/functions/{name}", json.dumps(event or {}))
        if reply.status != status:
            self.node.show_log()
            raise Failed(f"{name} {event}: {reply!r}")
        return reply.json

    def processes(self, name, template):
        return [p for p in self.node.processes(name) if (p["role"] == "template") == template]

    def template(self, name):
        """Once it stands."""
        return self.node.wait(lambda: self.processes(name, True), lambda all_: all_ and all_[0]["state"] == "ready", 20)[0]

    def to_zero(self, name):
        self.node.command("scale", name, "0")
        self.node.wait(lambda: self.processes(name, False), lambda all_: not all_, 20)

    def log(self, name):
        return self.node.command("logs", name)

    def close(self):
        self.node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def warmed(world, name, source=PLAIN, manifest=""):
    """A function whose template stands, and that has no instance."""
    world.deploy(name, source, manifest)
    world.call(name)
    world.template(name)
    world.to_zero(name)


def origins(world, name):
    return [start["origin"] for start in world.node.get(f"/api/functions/{name}")["cold_starts"]]


def test_the_second_start_is_a_fork(world):
    warmed(world, "plain")
    first = world.call("plain")
    check(origins(world, "plain")[-1] == "fork" or "fork" in origins(world, "plain"), "the second start is a fork", origins(world, "plain"))
    check(first["calls"] == 1 and first["group"] == first["pid"], "of a process that has answered nothing, in a group of its own", first)
    check(first["open"] <= 8, "with nothing open but its output, twice, and its two connections", first)
    check(world.call("plain")["calls"] == 2, "it answers again")
    check(world.log("plain").count("imported") == 2, "the module was imported by the first process and by the template alone", world.log("plain"))
    world.call("plain", {"do": "print"})
    check(f"said by {first['pid']}" in world.node.wait(lambda: world.log("plain"), lambda text: "said by" in text, 5, False),
          "what a fork prints is in the log")
    world.to_zero("plain")
    second = world.call("plain")
    check(second["random"] != first["random"] and second["stream"] != first["stream"] and second["calls"] == 1,
          "another fork draws other numbers and has another log stream", (first, second))


def test_it_is_measured_by_itself(world):
    warmed(world, "measured", PLAIN + "\nballast = bytearray(os.urandom(40 << 20))\n")
    world.call("measured")
    seen = world.node.wait(lambda: world.processes("measured", False), lambda all_: all_ and all_[0]["memory"] > 0, 20)
    template = world.node.wait(lambda: world.processes("measured", True), lambda all_: all_ and all_[0]["memory"] > 40 << 20, 20)
    check(seen[0]["memory"] < 20 << 20, "an instance takes what it alone wrote", (seen, template))


def test_what_is_not_forked(world):
    reasons = {
        "threads": ("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='pump').start()\n", "started 1 thread: pump"),
        "sockets": ("import socket\nheld = socket.socket()\n", "holds a socket"),
        "files": ("held = open('/tmp/x', 'w')\n", "holds /tmp/x open"),
        "generator": ("import random\nheld = random.Random(4)\n", "random.Random"),
        "identity": ("import uuid\nheld = uuid.uuid4()\n", "uuid.UUID"),
    }
    for name, (source, reason) in reasons.items():
        world.deploy(name, source + PLAIN)
        world.call(name)
        said = world.node.wait(lambda: world.log(name), lambda text: "not forked" in text, 20, False)
        check(reason in said, f"{name}: the log says why there is no template", said)
        world.to_zero(name)
        check(world.call(name)["calls"] == 1 and "fork" not in origins(world, name), f"{name}: it starts afresh", origins(world, name))
    time.sleep(1)
    check(world.log("threads").count("not forked") == 1, "it is tried once")
    world.deploy("renews", "import random\nheld = random.Random(4)\ndef mayfly_after_fork():\n    held.seed()\n" + PLAIN)
    world.call("renews")
    check(world.template("renews"), "a module that renews what must differ is forked")
    world.deploy("never", PLAIN, "fork: never\n")
    world.call("never")
    time.sleep(1)
    check(not world.processes("never", True), "fork: never has no template")


LAZY = """
import sys
def __getattr__(name):
    if name not in ("wanted", "unwanted", "starts", "fails"):
        raise AttributeError(name)
    if name == "fails":
        raise RuntimeError("not here")
    print("loaded", name, flush=True)
    if name == "starts":
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    globals()[name] = [name]
    return globals()[name]
"""


def test_what_loads_later(world):
    def deploy(name, used):
        (world.folder / name).mkdir()
        (world.folder / name / "lazy.py").write_text(LAZY)
        (world.folder / name / "app.py").write_text(f"import lazy\n\ndef handler(event, context):\n    had = sorted(n for n in vars(lazy) if n[0] != '_')\n"
                                                    f"    if event:\n        {used}\n    return had\n")
        world.node.command("deploy", str(world.folder / name), "--runtime", RUNTIME, "--handler", "app.handler")
        check(world.call(name) == ["sys"], f"{name}: a process of its own loads nothing by itself")
        world.template(name)
        world.to_zero(name)
        had = world.call(name)
        check("fork" in origins(world, name), f"{name} is forked", origins(world, name))
        return had

    check(deploy("later", "return lazy.wanted.sort() or lazy.missing") == ["sys", "wanted"], "what the handler names is loaded before the fork")
    check(world.log("later").count("loaded wanted") == 1, "once, whoever tried it before", world.log("later"))
    check(deploy("later-starts", "return lazy.wanted, lazy.starts") == ["sys"], "nothing is loaded ahead where that stands in the way of forks")
    check(deploy("later-fails", "return lazy.wanted, lazy.fails") == ["sys"], "nor where it fails")


def test_beside_others(world):
    world.deploy("alone", PLAIN, "scaling: {min: 2}\n")
    world.call("alone")
    world.template("alone")
    before = {p["process"] for p in world.processes("alone", False)}
    world.node.command("scale", "alone", "0")  # at once there are two again
    seen = world.node.wait(lambda: [p for p in world.processes("alone", False) if p["process"] not in before],
                           lambda all_: sum(p["state"] == "ready" for p in all_) >= 2, 20)
    check(sum(p["origin"] == "fork" for p in seen) == 1, "one fork at a time: they would share /tmp", seen)
    warmed(world, "shared", manifest="fork: always\n")
    world.node.command("scale", "shared", "3")
    seen = world.node.wait(lambda: world.processes("shared", False), lambda all_: sum(p["state"] == "ready" for p in all_) >= 3, 20)
    check(all(p["origin"] == "fork" for p in seen), "fork: always forks beside others", seen)


def test_deaths(world):
    warmed(world, "mortal")
    world.call("mortal")
    reply = world.call("mortal", {"do": "exit"}, 503)
    check("exit status 7" in reply["error"]["message"], "how a fork ended is known", reply)
    world.node.wait(lambda: world.processes("mortal", False), lambda all_: not all_, 20, False)
    check(world.call("mortal")["calls"] == 1, "the next call is answered by another")
    check(world.template("mortal"), "the template is there still")
    reply = world.call("mortal", {"do": "sleep", "seconds": 60}, 504)
    check(world.call("mortal")["calls"] == 1, "one that took too long is replaced")
    left = world.node.wait(lambda: pythons(world, "mortal"), lambda all_: len(all_) == 3, 10)
    check(left, "and gone: there are the template's program, an instance's and the fork ahead", left)


def test_one_waits_ahead(world):
    warmed(world, "ahead")
    waiting = world.node.wait(lambda: pythons(world, "ahead"), lambda all_: len(all_) == 2, 10)
    check(world.call("ahead")["pid"] == max(inside(pid) for pid in waiting), "a start takes the fork that was made ahead", waiting)
    with_next = world.node.wait(lambda: pythons(world, "ahead"), lambda all_: len(all_) == 3, 10)
    check(not world.log("ahead").count("imported") > 2, "another is made behind it, and runs nothing", with_next)
    world.to_zero("ahead")
    (spare,) = [pid for pid in with_next if pid not in waiting]
    os.kill(spare, signal.SIGKILL)
    world.node.wait(lambda: pythons(world, "ahead"), lambda all_: spare not in all_, 10)
    check(world.call("ahead")["calls"] == 1 and origins(world, "ahead").count("fork") == 2, "where it died, a start forks for itself")
    world.node.command("delete", "ahead")
    left = world.node.wait(lambda: pythons(world, "ahead"), lambda all_: not all_, 20, False)
    check(not left, "what is deleted leaves no fork behind", left)


def pythons(world, name):
    """Interpreters below the node that run a function."""
    found = []
    for pid, _ in below(world.node.process.pid):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if len(words) > 2 and words[1] == b"-c" and f"AWS_LAMBDA_FUNCTION_NAME={name}".encode() in environment:
            found.append(pid)
    return found


def test_a_sandbox_waits_ahead(world):
    own = World(world.node.binary)  # of its own: hosts that run have the name of those that wait
    try:
        sandboxes_wait(own)
    finally:
        own.close()


def sandboxes_wait(world):
    def starts(name):
        return sorted(world.node.get(f"/api/functions/{name}")["cold_starts"], key=lambda start: start["at"])

    for name in ("first", "second"):
        world.deploy(name, PLAIN, "fork: never\nenvironment: {WHO: %s}\n" % name)
        world.call(name)
        world.to_zero(name)
    waiting = world.node.wait(lambda: waits(world), lambda all_: len(all_) == 2, 10)
    check(waiting, "behind a start that was no fork another sandbox is made")
    check(world.call("first")["calls"] == 1, "the next start takes it")
    check(starts("first")[0]["sandbox_ms"] > 0 and starts("first")[-1]["sandbox_ms"] == 0, "and has no sandbox to wait for", starts("first"))
    world.to_zero("first")
    world.node.wait(lambda: waits(world), lambda all_: len(all_) == 2, 10)
    world.node.send("POST", "/api/functions/first/scale", '{"instances": 0, "evict": true}', {"Content-Type": "application/json"})
    check(world.call("first")["calls"] == 1, "what an eviction ends is not taken by a call right behind it")
    world.to_zero("first")
    folder = world.folder / "first"
    (folder / "app.py").write_text(PLAIN.replace('"calls": calls', '"calls": -calls'))
    world.node.command("deploy", str(folder))
    check(world.call("first")["calls"] == -1, "what waits for another version is not taken")
    for pid in waits(world):
        os.kill(pid, signal.SIGKILL)
        world.node.wait(lambda: state(pid), lambda seen: seen == "Z", 10)  # noqa: B023  (called before the next)
    check(world.call("second")["calls"] == 1, "nor what has died")
    for name in ("first", "second"):
        world.node.command("delete", name)
    left = world.node.wait(lambda: waits(world), lambda all_: not all_, 20, False)
    check(not left, "what is deleted leaves none behind", left)


def waits(world):
    """Hosts that have a sandbox of code and no order: they see a package and run nothing."""
    found = []
    for pid, name in below(world.node.process.pid):
        try:
            if name == "mayfly-blank" and " /var/task" in Path(f"/proc/{pid}/mountinfo").read_text():
                found.append(pid)
        except OSError:
            pass  # it ended
    return found


def test_the_template_dies(world):
    warmed(world, "orphan")
    first = world.call("orphan")
    template = world.template("orphan")
    (fork,) = [pid for pid in pythons(world, "orphan") if inside(pid) == first["pid"]]
    others = sorted(world.node.wait(lambda: [pid for pid in pythons(world, "orphan") if pid != fork], lambda all_: len(all_) == 2, 10), key=inside)
    os.kill(others[0], signal.SIGKILL)
    world.node.wait(lambda: world.processes("orphan", True), lambda all_: not any(p["process"] == template["process"] for p in all_), 20)
    left = world.node.wait(lambda: [pid for pid in others if pid in pythons(world, "orphan")], lambda all_: not all_, 10, False)
    check(not left, "the fork that it made ahead ends with it", left)
    second = world.call("orphan")
    check(second["pid"] == first["pid"] and second["calls"] == 2, "its instance goes on", second)
    check("nobody knows" in world.call("orphan", {"do": "exit"}, 503)["error"]["message"], "how that one ended is not known, and said so")
    check(world.call("orphan")["calls"] == 1, "the next call is answered")


def inside(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("NSpid")).split()[-1])


def test_what_a_fork_leaves(world):
    warmed(world, "leaves")
    world.call("leaves", {"do": "spawn"})
    world.to_zero("leaves")
    check(world.template("leaves"), "the template stays")
    world.node.wait(lambda: [p for p in below(world.node.process.pid) if p[1] == "sleep"], lambda all_: not all_, 10)
    check(True, "what an instance started in a session of its own is gone with it")


def below(top):
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                head, _, tail = Path(f"/proc/{entry}/stat").read_text().rpartition(")")
            except OSError:
                continue
            parents[int(entry)] = (int(tail.split()[1]), head.partition("(")[2], tail.split()[0])
    found, wave = [], {top}
    while wave:
        wave = {pid for pid, (parent, _, _) in parents.items() if parent in wave}
        found += [(pid, parents[pid][1]) for pid in wave if parents[pid][2] != "Z"]
    return found


def test_numpy_and_onnxruntime(world):
    if not world.packages:
        print("   -- skipped: run with --packages")
        return
    folder = world.folder / "forest"
    forest.make(folder)
    world.node.command("deploy", str(folder), timeout=300)
    first = world.call("forest")
    world.template("forest")
    world.to_zero("forest")
    second = world.call("forest")
    world.to_zero("forest")
    third = world.call("forest")
    check(first["label"] == second["label"] == third["label"], "forks run the session that their template made", (first, second, third))
    check(len({one["random"] for one in (first, second, third)}) == 3, "and draw numbers of their own from numpy", (first, second, third))
    check(origins(world, "forest").count("fork") == 2, "both were forks, though OpenBLAS had a thread", origins(world, "forest"))


def test_a_node_that_is_killed(world):
    node = Node(world.node.binary)
    try:
        folder = world.folder / "killed"
        folder.mkdir()
        (folder / "app.py").write_text(PLAIN)
        node.command("deploy", str(folder), "--runtime", RUNTIME, "--handler", "app.handler")
        node.post("/functions/killed", "{}")
        node.wait(lambda: node.processes("killed"), lambda all_: any(p["role"] == "template" and p["state"] == "ready" for p in all_), 20)
        node.command("scale", "killed", "0")
        node.wait(lambda: node.processes("killed"), lambda all_: len(all_) == 1, 20)
        node.post("/functions/killed", "{}")
        seen = below(node.process.pid)
        node.process.kill()
        node.process.wait()
        end = time.monotonic() + 5
        while (left := [pid for pid, _ in seen if os.path.exists(f"/proc/{pid}") and state(pid) != "Z"]) and time.monotonic() < end:
            time.sleep(0.05)
        check(len(seen) >= 6 and not left, "nothing of it is left", (seen, left))
    finally:
        node.kill()


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


if __name__ == "__main__":
    main(globals(), World, "packages")
