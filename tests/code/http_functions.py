#!/usr/bin/env python3
"""Functions that serve HTTP on a real node: what arrives, what comes back, and what a program may do wrong.

    tests/code/http_functions.py --mayfly build/mayfly [NAME …]
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from run import HERE, ROOT, RUNTIME, Failed, Node, check, main


class World:
    def __init__(self, binary):
        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-http-"))
        self.node = Node(binary)
        self.serve("server")

    def serve(self, name, *options, manifest="", concurrency=""):
        folder = self.folder / name
        if not folder.exists():
            shutil.copytree(HERE / "functions/server", folder)
        (folder / "function.yaml").write_text("runtime: http\nhandler: python3 server.py\n" + manifest +
                                              (f"scaling: {{concurrency: {concurrency}}}\n" if concurrency else ""))
        self.node.command("deploy", str(folder), "--name", name, *options)

    def send(self, method, path, body=None, headers=None, name="server"):
        return self.node.send(method, f"/functions/{name}{path}", body, headers or {})

    def seen(self, method, path, body=None, headers=None, name="server"):
        reply = self.send(method, path, body, headers, name)
        if reply.status != 200:
            raise Failed(f"{method} {path}: {reply!r}")
        return reply.json

    def at_once(self, calls):
        """(status, body) of each (path, name), all at a time."""
        replies = [None] * len(calls)

        def one(i, path, name):
            connection = self.node.connect()
            connection.request("GET", f"/functions/{name}{path}")
            reply = connection.getresponse()
            replies[i] = (reply.status, reply.read())

        threads = [threading.Thread(target=one, args=(i, *call)) for i, call in enumerate(calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return replies

    def close(self):
        self.node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def test_what_arrives(world):
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
        seen = world.seen(method, "/a//b%20c/?x=1&y=%26", b"body" if method in ("POST", "PUT", "PATCH") else None)
        check((seen["method"], seen["path"], seen["query"]) == (method, "/a//b%20c/", "x=1&y=%26"), f"{method}, path and query as sent", seen)
    check(world.seen("POST", "", b"{}")["path"] == "/" and world.seen("GET", "")["path"] == "/", "the function itself is /")
    check(world.seen("GET", ":1/q")["path"] == "/q", "a version by its number")
    headers = {"Host": "shop.example:81", "X-Custom": "a, b", "Connection": "keep-alive, X-Hop", "X-Hop": "1", "TE": "trailers",
               "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Request-Id": "call-7", "Accept-Encoding": "br"}
    seen = dict(world.seen("GET", "/h", headers=headers)["headers"])
    check(seen["Host"] == "shop.example:81" and seen["X-Custom"] == "a, b" and seen["Accept-Encoding"] == "br", "end-to-end headers", seen)
    check("X-Hop" not in seen and "TE" not in seen, "but none that are for one hop", seen)
    check(seen["Forwarded"] == 'for=127.0.0.1;host="shop.example:81";proto=https' and seen["X-Forwarded-For"] == "192.0.2.7, 127.0.0.1"
          and seen["X-Forwarded-Proto"] == "https" and seen["X-Request-Id"] == "call-7", "who asked, and how", seen)


def test_its_environment(world):
    seen = world.seen("GET", "/")
    check(seen["environment"] == {"PORT": "8080", "K_SERVICE": "server", "K_CONFIGURATION": "server", "K_REVISION": "server-00001"}
          and seen["stdin"] == "", "PORT and K_…, and stdin is at its end", seen)


def test_bodies(world):
    for size in (0, 1, 60_000, 65_536, 70_000, 1 << 20, 5 << 20):
        body = os.urandom(size)
        reply = world.send("POST", "/echo", body, {"Content-Type": "image/x"})
        check(reply.status == 200 and reply.body == body and reply.headers["Content-Type"] == "image/x", f"{size} bytes go and come back", len(reply.body))
    reply = world.send("PUT", "/echo", b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked", "Content-Encoding": "gzip"})
    check(reply.body == b"abcd", "a chunked request has a length there, whatever its encoding", reply)
    check(world.send("GET", "/chunks").body == b"onetwothree", "a chunked answer")
    reply = world.send("HEAD", "/x")
    check(reply.status == 200 and reply.body == b"", "HEAD has no body", reply)


def test_statuses(world):
    for status in (200, 201, 204, 302, 304, 404, 418, 500, 503):
        reply = world.send("GET", f"/status/{status}")
        check(reply.status == status and reply.headers["X-Own"] == "yes" and reply.headers["Set-Cookie"] == "a=1"
              and reply.headers["X-Mayfly-Version"] == "1", f"{status} with its headers", (reply, reply.headers.items()))
    reply = world.send("GET", "/nonsense")
    check(reply.status == 503 and "not valid HTTP" in reply.json["error"]["message"], "what is no HTTP is said to be none", reply)


def test_several_at_a_time(world):
    pid = world.seen("GET", "/")["pid"]
    started = time.monotonic()
    replies = world.at_once([("/sleep?0.4", "server")] * 8)
    took = time.monotonic() - started
    check(all(status == 200 for status, _ in replies) and max(json.loads(body)["most"] for _, body in replies) > 1 and took < 3,
          "eight calls run together", (took, replies))
    check(world.seen("GET", "/")["pid"] == pid, "in the same program")
    world.serve("alone", concurrency=1)
    replies = world.at_once([("/sleep?0.2", "alone")] * 4)
    check(all(status == 200 and json.loads(body)["most"] == 1 for status, body in replies), "one at a time where the manifest says so", replies)


def test_many_large_answers_at_once(world):
    replies = world.at_once([("/large?65000", "server")] * 16)
    check(all(status == 200 and len(body) == 65000 for status, body in replies), "more than the ring holds comes through", [s for s, _ in replies])


def test_slow_start(world):
    world.serve("slow", manifest="environment: {START_SECONDS: '1.5'}\n")
    reply = world.send("GET", "/", name="slow")
    check(reply.status == 200 and reply.milliseconds > 1400, "a call waits until the port is open", (reply, reply.milliseconds))


def test_what_does_not_start(world):
    world.serve("ends", manifest="environment: {EXIT_AT_START: '1'}\n")
    reply = world.send("GET", "/", name="ends")
    check(reply.status == 503 and "status 7" in reply.json["error"]["message"], "a program that ends at once is told with its status", reply)
    check("no, not today" in world.node.command("logs", "ends"), "and its last words are in the log")
    world.serve("mute", manifest="environment: {START_SECONDS: '1000'}\nresources: {timeout: 2s}\n")
    reply = world.send("GET", "/", name="mute")
    check(reply.status == 504, "a program that never listens is waited for as long as a call lasts", reply)


def test_a_program_that_ends_in_a_call(world):
    world.serve("dies")
    waiting = threading.Thread(target=lambda: world.at_once([("/sleep?0.5", "dies")]))
    waiting.start()
    time.sleep(0.5)
    reply = world.send("GET", "/exit?5", name="dies")
    waiting.join()
    check(reply.status == 503 and "status 5" in reply.json["error"]["message"], "its calls are told the exit status", reply)
    check(world.send("GET", "/", name="dies").status == 200, "the next call is answered, by another process")


def test_deadline(world):
    world.serve("late", manifest="resources: {timeout: 3s}\n")
    check(world.send("GET", "/", name="late").status == 200, "it runs")
    started = time.monotonic()
    replies = world.at_once([("/sleep?60", "late"), ("/sleep?1", "late")])
    check([status for status, _ in replies] == [504, 200] and time.monotonic() - started < 6, "who is late is told so, and no other call", replies)
    check(world.send("GET", "/", name="late").status == 200, "the next call is answered")


def test_sigterm(world):
    world.serve("leaves")
    check(world.send("GET", "/", name="leaves").status == 200, "it runs")
    world.serve("leaves", "--force")
    world.node.wait(lambda: world.node.command("logs", "leaves"), lambda log: "SIGTERM was seen" in log, 60)
    check(True, "a process that is not needed any more is told to end, and ends by itself")


def test_the_knative_example(world):
    world.node.command("deploy", str(ROOT / "examples/http-hello"))
    check(world.seen("GET", "/you", name="http-hello") == {"greeting": "Hello, you!", "service": "http-hello"}, "it greets")
    check(world.seen("POST", "/", b"four words and more", name="http-hello") == {"words": 4}, "and counts")


def test_an_azure_custom_handler(world):
    world.node.command("deploy", str(ROOT / "examples/azure-orders"))
    reply = world.send("POST", "/api/orders/a%207?x=1&y=a+b", b'[{"price": 2, "count": 3}, {"price": 1}]', name="azure-orders")
    check(reply.status == 201 and reply.headers["X-Order"] == "a 7", "the binding's status and headers", (reply, reply.headers.items()))
    check(reply.json == {"order": "a 7", "total": 7, "method": "POST", "query": {"x": "1", "y": "a b"}}, "parameters, query and body", reply)
    check(world.send("GET", "/api/orders/1", name="azure-orders").status == 200, "a GET has no body")
    check("order a 7: 7" in world.node.command("logs", "azure-orders"), "its Logs are in the log")
    check(world.send("DELETE", "/api/orders/1", name="azure-orders").status == 404, "a method that function.json does not name")
    reply = world.send("GET", "/api/other", name="azure-orders")
    check(reply.status == 404 and "/api/orders/{id}" in reply.json["error"]["message"], "an unknown route is told which there are", reply)


def test_azure_passes_http_through(world):
    folder = world.folder / "app"
    for name, binding in (("hello", {}), ("files", {"route": "files/{*rest}"})):
        (folder / name).mkdir(parents=True)
        trigger = {"type": "httpTrigger", "direction": "in", "name": "req", **binding}
        (folder / name / "function.json").write_text(json.dumps({"bindings": [trigger, {"type": "http", "direction": "out", "name": "$return"}]}))
    (folder / "host.json").write_text(json.dumps({"extensions": {"http": {"routePrefix": "v1"}}, "customHandler": {
        "enableForwardingHttpRequest": True, "description": {"defaultExecutablePath": "python3", "arguments": ["server.py"]}}}))
    source = (HERE / "functions/server/server.py").read_text()
    (folder / "server.py").write_text(source.replace('os.environ["PORT"]', 'os.environ["FUNCTIONS_CUSTOMHANDLER_PORT"]'))
    world.node.command("deploy", str(folder), "--runtime", "azure")
    seen = world.seen("PUT", "/v1/hello?a=b", b"abc", name="app")
    check((seen["method"], seen["path"], seen["query"], seen["size"]) == ("PUT", "/v1/hello", "a=b", 3), "the request as it came", seen)
    check(world.seen("GET", "/v1/files/a/b", name="app")["path"] == "/v1/files/a/b", "below a route that takes the rest")
    check(world.send("GET", "/api/hello", name="app").status == 404, "the prefix is host.json's")
    (folder / "hello/function.json").write_text('{"bindings": [{"type": "http", "direction": "out", "name": "m"}]}')
    world.node.command("deploy", str(folder), "--runtime", "azure")
    reply = world.send("GET", "/v1/hello", name="app")
    check(reply.status == 503 and "no trigger" in reply.json["error"]["message"], "a function that nothing can call is named", reply)


def h2c(world, name, manifest="protocol: h2c\n", only="h2c"):
    """Go's own server, deployed; nothing where this machine has no Go."""
    program = build(world, "h2c-server", "go", "build", "-trimpath", "-o", "server", ".", source=HERE / "functions/h2c")
    if not program:
        return False
    folder = world.folder / name
    folder.mkdir()
    shutil.copy(Path(program) / "server", folder / "server")
    (folder / "function.yaml").write_text(f"runtime: http\nhandler: ./server\nenvironment: {{ONLY: {only}}}\n{manifest}")
    world.node.command("deploy", str(folder), "--name", name)
    return True


def test_h2c(world):
    if not h2c(world, "two"):
        return
    seen = world.seen("PATCH", "/a//b%20c/?x=1&y=%26", b"body", {"Host": "shop.example:81", "X-Custom": "a, b", "Connection": "X-Hop", "X-Hop": "1"}, "two")
    check((seen["protocol"], seen["method"], seen["path"], seen["query"], seen["size"]) == ("HTTP/2.0", "PATCH", "/a//b%20c/", "x=1&y=%26", 4),
          "a request as it came, in HTTP/2", seen)
    check(seen["host"] == "shop.example:81" and seen["headers"]["X-Custom"] == ["a, b"] and "X-Hop" not in seen["headers"]
          and seen["headers"]["X-Forwarded-For"] == ["127.0.0.1"], "with its headers, and who asked", seen)
    for size in (0, 1, 60_000, 65_536, 70_000, 1 << 20, 5 << 20):
        body = os.urandom(size)
        reply = world.send("POST", "/echo", body, {"Content-Type": "image/x"}, "two")
        check(reply.status == 200 and reply.body == body and reply.headers["Content-Type"] == "image/x", f"{size} bytes go and come back", len(reply.body))
    for status in (200, 201, 204, 302, 304, 404, 418, 500, 503):
        reply = world.send("GET", f"/status/{status}", name="two")
        check(reply.status == status and reply.headers.get_all("Set-Cookie") == ["a=1", "b=2"], f"{status} with its headers", (reply, reply.headers.items()))
    reply = world.send("HEAD", "/x", name="two")
    check(reply.status == 200 and reply.body == b"", "HEAD has no body", reply)
    reply = world.send("GET", "/trailers", name="two")
    check(reply.status == 200 and reply.body == b"body", "an interim answer before, and trailers behind, are no part of the answer", reply)


def test_h2c_streams_of_one_connection(world):
    if not h2c(world, "streams", "protocol: h2c\nscaling: {max: 1}\n"):
        return
    world.seen("GET", "/", name="streams")
    replies = world.at_once([("/sleep/400", "streams")] * 8)
    seen = [json.loads(body) for status, body in replies if status == 200]
    check(len(seen) == 8 and max(each["most"] for each in seen) > 1 and seen[-1]["connections"] == 1, "calls run together, on one connection", replies)
    replies = world.at_once([("/large/3000000", "streams")] * 8)
    check(all(status == 200 and len(body) == 3_000_000 for status, body in replies), "so do large answers", [s for s, _ in replies])
    replies = world.at_once([("/abort", "streams"), ("/sleep/300", "streams")])
    check([status for status, _ in replies] == [503, 200] and b"stream was reset" in replies[0][1], "one that is reset ends alone", replies)
    reply = world.send("POST", "/unread", b"x" * (8 << 20), name="streams")
    check(reply.status == 403 and reply.body == b"no more", "an answer before the request was read", reply)
    reply = world.send("GET", "/headers/100", name="streams")
    check(reply.status == 503 and "64 KiB of headers" in str(reply.json), "more headers than are taken", reply)
    check(world.send("GET", "/headers/40", name="streams").headers["X-Many-39"], "and as many as are")
    check(json.loads(world.at_once([("/sleep/1", "streams")])[0][1])["connections"] == 1, "the connection is the same still")
    reply = world.send("GET", "/exit/5", name="streams")
    check(reply.status == 503 and "status 5" in reply.json["error"]["message"], "a program that ends is told with its status", reply)
    check(world.seen("GET", "/", name="streams")["protocol"] == "HTTP/2.0", "and the next call has another")


def test_h2c_late(world):
    if not h2c(world, "late-stream", "protocol: h2c\nresources: {timeout: 3s}\n"):
        return
    replies = world.at_once([("/sleep/60000", "late-stream"), ("/sleep/500", "late-stream")])
    check([status for status, _ in replies] == [504, 200], "who is late is told so, and no other call", replies)


def test_h2c_where_the_other_end_does_not_speak_it(world):
    if not h2c(world, "one", only="http1"):
        return
    reply = world.send("GET", "/", name="one")
    check(reply.status == 503 and "leave protocol out" in str(reply.json), "a program that speaks HTTP/1.1 alone is told so", reply)
    h2c(world, "other", manifest="")
    reply = world.send("GET", "/", name="other")
    check(reply.status >= 400, "and one that speaks HTTP/2 alone, where nothing says so", reply)
    for protocol, word in (("h2", "'h2c'"), ("http2", "http1, h2c"), ("grpc", "http1, h2c")):
        try:
            h2c(world, f"never-{protocol}", f"protocol: {protocol}\n")
            raise AssertionError("it was deployed")
        except Failed as failed:
            check(word in str(failed) and "line 4" in str(failed), f"protocol: {protocol} is told what there is", failed)


def build(world, example, *command, source=None):
    """The example with its framework, which comes from its registry; nothing where this machine can't."""
    if not shutil.which(command[0]):
        print(f"   -- skipped: this machine has no {command[0]}")
        return None
    folder = world.folder / example
    if folder.exists():
        return str(folder)
    shutil.copytree(source or ROOT / "examples" / example, folder)
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500,
                           env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"})
    if built.returncode != 0:
        raise Failed(f"{' '.join(command)}: {built.stderr[-600:]}")
    return str(folder)


def check_framework(world, folder, runtime, targets):
    for target, signature in zip(targets, ("http", "cloudevent")):
        world.node.command("deploy", folder, "--runtime", runtime, "--target", target, "--signature", signature, "--name",
                           f"{runtime}-{target.lower().replace('.', '-')}", timeout=600)
    hello, stored = (f"{runtime}-{target.lower().replace('.', '-')}" for target in targets)
    seen = world.seen("PUT", "/a/b?c=d", b"12345", {"Content-Type": "text/plain"}, name=hello)
    check(seen == {"method": "PUT", "path": "/a/b", "query": "c=d", "bytes": 5}, "an HTTP function", seen)
    attributes = {"specversion": "1.0", "type": "google.cloud.storage.object.v1.finalized", "source": "//storage", "id": "17"}
    binary = world.send("POST", "", b'{"name": "a.png"}', {"Content-Type": "application/json", **{f"ce-{k}": v for k, v in attributes.items()}},
                        name=stored)
    structured = world.send("POST", "", json.dumps({**attributes, "id": "18", "datacontenttype": "application/json", "data": {"name": "b.png"}}),
                            {"Content-Type": "application/cloudevents+json"}, name=stored)
    check(binary.status in (200, 204) and structured.status in (200, 204), "a CloudEvent, binary and structured", (binary, structured))
    log = world.node.wait(lambda: world.node.command("logs", stored), lambda log: "stored b.png" in log, 10)
    check("stored a.png by 17 (google.cloud.storage.object.v1.finalized)" in log and "stored b.png by 18" in log, "as they were sent", log[-400:])


def test_googles_functions_framework_for_go(world):
    if folder := build(world, "gcf-go", "go", "build", "-trimpath", "-o", "main", "."):
        check_framework(world, folder, "functions-framework-go", ("Hello", "Stored"))


def test_googles_functions_framework_for_python(world):
    if folder := build(world, "gcf-python", sys.executable, "-m", "pip", "install", "-q", "-t", ".", "-r", "requirements.txt"):
        check_framework(world, folder, f"functions-framework-{RUNTIME}", ("hello", "stored"))


def test_googles_functions_framework_for_nodejs(world):
    if folder := build(world, "gcf-nodejs", "npm", "install", "--no-audit", "--no-fund", "--silent"):
        check_framework(world, folder, "functions-framework-nodejs", ("hello", "stored"))


def test_googles_functions_framework_for_java(world):
    if not (shutil.which("javac") and shutil.which("mvn")):
        return print("   -- skipped: this machine has no JDK with Maven")
    folder = world.folder / "classes"
    folder.mkdir()
    (folder / "A.class").write_bytes(b"")
    try:
        world.node.command("deploy", str(folder), "--runtime", "functions-framework-java", "--target", "A")
        raise AssertionError("a package without its framework was taken")
    except Failed as failed:
        check("java-function-invoker" in str(failed), "a package without its framework is told how to bring it", failed)
    check_framework(world, str(ROOT / "examples/gcf-java"), "functions-framework-java", ("example.Hello", "example.Stored"))


def test_other_doors(world):
    reply = world.node.send("POST", "/v2/models/server/infer", json.dumps({"inputs": []}))
    check(reply.status == 501 and "HTTP" in reply.json["error"], "the inference protocol is told where to call", reply)
    world.node.command("deploy", str(ROOT / "examples/hello"), "--runtime", RUNTIME)
    reply = world.node.send("GET", "/functions/hello")
    check(reply.status == 405 and reply.headers["Allow"] == "POST", "a Lambda handler takes POST only", reply)
    check(world.node.send("GET", "/functions/hello/x").status == 404, "and has no paths below it")
    check(world.node.send("GET", "/functions/nobody/x").status == 404, "nobody is not found")
    check(world.node.send("POST", "/functions/hello", '{"name": "you"}').json["greeting"] == "Hello, you!", "and is called as before")


if __name__ == "__main__":
    main(globals(), World)
