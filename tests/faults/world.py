"""What the fault tests share: the binary, a node with functions on it, raw sockets, and looks at processes from outside."""
import json
import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from node import Failed, Node, descendants, stat_fields

ROOT = Path(__file__).resolve().parents[2]

MODELS = ROOT / "build/test-models"
PATIENCE = 60  # seconds for what takes none on an idle machine: deadlines are for what never comes
ROW = json.dumps({"x": [[1, 2, 3]]})


class Skip(Exception):
    """Why something can't be tried here."""


def check(holds, text, seen=None):
    if not holds:
        raise Failed(f"{text}; seen: {str(seen)[:600]}" if seen is not None else text)
    print(f"   ok {text}", flush=True)


def until(look, text, seconds=PATIENCE):
    """Waits for what look() returns to be true, and returns it."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > end:
            raise Failed(f"waited {seconds} s in vain for: {text}")
        time.sleep(0.02)
    return seen


def is_sanitized(binary):
    with open(binary, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"__asan_init") >= 0 or content.find(b"__tsan_init") >= 0


def ticks(pid):
    fields = stat_fields(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def burning(node):
    """The processes below a node that compute just now: who runs the call that does not end."""
    before = {pid: ticks(pid) for pid, _ in descendants(node.process.pid)}
    time.sleep(0.3)
    return [pid for pid, was in before.items() if ticks(pid) - was >= 5]


class Call(threading.Thread):
    """A call on a thread and a connection of its own."""

    def __init__(self, node, name, body, headers=None):
        super().__init__(daemon=True)
        self.reply, self.error = None, None
        self.work = lambda: node.send("POST", f"/functions/{name}", json.dumps(body), headers, node.connect())
        self.start()

    def run(self):
        try:
            self.reply = self.work()
        except Failed as error:
            self.error = error

    def answer(self):
        self.join(PATIENCE)
        if not self.reply:
            raise Failed(f"no answer: {self.error or 'none in time'}")
        return self.reply


class Raw:
    """A client that writes its bytes itself."""

    def __init__(self, node, bytes_=b""):
        host, _, port = node.host.partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.send(bytes_)

    def send(self, bytes_):
        self.socket.sendall(bytes_)

    def read_all(self):
        """Until the node closes."""
        parts = []
        try:
            while part := self.socket.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts).decode()

    def close(self):
        self.socket.close()


class World:
    def __init__(self, binary, slow):
        self.binary, self.slow = str(Path(binary).resolve()), slow
        self.sanitized = is_sanitized(binary)
        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-faults-"))
        self.later = []  # (what, thread): begun early because they wait for long
        self.node = Node(self.binary)
        self.deploy(MODELS / "add.onnx")

    def write(self, name, manifest, model):
        """A folder with a manifest, to deploy."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "model.onnx").write_bytes(Path(model).read_bytes())
        (folder / "function.yaml").write_text(f"name: {name}\n{manifest}\n")
        return folder

    def run(self, *words, node=None):
        return subprocess.run([self.binary, *map(str, words), "--url", (node or self.node).url], capture_output=True, text=True,
                              timeout=300, stdin=subprocess.DEVNULL)

    def deploy(self, path, *words, node=None):
        done = self.run("deploy", path, *words, node=node)
        if done.returncode != 0:
            raise Failed(f"deploy {path}: {done.stderr}")

    def refused(self, path, *parts, words=(), why=""):
        """A deploy fails with status 1, and its message has all these parts."""
        done = self.run("deploy", path, *words)
        check(done.returncode == 1 and all(part in done.stderr for part in parts), f"{why or Path(path).name}: {done.stderr.strip()}", done)

    def answers(self, who="another function", node=None):
        node = node or self.node
        reply = node.send("POST", "/functions/add", ROW, connection=node.connect())
        check(node.process.poll() is None and reply.status == 200 and reply.json == {"y": [[2, 4, 6]]}, f"{who} on the node answers", reply)

    def log(self, *parts, node=None):
        """The first line of the log that has all the parts; it may come a moment after the answer."""
        def look():
            lines = (node or self.node).send("GET", "/api/logs?count=10000").body.decode().splitlines()
            return next((line for line in lines if all(part in line for part in parts)), None)
        return until(look, f"a line with {parts} in the log")

    def metric(self, name, node=None):
        text = (node or self.node).send("GET", "/metrics").body.decode()
        return float(re.search(rf"^{name} (\S+)$", text, re.M).group(1))

    def instances(self, function, role="instance", node=None):
        return {p["process"]: p for p in (node or self.node).processes(function) if p["role"] == role}

    def begin(self, what, work):
        """Runs work() beside the tests; the last test of all waits for it."""
        outcome = []

        def run():
            try:
                outcome.append(work())
            except Exception as error:  # shown by whoever waits
                outcome.append(error)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.later.append((what, thread, outcome))

    def close(self):
        self.node.kill()
        subprocess.run(["rm", "-rf", str(self.folder)], check=False)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
