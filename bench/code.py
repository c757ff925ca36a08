#!/usr/bin/env python3
"""Calls of code against their floors: the same program behind the least that serves it, and the framework people would run instead.

    build/venv/bin/python bench/code.py [NAME…]     warm, throughput, go, rust, java, idle (needs bench/ built, wrk;
                                                    go, cargo, and a JDK with Maven)

What pip, go, cargo and Maven bring is kept below build/bench-code. Wall time here is for machines with nothing else running; the ratios say more.
"""
import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from measure import BENCH, ROOT, cpu_seconds, main, node_on, say, to_zero, tree, wrk

sys.path.insert(0, str(ROOT / "tests/code"))
import languages  # noqa: E402

KEPT = ROOT / "build/bench-code"
PYTHON = f"python3.{sys.version_info.minor}"
PACKAGES = ("awslambdaric==4.0.2", "functions-framework==3.9.2")
ECHO = """
def handler(event, context):
    return event

def echo(request):
    return request.get_json()
"""
BODY = json.dumps({"text": "x" * 64}).encode()
GO = """package main

import "github.com/aws/aws-lambda-go/lambda"

func echo(event map[string]any) (map[string]any, error) { return event, nil }

func main() { lambda.Start(echo) }
"""


def packages():
    """The folder with the frameworks, and the program as app.py and main.py."""
    folder = KEPT / PYTHON
    if (folder / "stamp").is_file() and (folder / "stamp").read_text() == repr(PACKAGES):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-t", str(folder), *PACKAGES], check=True)
    (folder / "app.py").write_text(ECHO)
    (folder / "main.py").write_text(ECHO)
    (folder / "stamp").write_text(repr(PACKAGES))
    return folder


class Floor:
    """bench/lambda_floor and one program behind it, on core 0."""

    def __init__(self, command, folder, **environment):
        self.server = subprocess.Popen(["taskset", "-c", "0", BENCH / "bench/lambda_floor"], stdout=subprocess.PIPE, text=True)
        self.address = self.server.stdout.readline().strip()
        begun = time.perf_counter()
        self.program = subprocess.Popen(["taskset", "-c", "0", *command], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={
            "PATH": os.environ["PATH"], "AWS_LAMBDA_RUNTIME_API": self.address, "LAMBDA_TASK_ROOT": str(folder), **environment})
        if self.server.stdout.readline() != "next\n":
            raise RuntimeError(f"{command} never asked for an event")
        self.start_ms = (time.perf_counter() - begun) * 1e3

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self.program, self.server):
            process.kill()
            process.wait()


@contextlib.contextmanager
def framework(folder, workers, threads=1):
    """functions-framework under gunicorn, as its container runs it."""
    port = 18080
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0, 1} if workers > 1 else {0})
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "WORKERS": str(workers), "THREADS": str(threads)}
    server = subprocess.Popen([sys.executable, "-m", "functions_framework", "--target", "echo", "--source", "main.py", "--host", "127.0.0.1",
                               "--port", str(port)], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.sched_setaffinity(0, before)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError, RuntimeError):
                post(f"127.0.0.1:{port}", "/", 1)
                break
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def post(address, path, times):
    """Microseconds of each call, over one connection, on core 1."""
    os.sched_setaffinity(0, {1})
    try:
        client = http.client.HTTPConnection(address, timeout=30)
        client.connect()
        client.sock.setsockopt(6, 1, 1)  # TCP_NODELAY
        took = []
        for _ in range(times):
            begun = time.perf_counter()
            client.request("POST", path, BODY, {"Content-Type": "application/json"})
            reply = client.getresponse()
            body = reply.read()
            took.append((time.perf_counter() - begun) * 1e6)
            if reply.status != 200 or json.loads(body) != json.loads(BODY):
                raise RuntimeError(f"{reply.status} {body[:200]!r}")
        return took
    finally:
        os.sched_setaffinity(0, {0, 1})


def deploy(node, name, files, runtime, handler, *options):
    folder = Path(node.data) / "bench" / name
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    node.command("deploy", str(folder), "--runtime", runtime, *(("--handler", handler) if handler else ()), *options, timeout=300)


def warm():
    folder = packages()
    ours, theirs, frameworks, spent, spent_floor = [], [], [], [], []
    with node_on(0) as node, framework(folder, 1) as web:
        deploy(node, "echo", {"app.py": ECHO}, PYTHON, "app.handler", "--min", "1", "--max", "1")
        with Floor([sys.executable, "-m", "awslambdaric", "app.handler"], folder) as floor:
            for _ in range(7):  # turn by turn: all see the same neighbours
                used = cpu_seconds(tree(node))
                ours.append(median(post(node.host, "/functions/echo", 500)))
                spent.append((cpu_seconds(tree(node)) - used) / 500 * 1e6)
                used = cpu_seconds([floor.server.pid, floor.program.pid])
                theirs.append(median(post(floor.address, "/invoke", 500)))
                spent_floor.append((cpu_seconds([floor.server.pid, floor.program.pid]) - used) / 500 * 1e6)
                frameworks.append(median(post(web, "/", 500)))
    mine, floor, web = (min(all_) for all_ in (ours, theirs, frameworks))
    say("warm call, Python echo, one client: p50", f"{mine / floor:.2f} x the floor, {mine / web:.2f} x functions-framework", "1.3 x, 1 x",
        mine <= 1.3 * floor and mine <= web, f"us, least of 7 medians of 500: here {mine:.0f}, awslambdaric behind the floor {floor:.0f}, "
        f"functions-framework {web:.0f}; medians {median(ours):.0f}, {median(theirs):.0f}, {median(frameworks):.0f}; CPU a call: here "
        f"{median(spent):.0f}, floor {median(spent_floor):.0f}")


def throughput():
    folder, ratios = packages(), []
    with node_on(0, 1) as node, framework(folder, 4) as web:
        deploy(node, "echo", {"app.py": ECHO}, PYTHON, "app.handler", "--max", "4")
        wrk("0,1", 16, 3, node.url + "/functions/echo", BODY)
        for _ in range(3):
            mine = wrk("0,1", 16, 4, node.url + "/functions/echo", BODY)
            web_ = wrk("0,1", 16, 4, f"http://{web}/", BODY)
            ratios.append((mine["requests"] / web_["requests"], mine["requests"] / mine["us"] * 1e6, web_["requests"] / web_["us"] * 1e6,
                           mine["bad"], web_["bad"], mine["p50"], web_["p50"]))
    ratio, rate, rate_web, bad, bad_web, p50, p50_web = sorted(ratios)[1]
    say("warm throughput, Python echo, 16 clients, 2 cores for all", f"{ratio:.1f} x functions-framework, 4 workers", "3 x", ratio >= 3 and not bad,
        f"{rate:.0f} and {rate_web:.0f} requests/s, p50 {p50} and {p50_web} us, {bad} and {bad_web} bad")


def first_answer(node, name, rounds):
    times = []
    for _ in range(rounds):
        to_zero(node, name, evict=False)  # that would take the sandbox away, too, that waits ahead
        time.sleep(0.3)
        times.append(node.post(f"/functions/{name}", BODY.decode()).milliseconds)
    return times


def go():
    project = KEPT / "go"
    project.mkdir(parents=True, exist_ok=True)
    (project / "go.mod").write_text("module echo\n\ngo 1.21\n\nrequire github.com/aws/aws-lambda-go v1.47.0\n")
    (project / "main.go").write_text(GO)
    subprocess.run(["go", "build", "-mod=mod", "-o", "bootstrap", "."], cwd=project, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
    native("Go", project / "bootstrap")


def rust():
    native("Rust", languages.build_rust() / "bootstrap")


def native(language, program):
    """A program whose start is its own: a `bootstrap`."""
    name, floors, ours = language.lower(), [], []
    with node_on(0, 1) as node:
        (Path(node.data) / "bench" / name).mkdir(parents=True)
        shutil.copy(program, Path(node.data) / "bench" / name / "bootstrap")
        deploy(node, name, {}, "provided.al2023", "")
        for _ in range(10):
            with Floor([str(program)], program.parent, _HANDLER="x", AWS_LAMBDA_FUNCTION_NAME=name, AWS_LAMBDA_FUNCTION_VERSION="1",
                       AWS_LAMBDA_FUNCTION_MEMORY_SIZE="128", AWS_LAMBDA_LOG_GROUP_NAME="g", AWS_LAMBDA_LOG_STREAM_NAME="s") as floor:
                floors.append(floor.start_ms)
            ours += first_answer(node, name, 2)
        phases = node.get(f"/api/functions/{name}")["cold_starts"]
    say(f"cold start, {language}: first answer from zero", f"{median(ours):.1f} ms", "its own start to /next + 3 ms", median(ours) <= median(floors) + 3,
        f"own start {median(floors):.1f} ms, least {min(ours):.1f} and {min(floors):.1f}; ms by phase: "
        + ", ".join(f"{key} {median(s[key + '_ms'] for s in phases):.1f}" for key in ("sandbox", "load", "total")))


def java():
    project, package = KEPT / "java", KEPT / "java/package"
    (package / "example").mkdir(parents=True, exist_ok=True)
    (project / "pom.xml").write_text(languages.textwrap.dedent(languages.POM))
    (project / "Fraud.java").write_text(languages.textwrap.dedent(languages.FRAUD))
    subprocess.run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={package / 'lib'}"],
                   cwd=project, check=True)
    subprocess.run(["javac", "--release", "17", "-cp", f"{package / 'lib'}/*", "-d", str(package), str(project / "Fraud.java")], check=True)
    event = json.dumps({"amount": 500, "abroad": True})
    bare, ours = [], []
    classpath = ":".join(str(path) for path in sorted((package / "lib").glob("*.jar"))) + f":{package}"
    with node_on(0, 1) as node:
        node.command("deploy", str(package), "--name", "java", "--runtime", "java17", "--handler", "example.Fraud::score", "--memory", "512MiB",
                     timeout=300)
        node.post("/functions/java", event)
        node.wait(lambda: node.get("/api/functions/java")["versions"][-1].get("start_cache"), lambda seen: seen and seen["state"] != "making", 120)
        for _ in range(5):
            with Floor(["java", "-cp", classpath, "com.amazonaws.services.lambda.runtime.api.client.AWSLambda", "example.Fraud::score"], package,
                       _HANDLER="example.Fraud::score", AWS_LAMBDA_FUNCTION_NAME="java", AWS_LAMBDA_FUNCTION_MEMORY_SIZE="512") as floor:
                begun = time.perf_counter()
                client = http.client.HTTPConnection(floor.address, timeout=30)
                client.request("POST", "/invoke", event)
                client.getresponse().read()
                bare.append(floor.start_ms + (time.perf_counter() - begun) * 1e3)
            to_zero(node, "java")
            ours.append(node.post("/functions/java", event).milliseconds)
    ratio = median(ours) / median(bare)
    say("cold start, Java: first answer from zero", f"{ratio:.2f} x the plain JVM's", "0.5 x", ratio <= 0.5, f"ms: {median(ours):.0f}, plain {median(bare):.0f}")


def idle():
    """Fifty instances of one Python function that nobody calls, forked from its template."""
    count = 50
    with node_on(0, 1) as node:
        deploy(node, "many", {"app.py": ECHO, "function.yaml": "fork: always\n"}, PYTHON, "app.handler", "--max", str(count), "--memory", "128MiB")
        node.post("/functions/many", BODY.decode())
        node.wait(lambda: node.processes("many"), lambda seen: any(p["role"] == "template" and p["state"] == "ready" for p in seen), 20)
        node.command("scale", "many", "0")
        node.wait(lambda: [p for p in node.processes("many") if p["role"] == "instance"], lambda seen: not seen, 20)
        before = set(tree(node))
        node.command("scale", "many", str(count))
        node.wait(lambda: [p for p in node.processes("many") if p["role"] == "instance" and p["state"] == "ready"], lambda seen: len(seen) == count, 60)
        time.sleep(3)
        fresh = [pid for pid in tree(node) if pid not in before]
        each = sum(resident(pid) for pid in fresh) / count / 2**20
        begun, used = time.monotonic(), cpu_seconds(fresh)
        time.sleep(5)
        share = (cpu_seconds(fresh) - used) / (time.monotonic() - begun)
    say(f"{count} idle Python instances, forked", f"{each:.1f} MiB each, its host included", "12 MB resident", each * 2**20 <= 12e6,
        f"proportional set size; {share:.2%} of a core for all")


def resident(pid):
    """Bytes, what is shared counted by its share."""
    try:
        return int(re.search(r"^Pss: *(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M).group(1)) * 1024
    except (OSError, AttributeError):
        return 0


if __name__ == "__main__":
    main((warm, throughput, go, rust, java, idle))
