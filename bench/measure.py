"""What run.py measures with: the bare loop, a raw client, the CPU clock of a process tree, wrk."""
import json
import os
import re
import socket
import statistics
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


def bare(core, model, *arguments):
    command = ["taskset", "-c", str(core), BENCH / "bench/bare_loop", ENGINE, model, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def inputs(name, rows=1):
    """The same as the bare loop's: ones for whole numbers, floats between 0 and 1."""
    size = SIZE[name]
    if name.startswith("sentences"):
        return {key: [[1] * size] * rows for key in ("input_ids", "attention_mask", "token_type_ids")}
    if name == "fraud":
        return {"input": [[round(i % 97 / 97, 6) for i in range(30)]] * rows}
    raise ValueError(name)


def v2_json(name):
    tensors = [{"name": key, "shape": [1, len(rows[0])], "datatype": "FP32" if name == "fraud" else "INT64", "data": rows[0]}
               for key, rows in inputs(name).items()]
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


def memory(pid, *keys):
    """Bytes, of smaps_rollup: Rss, Private_Dirty, …"""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(re.search(rf"^{key}: *(\d+)", text, re.M).group(1)) for key in keys) * 1024


def rss(pid):
    return int(re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) * 1024


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


def start(core, *options):
    """A node on one core; its zygote and instances inherit that."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core if isinstance(core, set) else {core})
    try:
        return Node(MAYFLY, *options)
    finally:
        os.sched_setaffinity(0, before)


def deploy(node, name, *options, folder=None):
    node.command("deploy", str(folder or ROOT / "build/models" / name), "--name", name, *options)
    node.wait(lambda: node.get(f"/api/functions/{name}/versions/1"), lambda v: v["stage"] == "ready", 60)


def artifact(node, name):
    sha = node.get(f"/api/functions/{name}/versions/1")["compiled"]["sha256"]
    return Path(node.data) / "artifacts" / sha[:2] / sha


def to_zero(node, name, evict=True):
    node.send("POST", f"/api/functions/{name}/scale", json.dumps({"instances": 0, "evict": evict}), {"Content-Type": "application/json"})
    node.wait(lambda: [p for p in node.processes(name) if evict or p["role"] == "instance"], lambda left: not left, 30)


def median(values):
    return statistics.median(values)
