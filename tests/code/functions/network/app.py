"""Reaches out in the ways that a function might, and in those that it must not be able to. Each answers what it saw."""
import asyncio
import ctypes
import errno
import http.client
import os
import socket
import struct
import time
import urllib.request

MSG_FASTOPEN = 0x20000000


def said(error):
    return f"{type(error).__name__} {errno.errorcode.get(getattr(error, 'errno', None), getattr(error, 'errno', ''))}"


def get(event):
    connection = http.client.HTTPConnection(event["host"], event["port"], timeout=20)
    connection.request("GET", event.get("path", "/hello"))
    reply = connection.getresponse()
    return {"status": reply.status, "body": reply.read().decode(), "peer": connection.sock.getpeername()[0] if connection.sock else ""}


def url(event):
    return urllib.request.urlopen(event["url"], timeout=20).read().decode()


def requests_get(event):
    try:
        from pip._vendor import requests
    except ImportError:
        return None
    return requests.get(event["url"], timeout=20).text


async def ask(host, port):
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /hello HTTP/1.0\r\n\r\n")
    text = await reader.read()
    writer.close()
    return text.rpartition(b"\r\n")[2].decode()


def asynchronous(event):
    async def all_of_them():
        return await asyncio.gather(*(ask(event["host"], event["port"]) for _ in range(event["times"])))
    return asyncio.run(all_of_them())


def connect(event):
    family = socket.AF_INET6 if ":" in event["host"] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.settimeout(10)
        tried.connect((event["host"], event["port"]))
        tried.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
        return "connected, and " + ("answered" if tried.recv(100) else "closed")


def datagram(event):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        tried.settimeout(5)
        tried.connect((event["host"], event["port"]))
        tried.send(b"x")
        time.sleep(0.05)
        tried.send(b"x")
        return tried.recv(1).decode()


def half(event):
    """Says that it has said all, and reads on."""
    with socket.create_connection((event["host"], event["port"]), 10) as tried:
        tried.sendall(b"x" * 300_000)
        tried.shutdown(socket.SHUT_WR)
        got = b""
        while part := tried.recv(65536):
            got += part
        return got.decode()


def many(event):
    """More at a time than are carried; each is kept until all have answered or have not."""
    held, failed = [], 0
    for _ in range(event["times"]):
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        one.settimeout(0.02)
        try:
            one.connect((event["host"], event["port"]))
        except OSError:
            failed += 1
        held.append(one)
    for one in held:
        one.close()
    return {"failed": failed}


def again(event):
    """A socket that is connected to what is allowed is taken apart, and turned on something else."""
    seen = []
    tried = socket.create_connection((event["host"], event["port"]), 10)
    libc = ctypes.CDLL(None, use_errno=True)
    nothing = struct.pack("HH12x", socket.AF_UNSPEC, 0)
    seen.append("taken apart" if libc.connect(tried.fileno(), nothing, len(nothing)) == 0 else "held")
    for other in event["others"]:
        try:
            tried.connect((other[0], other[1]))
            seen.append("connected")
        except OSError as error:
            seen.append(said(error))
    fast = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for other in event["others"]:
        try:
            fast.sendto(b"GET / HTTP/1.0\r\n\r\n", MSG_FASTOPEN, (other[0], other[1]))
            seen.append("sent")
        except OSError as error:
            seen.append(said(error))
    return seen


def interfaces(event):
    """Which addresses a socket that is connected outside lets it see."""
    with socket.create_connection((event["host"], event["port"]), 10) as tried:
        return [socket.if_nameindex(), tried.getsockname()[0]]


def serve_low(event):
    with socket.create_server(("127.0.0.1", 80)) as server:
        return server.getsockname()[1]


def speed(event):
    def median(address):
        taken = []
        for _ in range(event["times"]):
            begun = time.perf_counter()
            with socket.create_connection(address, 10) as tried:
                tried.sendall(b"p")
                tried.recv(1)
            taken.append(time.perf_counter() - begun)
        return sorted(taken)[len(taken) // 2] * 1e6
    result = {"connect_us": median((event["host"], event["port"]))}
    with socket.create_connection((event["host"], event["bulk"]), 10) as bulk:
        begun, size = time.perf_counter(), 0
        while part := bulk.recv(1 << 20):
            size += len(part)
        result["mib_per_s"] = size / (1 << 20) / (time.perf_counter() - begun)
    return result


def names(event):
    return {name: [info[4][0] for info in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)] for name in event["names"]}


def kill_others(event):
    """All that it may signal, but itself and its host: who carries its connections among them."""
    killed = 0
    for pid in range(2, 400):
        if pid not in (os.getpid(), os.getppid()):
            try:
                os.kill(pid, 9)
                killed += 1
            except OSError:
                pass
    time.sleep(0.2)
    return [killed > 0, *(attempt(other) for other in event["others"])]


def attempt(other):
    try:
        with socket.create_connection(tuple(other), 5):
            return "connected"
    except OSError as error:
        return said(error)


def abstract(event):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
        tried.connect("\0" + event["name"])
        return "connected"


def handler(event, context):
    try:
        return globals()[event["do"]](event)
    except OSError as error:
        return said(error)
