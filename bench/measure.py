"""What run.py measures with: the bare loop, a raw client, the CPU clock of a process tree, wrk."""
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))
from node import Node, descendants  # noqa: E402

MAYFLY, BENCH, ENGINE = ROOT / "build/mayfly", ROOT / "build/bench", ROOT / "build/lib/libonnxruntime.so.1"
SIZE = {"fraud": 30, "sentences": 32, "sentences-int8": 32, "detector": 320}  # of free dimensions


RESULTS = []


def say(bar, value, limit, holds, detail=""):
    RESULTS.append(holds)
    print(f"{'holds' if holds else 'MISSED':7} {bar}: {value} (bar: {limit}){'; ' + detail if detail else ''}", flush=True)


def main(measurements):
    """Runs those that the command line names, or all, and counts what held."""
    known = {each.__name__: each for each in measurements}
    names = sys.argv[1:] or list(known)
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"bench: no measurement is called {unknown[0]!r}; there are: {', '.join(known)}")
    for chosen in names:
        known[chosen]()
    print(f"{sum(RESULTS)} hold, {len(RESULTS) - sum(RESULTS)} missed")


def bare(core, model, *arguments):
    command = ["taskset", "-c", str(core), BENCH / "bench/bare_loop", ENGINE, model, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def v2_json(name):
    """One row, the same as the bare loop's: ones for whole numbers, floats between 0 and 1."""
    size = SIZE[name]
    rows = {"input": ("FP32", [round(i % 97 / 97, 6) for i in range(size)])} if name == "fraud" else \
        {key: ("INT64", [1] * size) for key in ("input_ids", "attention_mask", "token_type_ids")}
    tensors = [{"name": key, "shape": [1, size], "datatype": datatype, "data": row} for key, (datatype, row) in rows.items()]
    return json.dumps({"inputs": tensors}, separators=(",", ":")).encode()


def request(path, body, *headers):
    lines = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def detector_request():
    body = bytes(3 * 320 * 320 * 4)
    head = json.dumps({"parameters": {"binary_data_output": True}, "inputs": [
        {"name": "images", "shape": [1, 3, 320, 320], "datatype": "FP32", "parameters": {"binary_data_size": len(body)}}]}).encode()
    return request("/v2/models/detector/infer", head + body, f"Inference-Header-Content-Length: {len(head)}")


def request_for(name):
    return detector_request() if name == "detector" else request(f"/v2/models/{name}/infer", v2_json(name))


class Client:
    """One connection; call() returns seconds to the first byte of a good answer, which is read to its end."""

    def __init__(self, node):
        host, port = node.host.split(":")
        self.socket = socket.create_connection((host, int(port)), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, message):
        begun = time.perf_counter()
        self.socket.sendall(message)
        data = self.socket.recv(1 << 16)
        took = time.perf_counter() - begun
        while b"\r\n\r\n" not in data:
            data += self.socket.recv(1 << 16)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: *(\d+)", head).group(1))
        while len(body) < length:
            body += self.socket.recv(1 << 20)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{head[:60]!r} {body[:300]!r}")
        self.size = len(head) + 4 + length
        return took


def tree(node):
    return [node.process.pid] + [pid for pid, _ in descendants(node.process.pid)]


def cpu_seconds(pids):
    """Of all threads, by the scheduler's own clock (nanoseconds)."""
    total = 0
    for pid in pids:
        try:
            total += sum(int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0]) for task in os.listdir(f"/proc/{pid}/task"))
        except OSError:
            pass  # it ended
    return total / 1e9


def private_memory(pid):
    """Bytes that no other process has."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Private_(?:Clean|Dirty): *(\d+)", text, re.M)) * 1024


def wrk(core, connections, seconds, url, body):
    """Requests, errors and latency in microseconds; one thread on a core of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"""wrk.method = "POST"; wrk.headers["Content-Type"] = "application/json"; wrk.body = {json.dumps(body.decode())}
done = function(s, l) io.write(string.format("JSON {{\\"requests\\": %d, \\"bad\\": %d, \\"p50\\": %d, \\"p99\\": %d, \\"us\\": %d}}\\n", s.requests,
  s.errors.status + s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout, l:percentile(50), l:percentile(99), s.duration)) end""")
        script.flush()
        out = subprocess.run(["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name, url],
                             check=True, capture_output=True, text=True).stdout
    return json.loads(re.search(r"JSON (.*)", out).group(1))


@contextlib.contextmanager
def node_on(*cores):
    """A node on these cores, ended behind the block; its zygote and instances inherit them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        node = Node(MAYFLY)
    finally:
        os.sched_setaffinity(0, before)
    try:
        yield node
    finally:
        node.kill()


def deploy(node, name):
    node.command("deploy", str(ROOT / "build/models" / name), "--name", name)
    wait_ready(node)


def wait_ready(node, seconds=300):
    """Until every function is compiled and measured."""
    node.wait(lambda: node.get("/api/functions")["functions"], lambda seen: seen and all(f["stage"] == "ready" for f in seen), seconds)


def artifact(node, name):
    sha = node.get(f"/api/functions/{name}/versions/1")["compiled"]["sha256"]
    return Path(node.data) / "artifacts" / sha[:2] / sha


def to_zero(node, name, evict=True):
    node.send("POST", f"/api/functions/{name}/scale", json.dumps({"instances": 0, "evict": evict}), {"Content-Type": "application/json"})
    node.wait(lambda: [p for p in node.processes(name) if evict or p["role"] == "instance"], lambda left: not left, 30)
