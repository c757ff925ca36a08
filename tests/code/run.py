#!/usr/bin/env python3
"""Functions of code on a real node: an unchanged Lambda handler in Python, its errors, its limits, and what it must not reach.

    tests/code/run.py --mayfly build/mayfly [NAME …]

Every test_… below runs against one node; NAME picks those whose name contains it. Exits 1 where one fails.
"""
import argparse
import json
import shutil
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "examples"))
from node import Failed, Node  # noqa: E402

RUNTIME = f"python3.{sys.version_info.minor}"   # the one that runs this is there


def check(holds, text, seen=None):
    if not holds:
        raise Failed(f"{text}; seen: {str(seen)[:600]}")
    print(f"   ok {text}", flush=True)


class World:
    def __init__(self, binary):
        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-code-"))
        self.node = Node(binary)
        self.node.command("deploy", str(ROOT / "examples/hello"), "--runtime", RUNTIME)
        self.node.command("deploy", str(HERE / "functions/checks"), "--runtime", RUNTIME, "--handler", "app.handler", "--timeout", "3s",
                          "--memory", "256MiB")

    def deploy(self, name, source, *options):
        folder = self.folder / name
        folder.mkdir()
        (folder / "app.py").write_text(source)
        self.node.command("deploy", str(folder), "--runtime", RUNTIME, "--handler", "app.handler", *options)

    def send(self, event, name="checks", path=None, headers=None):
        return self.node.send("POST", path or f"/functions/{name}", json.dumps(event), headers or {})

    def call(self, event, name="checks"):
        reply = self.send(event, name)
        if reply.status != 200:
            raise Failed(f"{name} {event}: {reply!r}")
        return reply.json

    def close(self):
        self.node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def test_a_handler_as_it_is(world):
    first = world.call({"name": "you"}, "hello")
    check(first == {"greeting": "Hello, you!", "calls": 1, "function": "hello", "version": "1"}, "it answers, with its environment and context", first)
    second = world.call({}, "hello")
    check(second["calls"] == 2, "the same process answers again", second)
    lines = [json.loads(line) for line in world.node.command("logs", "hello", "--json").splitlines()]
    check(any("call 1 of this process" in str(line) for line in lines), "what it printed is in the log", lines)
    told = [line["request_id"] for line in lines if line.get("outcome") == "ok"]
    check(any(f"call 2 of this process, {told[-1]}" in str(line) for line in lines), "under the call's own id", (told, lines))


def test_what_it_takes(world):
    world.call({}, "hello")
    seen = world.node.wait(lambda: world.node.processes("hello"), lambda all_: all_ and all_[0]["memory"] > 4 << 20, 20)
    check(seen[0]["memory"] < 200 << 20, "its memory is measured, the interpreter's too", seen)
    (used,) = world.node.get("/api/usage?function=hello")["sums"]
    check(used["cpu_s"] + used["overhead_cpu_s"] > 0.01, "and the CPU that it took to start", used)


def test_lambdas_invoke(world):
    reply = world.send({"name": "you"}, path="/2015-03-31/functions/hello/invocations")
    check(reply.status == 200 and reply.json["greeting"] == "Hello, you!" and reply.headers["X-Amz-Executed-Version"] == "1", "Invoke answers", reply)
    reply = world.send({"do": "raise"}, path="/2015-03-31/functions/checks/invocations")
    check(reply.status == 200 and reply.headers["X-Amz-Function-Error"] == "Unhandled", "an error is an answer", reply)
    check(reply.json["errorType"] == "ValueError" and reply.json["errorMessage"] == "no such thing" and reply.json["stackTrace"],
          "as the code told it", reply)


def test_errors(world):
    reply = world.send({"do": "raise"})
    check(reply.status == 500 and reply.json["errorType"] == "ValueError", "an exception is a 500 with its type", reply)
    reply = world.send({"do": "exit"})
    check(reply.status == 503 and "3" in reply.json["error"]["message"], "an exit says its status", reply)
    check(world.call({})["uid"] == 1000, "the next call is answered, by another process")
    reply = world.send({"do": "sleep", "seconds": 60})
    check(reply.status == 504, "what takes longer than its time is told so", reply)
    check(world.call({})["uid"] == 1000, "the next call is answered")
    check(0 < world.call({"do": "left"}) <= 3000, "it knows how much time is left")


SPOILS = """\
import os

def sockets():
    return [int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd)
            and os.readlink("/proc/self/fd/" + fd).startswith("socket:")]

def handler(event, context):
    for fd in sockets() if event.get("say") else []:
        try:
            os.write(fd, event["say"].encode())
        except OSError:
            pass
    return len(sockets())
"""


def test_what_writes_where_it_should_not(world):
    """The socket on which a program has its calls from the node is its own to spoil, and nobody else's."""
    world.deploy("spoils", SPOILS, "--max", "1")
    check(world.call({}, "spoils") == 2, "a program has a socket to its host and one to the node")
    for said in ("x", "x" * 40, "x" * 60000):
        reply = world.send({"say": said}, "spoils")
        check(reply.status >= 500, "whoever speaks there out of turn loses its own call", reply)
        check(world.call({}, "spoils") == 2, "the next is answered, by another process")


def test_a_caller_who_leaves(world):
    world.deploy("goes-on", "import time\ncalls = []\n\ndef handler(event, context):\n    time.sleep(event.get('seconds', 0))\n"
                 "    calls.append(event)\n    return calls\n", "--max", "1")
    check(world.call({"n": 1}, "goes-on") == [{"n": 1}], "it answers")
    with socket.create_connection(("127.0.0.1", int(world.node.host.rpartition(":")[2]))) as client:
        body = json.dumps({"n": 2, "seconds": 1})
        client.sendall(f"POST /functions/goes-on HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        time.sleep(0.4)
    seen = [event["n"] for event in world.call({"n": 3}, "goes-on")]
    check(seen == [1, 2, 3], "a handler whose caller has left runs to its end, and the same process takes the next call", seen)
    outcomes = [json.loads(line).get("outcome") for line in world.node.command("logs", "goes-on", "--json").splitlines()]
    check("cancelled" in outcomes, "the call is recorded as cancelled", outcomes)


def test_code_takes_no_tensors(world):
    reply = world.send({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}, path="/v2/models/checks/infer")
    check(reply.status == 501 and "Invoke" in reply.json["error"], "the inference protocol is told where to call", reply)


def test_memory(world):
    reply = world.send({"do": "fill", "bytes": 1 << 30})
    check(reply.status in (500, 503), "more memory than there is fails the call, like a program that ends", reply)
    check(world.call({})["uid"] == 1000, "the next call is answered")


def test_what_does_not_start(world):
    world.deploy("broken", "import nothing_of_this_name\n\ndef handler(event, context):\n    return 1\n")
    reply = world.send({}, "broken")
    check(reply.status >= 400 and "nothing_of_this_name" in str(reply.body), "a module that can't be imported is named", reply)
    world.deploy("missing", "def other(event, context):\n    return 1\n")
    reply = world.send({}, "missing")
    check(reply.status >= 400 and "handler" in str(reply.body), "a handler that is not there is named", reply)


def test_a_bootstrap_of_its_own(world):
    """The Runtime API as a stranger's program speaks it: what `provided` is for."""
    python = Path("/usr/bin/python3")
    if not python.exists():
        print("   -- skipped: this machine has no /usr/bin/python3 to write a bootstrap in")
        return
    folder = world.folder / "own"
    folder.mkdir()
    (folder / "bootstrap").write_text(f"""#!{python}
import http.client, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    call = api.getresponse()
    event = call.read()
    api.request("POST", f"/2018-06-01/runtime/invocation/{{call.headers['Lambda-Runtime-Aws-Request-Id']}}/response", b'{{"own": ' + event + b"}}")
    api.getresponse().read()
""")
    world.node.command("deploy", str(folder), "--runtime", "provided.al2023")
    check([world.call({"n": n}, "own") for n in range(3)] == [{"own": {"n": n}} for n in range(3)], "it is run and answers call after call")


def test_large_events_and_answers(world):
    answer = world.call({"do": "size", "text": "x" * 300_000, "out": 200_000})
    check(answer["in"] == 300_000 and len(answer["out"]) == 200_000, "more than fits a frame comes and goes")


def test_what_it_can_reach(world):
    seen = world.call({"do": "visible", "paths": ["/", "/root", "/home", "/etc/shadow", str(ROOT), world.node.data, "/var/task", "/tmp"]})
    check(seen["/var/task"] == ["app.py"], "its own code", seen)
    for path in ("/home", "/etc/shadow", str(ROOT), world.node.data):
        check(seen[path] in ("FileNotFoundError", "PermissionError", "NotADirectoryError") or seen[path] == [], f"not {path}", seen[path])
    host, port = world.node.host.split(":")
    check(world.call({"do": "connect", "host": host, "port": int(port)}) != "connected", "not the node")
    check("OSError 101" in world.call({"do": "connect", "host": "192.0.2.1", "port": 80}), "not the network")
    written = world.call({"do": "write", "paths": ["/tmp/x", "/var/task/x", "/x", "/usr/x"]})
    check(written.pop("/tmp/x") == "written", "it may write to /tmp", written)
    check("written" not in written.values(), "and nowhere else", written)
    check(len(world.call({"do": "processes"})) <= 4, "it sees its own processes alone")


def test_a_gigabyte_of_words(world):
    check(world.call({"do": "print", "bytes": 50_000_000})["uid"] == 1000, "who prints much is answered")
    check(len(world.node.command("logs", "checks")) < 5_000_000, "and the log has a bounded part of it")


def test_what_forks_without_end(world):
    world.deploy("beside", "def handler(event, context):\n    return 1\n")
    world.call({}, "beside")
    reply = world.send({"do": "fork without end"})
    check(reply.status in (503, 504), "it fails its own call", reply)
    check(world.call({}, "beside") == 1, "another function answers meanwhile")
    check(world.call({})["uid"] == 1000, "the next call is answered")
    left = world.node.wait(lambda: len(world.call({"do": "processes"})), lambda count: count <= 4, 20)
    check(left <= 4, "and none of them is left", left)


def test_a_full_tmp(world):
    reply = world.send({"do": "fill /tmp"})
    check(reply.status == 503 and "signal 9" in reply.json["error"]["message"] and "memory" in reply.json["error"]["message"],
          "what is in /tmp is of the function's memory", reply)
    reply = world.send({"do": "fill /tmp"}, path="/2015-03-31/functions/checks/invocations")
    check(reply.status == 200 and reply.headers["X-Amz-Function-Error"] == "Unhandled" and reply.json["errorType"] == "Runtime.ExitError"
          and "Runtime exited with error: signal: killed" in reply.json["errorMessage"], "and by Lambda's Invoke an error of the function's", reply)
    folder = world.folder / "roomy"
    shutil.copytree(HERE / "functions/checks", folder)
    world.node.command("deploy", str(folder), "--runtime", RUNTIME, "--handler", "app.handler", "--memory", "1GiB")
    written, why = world.call({"do": "fill /tmp"}, "roomy")
    check(why == "ENOSPC" and written == 512 << 20, "of which it has 512 MiB at most", (written, why))
    check(world.call({"do": "write", "paths": ["/tmp/x"]}, "roomy") == {"/tmp/x": "written"}, "what is deleted can be written again")


def test_what_ignores_its_end(world):
    reply = world.send({"do": "ignore"})
    check(reply.status == 504, "it is out of time like any other", reply)
    check(world.call({})["uid"] == 1000, "the next call is answered, by another process")
    world.node.command("scale", "checks", "0")
    world.node.wait(lambda: [p for p in world.node.processes("checks") if p["role"] == "instance"], lambda all_: not all_, 20)
    check(True, "and it is gone")


def main(scope, make_world, *flags):
    """Runs every test_… of a file (its globals()) against one world, or those named on the command line. Of each further --flag the world
    is told whether it was given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mayfly", required=True)
    parser.add_argument("names", nargs="*")
    for flag in flags:
        parser.add_argument(f"--{flag}", action="store_true")
    options = parser.parse_args()
    world, failed, passed = make_world(options.mayfly), 0, 0
    for flag in flags:
        setattr(world, flag, getattr(options, flag))
    try:
        for name, test in list(scope.items()):
            if not name.startswith("test_") or (options.names and not any(part in name for part in options.names)):
                continue
            print(name, flush=True)
            try:
                test(world)
                passed += 1
            except Exception:  # noqa: BLE001  (any failure of one test is its result)
                failed += 1
                print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
        if failed:
            print("\n".join(world.node.lines[-30:]))
    finally:
        world.close()
    print(f"{passed} passed, {failed} failed")
    sys.exit(0 if passed and not failed else 1)


if __name__ == "__main__":
    main(globals(), World)
