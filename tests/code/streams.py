#!/usr/bin/env python3
"""Answers that are passed on as they come, on a real node: when what arrives, who waits for whom, and how one breaks off.

    tests/code/streams.py --mayfly build/mayfly [NAME …]
"""
import hashlib
import http.client
import json
import shutil
import socket
import tempfile
import time
from pathlib import Path

from run import HERE, Failed, Node, check, main

SLOW_MAX = 24 << 20    # what the kernel's buffers of three sockets take, and then some


class World:
    def __init__(self, binary):
        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-stream-"))
        self.node = Node(binary)
        self.serve("stream", "60s")

    def serve(self, name, timeout):
        folder = self.folder / name
        shutil.copytree(HERE / "functions/stream", folder)
        (folder / "function.yaml").write_text(f"runtime: http\nhandler: python3 server.py\nresources: {{timeout: {timeout}}}\n")
        self.node.command("deploy", str(folder), "--name", name)

    def open(self, path, name="stream"):
        """The answer, once its head is there."""
        connection = self.node.connect()
        connection.request("GET", f"/functions/{name}{path}")
        return connection, connection.getresponse()

    def ask(self, path, name="stream"):
        connection, reply = self.open(path, name)
        body = reply.read()
        connection.close()
        return reply, body

    def json(self, path, name="stream"):
        return self.node.send("GET", f"/functions/{name}{path}", None, {}).json

    # Lambda's: a runtime that streams, functions/runtime-stream/bootstrap.
    def stream(self, do, headers=None, small_buffer=False, **event):
        if not (self.folder / "lambda").exists():
            shutil.copytree(HERE / "functions/runtime-stream", self.folder / "lambda")
            (self.folder / "lambda/function.yaml").write_text("scaling: {max: 1}\n")  # calls are counted
            self.node.command("deploy", str(self.folder / "lambda"), "--runtime", "provided.al2023", "--timeout", "60s")
        connection = self.node.connect()
        if small_buffer:
            connection.connect()
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.request("POST", "/functions/lambda", json.dumps({"do": do, **event}), headers or {})
        return connection, connection.getresponse()

    def streamed(self, do, headers=None, **event):
        connection, reply = self.stream(do, headers, **event)
        body = reply.read()
        connection.close()
        return reply, body

    def errors(self, name="lambda"):
        lines = [json.loads(line) for line in self.node.command("logs", name, "--json").splitlines()]
        return [line["message"] for line in lines if line.get("outcome") not in (None, "ok")]

    def until(self, look, good, wait=30):
        end = time.monotonic() + wait
        while not good(seen := look()):
            if time.monotonic() > end:
                raise Failed(f"not within {wait} s: {seen}")
            time.sleep(0.05)
        return seen

    def close(self):
        self.node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def read_some(reply, size):
    """As much as is there, `size` at least."""
    got = b""
    while len(got) < size:
        piece = reply.read1(65536)
        if not piece:
            raise Failed(f"it ended after {got!r}")
        got += piece
    return got


def cut_off(reply):
    """What came of an answer that must break off."""
    try:
        body = reply.read()
    except http.client.IncompleteRead as error:
        return error.partial
    except ConnectionError:
        return b""
    raise Failed(f"it was told as whole: {len(body)} bytes")


def test_events_arrive_as_they_happen(world):
    connection, reply = world.open("/events?4")
    check(reply.status == 200 and reply.headers["Content-Type"] == "text/event-stream" and reply.headers["Transfer-Encoding"] == "chunked"
          and reply.headers["X-Mayfly-Version"] == "1", "the head, while the program still works", reply.headers.items())
    for i in range(4):
        event = b"data: %d\n\n" % i
        check(read_some(reply, len(event)) == event, f"event {i}, before the next is made")
        world.json("/go")
    check(reply.read() == b"", "and its end")
    connection.request("GET", "/functions/stream/state")
    check(connection.getresponse().status == 200, "after which the connection is used again")
    connection.close()


def test_a_small_answer_is_one_frame(world):
    def look():
        reply, body = world.ask("/sized?1000")
        check(body == b"a" * 500 + b"b" * 500 and reply.headers["Content-Length"] == "1000", "it has its length")
        return reply.headers["Server-Timing"]
    world.until(look, lambda timing: "run;dur=0.000" not in timing)  # on a machine with no time its halves may be too far apart
    check(True, "and is one with the time of its run")


def test_lengths_are_kept(world):
    for size in (40_000, 70_000, 1 << 20, 20 << 20):
        reply, body = world.ask(f"/sized?{size}")
        check(reply.headers["Content-Length"] == str(size) and "Transfer-Encoding" not in reply.headers
              and body == b"a" * (size // 2) + b"b" * (size - size // 2), f"{size} bytes", (len(body), reply.headers.items()))


def test_a_small_one_that_stalls_is_passed_on(world):
    connection, reply = world.open("/halves?1000")
    check(read_some(reply, 500) == b"a" * 500, "its first half")
    world.json("/go")
    check(reply.read() == b"b" * 500, "its second")
    connection.close()


def test_more_than_a_whole_answer_may_have(world):
    reply, body = world.ask("/chunks?100")
    want = hashlib.sha256(b"".join(bytes([i]) * (1 << 20) for i in range(100)))
    check(hashlib.sha256(body).digest() == want.digest(), "100 MiB, each byte", len(body))


def test_a_caller_who_reads_slowly_slows_the_program(world):
    before = world.json("/state")["written"]
    connection, reply = world.open("/forever")
    look = lambda: world.json("/state")["written"] - before  # noqa: E731
    seen = -1
    while (now := look()) != seen:       # until it stands still
        seen = now
        time.sleep(1)
        if now > SLOW_MAX:
            break
    check(0 < seen <= SLOW_MAX, "the program stands still while nobody reads", seen)
    read_some(reply, seen + (4 << 20))
    check(look() > seen, "and goes on when somebody does")
    others = [world.ask("/sized?100000")[1] for _ in range(3)]
    check(all(len(body) == 100_000 for body in others), "other calls of the same program are not held up")
    broken = world.json("/state")["broken"]
    reply.close()
    connection.close()
    world.until(lambda: world.json("/state")["broken"], lambda seen: seen > broken)
    check(True, "a caller who leaves ends it")


def test_how_one_breaks_off(world):
    connection, reply = world.open("/cut")
    got = read_some(reply, 4)
    world.json("/go")
    check(got == b"some" and cut_off(reply) == b"", "a program that closes in the middle: the caller sees that it is not all")
    connection.close()
    connection, reply = world.open("/exit")
    got = read_some(reply, 4)
    start = world.json("/state")["start"]
    world.json("/go")
    check(got == b"some" and cut_off(reply) == b"", "and one that ends")
    connection.close()
    check(world.until(lambda: world.json("/state"), lambda seen: seen and seen.get("start") not in (None, start))["broken"] == 0, "another takes its place")
    reply, body = world.ask("/head?60000")
    check(reply.status == 500 and b"headers" in body, "a head that is too large for one is refused", (reply.status, body[:200]))


def test_the_time_limit_holds(world):
    world.serve("short", "2s")
    connection, reply = world.open("/events?2", "short")
    check(read_some(reply, 9) == b"data: 0\n\n" and cut_off(reply) == b"", "past its time limit it breaks off")
    connection.close()
    used = world.until(lambda: world.node.get("/api/usage?function=short")["sums"], lambda sums: sums and sums[0]["invocations"] > 0)
    check(used[0]["invocations"] == used[0]["errors"] == 1, "and counts as a failure", used)


def test_http_1_0(world):
    host, port = world.node.connect().host, world.node.connect().port
    with socket.create_connection((host, port)) as plain:
        plain.sendall(b"GET /functions/stream/chunks?2 HTTP/1.0\r\n\r\n")
        got = b""
        while piece := plain.recv(65536):
            got += piece
    head, body = got.split(b"\r\n\r\n", 1)
    check(b"chunked" not in head and body == b"\0" * (1 << 20) + b"\1" * (1 << 20), "its body ends with the connection", (head, len(body)))


def test_what_has_no_body(world):
    connection = world.node.connect()
    for _ in range(2):
        connection.request("HEAD", "/functions/stream/chunks?3")
        reply = connection.getresponse()
        check(reply.status == 200 and reply.read() == b"", "HEAD has the head alone, and its connection goes on")
    connection.request("GET", "/functions/stream/state")
    check(connection.getresponse().status == 200, "with the next")
    connection.close()


def test_a_slow_caller_ends_no_program(world):
    world.serve("slow", "2s")
    start = world.json("/state", "slow")["start"]
    connection, reply = world.open("/forever", "slow")
    world.until(lambda: world.json("/state", "slow")["broken"], lambda seen: seen == 1)
    check(cut_off(reply) != b"" and world.json("/state", "slow")["start"] == start, "its time was over, and the program goes on")
    connection.close()


def test_a_connection_answers_the_next(world):
    connection = world.node.connect()
    for path, size in (("/chunks?1", 1 << 20), ("/sized?1", 1), ("/sized?300000", 300_000), ("/chunks?2", 2 << 20)):
        connection.request("GET", "/functions/stream" + path)
        check(len(connection.getresponse().read()) == size, f"{path} on the same connection")
    connection.close()


def test_lambda_streams(world):
    reply, body = world.streamed("end", chunks=["one;", "two;"])
    check(reply.status == 200 and reply.headers["Content-Type"] == "text/plain" and body == b"one;two;", "its bytes, with their type", reply.headers.items())
    connection, reply = world.stream("hang", {"X-Mayfly-Timeout": "2s"}, chunks=["first"])
    check(read_some(reply, 5) == b"first" and cut_off(reply) == b"", "what was written is there though it never ends")
    connection.close()
    world.until(world.errors, lambda seen: any("Task timed out" in text or "time limit" in text for text in seen))
    reply, body = world.streamed("megabytes", count=19)
    check(len(body) == 5 - 1 + (19 << 20), "19 MiB", len(body))


def test_lambda_streams_and_slow_callers(world):
    before = len(world.errors())
    connection, reply = world.stream("megabytes", {"X-Mayfly-Timeout": "2s"}, small_buffer=True, count=19)
    world.until(world.errors, lambda seen: len(seen) > before)
    check(len(cut_off(reply)) < 19 << 20, "who doesn't read within the call's time gets no more")
    connection.close()


def test_lambda_streams_of_other_callers(world):
    reply, body = world.streamed("end", {"X-Mayfly-Log": "tail"}, chunks=["one;", "two;"])
    check(body == b"one;two;" and reply.headers["Content-Length"] == "8", "who wants the log gets the answer whole", reply.headers.items())
    reply = world.node.send("POST", "/2015-03-31/functions/lambda/invocations", json.dumps({"do": "end", "chunks": ["1", "2"]}), {})
    check(reply.status == 200 and reply.body == b"12", "and so does Invoke", reply)


def test_lambda_preludes(world):
    http = "application/vnd.awslambda.http-integration-response"
    prelude = json.dumps({"statusCode": 201, "headers": {"X-Own": "yes", "content-type": "text/html", "Content-Length": "3"}, "cookies": ["a=1", "b=2"]})
    for chunks in ([prelude + "\0" * 8 + "<p>"], [prelude[:9], prelude[9:] + "\0" * 3, "\0" * 5, "<p>"]):
        reply, body = world.streamed("end", type=http, chunks=chunks)
        check(reply.status == 201 and reply.headers["X-Own"] == "yes" and reply.headers["Content-Type"] == "text/html" and body == b"<p>"
              and reply.headers.get_all("Set-Cookie") == ["a=1", "b=2"], "status, headers and cookies", reply.headers.items())
    for status in (204, 304):
        connection, reply = world.stream("end", type=http, chunks=[f'{{"statusCode": {status}}}' + "\0" * 8 + "never"])
        check(reply.status == status and "Transfer-Encoding" not in reply.headers and reply.read() == b"", f"{status} has no body")
        connection.request("GET", "/functions/stream/state")
        check(connection.getresponse().status == 200, "and the connection goes on")
        connection.close()
    for chunks, words in ((["[]" + "\0" * 8], "no JSON object"), (['{"statusCode": 99}' + "\0" * 8], "statusCode is 99"), (["{}"], "ended before"),
                          (['{"headers": {"a b": "c"}}' + "\0" * 8], "'a b'"), (['{"headers": {"a": "b\\r\\nc: d"}}' + "\0" * 8], "'a'"),
                          (["x" * 20_000], "does not end within")):
        reply, body = world.streamed("end", type=http, chunks=chunks)
        error = json.loads(body)
        check(reply.status == 500 and error["errorType"] == "Runtime.InvalidPrelude" and words in error["errorMessage"], words, body[:300])


def test_lambda_streams_that_fail(world):
    before = json.loads(world.streamed("count")[1])
    for how, words, more in (("fail", "it broke", {"message": "it broke"}), ("leave", "closed before it had ended", {}),
                             ("long trailers", "more than 8 KiB of chunk extensions and trailers", {}), ("beside", "Beside", {})):
        connection, reply = world.stream(how, **more)
        check(cut_off(reply).startswith(b"some"), f"{how}: it breaks off after what was written")
        connection.close()
        world.until(world.errors, lambda seen: any(words in text for text in seen))
    check(json.loads(world.streamed("count")[1]) == before + 5, "and each was the failure of its call alone")
    for how, words in (("long trailers", "more than 8 KiB"), ("fail", "whole")):
        reply, body = world.streamed(how, {"X-Mayfly-Log": "tail"}, message="whole")
        check(reply.status == 500 and words in json.loads(body)["errorMessage"], f"{how}, of a caller who takes no parts: the error alone", body)
    for type in ("text/plain", "application/vnd.awslambda.http-integration-response"):
        connection, reply = world.stream("endless", type=type, chunks=["[]" + "\0" * 8])
        check(reply.status == 500 if "aws" in type else cut_off(reply).startswith(b"[]"), "one without end", reply.status)
        connection.close()
        world.until(world.errors, lambda seen: "exceeded maximum allowed payload size (20971520" in seen[-1])
        check(json.loads(world.streamed("count")[1]) == 1, "ends at 20 MiB, with its instance")
    connection, reply = world.stream("beside")
    check(cut_off(reply) == b"some", "an answer that was left open")
    connection.close()
    reply, body = world.streamed("after", chunks=["mine"])
    check(body == b"mine; more", "adds nothing to the next", body)


if __name__ == "__main__":
    main(globals(), World)
