"""A node of its own for a script: started on a free loopback port with fresh data, called, stopped, cleaned up.

Used by demo.py, by bench and by tests. Node() returns when the node listens; kill() may be called at any time and twice.
"""
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

TIMEOUT = 60  # seconds for one call


class Failed(Exception):
    """Something that was claimed does not hold."""


def check(holds, text):
    if not holds:
        raise Failed(text)
    print(f"ok {text}", flush=True)


def elapsed(action):
    """(seconds, what it returned)"""
    started = time.monotonic()
    result = action()
    return time.monotonic() - started, result


class Reply:
    def __init__(self, status, headers, body, milliseconds):
        self.status, self.headers, self.body, self.milliseconds = status, headers, body, milliseconds
        self.cold_header = headers.get("X-Mayfly-Cold", "")
        self.cold = self.cold_header.lower() not in ("", "0", "false", "no", "warm")
        self.timing = headers.get("Server-Timing", "")

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class Node:
    def __init__(self, binary, *options, data=None):
        self.binary = Path(binary)
        if not self.binary.exists():
            raise Failed(f"{binary} is missing: run make")
        self.own_data = data is None  # else whoever named the folder removes it
        self.data = data or tempfile.mkdtemp(prefix="mayfly-data-")
        self.lines, self.children = [], []
        started = time.monotonic()
        self.process = subprocess.Popen([str(binary), "serve", "--listen", "127.0.0.1:0", "--data", self.data, *options],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, errors="replace")
        listening = threading.Event()
        self.url = ""

        def read():
            for line in self.process.stdout:
                self.lines.append(line.rstrip("\n"))
                found = re.search(r"listening on (http://[0-9.]+:[0-9]+)", line)
                if found and not self.url:
                    self.url = found.group(1)
                    listening.set()
            listening.set()

        threading.Thread(target=read, daemon=True).start()
        listening.wait(30)
        self.start_seconds = time.monotonic() - started
        if not self.url:
            self.show_log()
            self.kill()
            raise Failed("the node did not say within 30 s where it listens")
        self.host = urllib.parse.urlsplit(self.url).netloc
        self.connection, self.used = self.connect(), time.monotonic()

    def connect(self):
        return http.client.HTTPConnection(self.host, timeout=TIMEOUT)

    def send(self, method, path, body=None, headers=None, connection=None):
        """One exchange, whatever its status. Sends on the node's own keep-alive connection unless told another."""
        if not connection:  # a node closes what was idle for 75 s (http.idle_max)
            connection, now = self.connection, time.monotonic()
            if now - self.used > 30:
                connection.close()
            self.used = now
        started = time.perf_counter()
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Failed(f"{method} {path}: no answer: {error!r}") from error
        return Reply(reply.status, reply.headers, content, (time.perf_counter() - started) * 1e3)

    def get(self, path):
        reply = self.send("GET", path)
        if reply.status != 200:
            raise Failed(f"GET {path}: {reply!r}")
        return reply.json

    def post(self, path, body, headers=None, connection=None):
        reply = self.send("POST", path, body, {"Content-Type": "application/json", **(headers or {})}, connection)
        if reply.status != 200:
            raise Failed(f"POST {path}: {reply!r}")
        return reply

    def command(self, *words, timeout=TIMEOUT):
        """A command of the CLI against this node; its output."""
        done = subprocess.run([str(self.binary), *words, "--url", self.url], capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Failed(f"mayfly {' '.join(words)}: exit status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def processes(self, function=None):
        """What runs now: instances and templates, of one function or of all."""
        return [p for p in self.get("/api/instances")["instances"] if function in (None, p["function"])]

    @staticmethod
    def wait(look, good, seconds, give_up=True):
        """Looks until it is good; returns what was seen last."""
        end = time.monotonic() + seconds
        while True:
            seen = look()
            if good(seen) or (not give_up and time.monotonic() > end):
                return seen
            if time.monotonic() > end:
                raise Failed(f"waited {seconds} s in vain; seen last: {str(seen)[:300]}")
            time.sleep(0.02)

    def stop(self):
        """SIGTERM; the exit status, or "none within 30 s"."""
        self.connection.close()
        self.children = descendants(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            return "none within 30 s"

    def left_over(self):
        """Processes of the node that outlive it by more than two seconds."""
        end = time.monotonic() + 2
        while (alive := [pid for pid, start in self.children if start_time(pid) == start]) and time.monotonic() < end:
            time.sleep(0.02)
        return alive

    def kill(self):
        if self.process.poll() is None:
            self.children = descendants(self.process.pid)
            self.process.kill()
            self.process.wait()
        for pid in self.left_over():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.own_data:
            shutil.rmtree(self.data, ignore_errors=True)

    def show_log(self, count=30):
        print("\nthe node's last lines:", *self.lines[-count:], sep="\n   ", flush=True)


def stat_fields(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def start_time(pid):
    """With the number it names a process for good: numbers come again."""
    fields = stat_fields(pid)
    return fields[19] if fields and fields[0] != "Z" else None


def descendants(pid):
    """[(pid, start time)] of all below a process."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := stat_fields(int(entry))):
            parents[int(entry)] = int(fields[1])
    found, next_ones = [], [pid]
    while next_ones:
        next_ones = [child for child, parent in parents.items() if parent in next_ones]
        found += [(child, start_time(child)) for child in next_ones]
    return [(child, start) for child, start in found if start]


def rss(pid):
    """Resident memory in bytes."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) * 1024


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def zygote_of(node):
    return next((pid for pid, _ in descendants(node.process.pid) if " zygote " in command_line(pid)
                 and stat_fields(pid)[1] == str(node.process.pid)), None)
