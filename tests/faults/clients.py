"""Clients that are slow, many, or try to smuggle: what they are told, and that others are served meanwhile."""
import socket
import time

from node import rss
from world import PATIENCE, Call, Raw, check

SMUGGLED = {
    "Content-Length and Transfer-Encoding": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "two lengths": "Content-Length: 4\r\nContent-Length: 0\r\n",
    "two equal lengths": "Content-Length: 0\r\nContent-Length: 0\r\n",
    "an obfuscated encoding": "Transfer-Encoding: \vchunked\r\n",
    "two encodings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "a space before the colon": "Content-Length : 0\r\n",
    "a bare LF": "X: y\nContent-Length: 0\r\n",
    "a folded header": "Content-Length: 0\r\nX: y\r\n\tz\r\n",
}


def test_0_slow_clients(world):
    """Begun first, since the node waits 10 s for a head and 30 s for a body that stalls; waited for at the end of all tests."""
    def slow_head():
        client = Raw(world.node)
        client.socket.settimeout(0.2)
        told = b""
        for byte in b"POST /functions/add HTTP/1.1\r\nHost: a\r\nX-Filler: " + b"x" * 1000:
            client.send(bytes([byte]))
            try:
                told = client.socket.recv(65536)
                break
            except TimeoutError:
                pass
        check(told.startswith(b"HTTP/1.1 408 ") and b"headers did not come in time" in told,
              "a head that comes a byte at a time: 408, names the headers", told)

    def stalled_body():
        client = Raw(world.node, b"POST /functions/add HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"x\"")
        told = client.read_all()
        check(told.startswith("HTTP/1.1 408 ") and "body did not come in time" in told, "a body that stalls: 408, names the body", told)

    world.begin("a head a byte at a time", slow_head)
    world.begin("a body that stalls", stalled_body)
    world.answers("beside slow clients, another client")


def wait_for_later(world):
    failures = []
    for what, thread, outcome in world.later:
        thread.join(3 * PATIENCE)
        if not outcome or outcome[0] is not None:
            failures.append(f"{what}: {outcome[0] if outcome else 'has not ended'}")
    check(not failures, f"{len(world.later)} that wait for long: {', '.join(what for what, _, _ in world.later)}", failures)
    world.answers()


def test_smuggling(world):
    hidden = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
    for what, headers in SMUGGLED.items():
        client = Raw(world.node, f"POST /functions/add HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode() + hidden)
        told = client.read_all()
        check(told.startswith("HTTP/1.1 400 ") and told.count("HTTP/1.1 ") == 1,
              f"{what}: 400, closed, and what is behind it is not read", told)
    world.answers()


def test_ten_thousand_idle_connections(world):
    import resource
    wanted = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    if wanted < 10_000:
        print(f"   only {wanted}: the hard limit of descriptors allows no more")
    ask = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
    before = rss(world.node.process.pid)
    idle = []
    try:
        host, _, port = world.node.host.partition(":")
        for _ in range(wanted):
            client = socket.create_connection((host, int(port)), timeout=PATIENCE)
            idle.append(client)
            client.sendall(ask)  # one that never asked is given up after 10 s, one that did after 75
            if not client.recv(4096).startswith(b"HTTP/1.1 200 "):
                check(False, f"connection {len(idle)} is answered")
        each = (rss(world.node.process.pid) - before) / wanted
        check(each < 4096 or world.sanitized, f"{wanted} idle connections take {each:.0f} bytes of the node's memory each" +
              (" (sanitized: not asserted)" if world.sanitized else ""))
        world.answers(f"beside {wanted} idle connections, another client")
        begun = time.monotonic()
        calls = [Call(world.node, "add", {"x": [[i, 0, 0]]}) for i in range(20)]
        check(all(call.answer().json == {"y": [[i + 1, 2, 3]]} for i, call in enumerate(calls)), "and twenty at once")
        print(f"   twenty calls at once took {(time.monotonic() - begun) * 1e3:.0f} ms")
        for client in idle[::100]:
            client.sendall(ask)
            if not client.recv(4096).startswith(b"HTTP/1.1 200 "):
                check(False, "an idle connection is answered when it asks again")
        check(True, "idle ones are answered when they ask again")
    finally:
        for client in idle:
            client.close()
    world.answers("after they left, another client")
