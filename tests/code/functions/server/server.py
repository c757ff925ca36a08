#!/usr/bin/python3
"""A program that serves HTTP as Knative's runtime contract wants, for tests/code/http_functions.py: says what it was sent, and misbehaves on demand."""
import http.server
import json
import os
import signal
import sys
import threading
import time

STATE = {"now": 0, "most": 0}
LOCK = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def any(self):
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with LOCK:
            STATE["now"] += 1
            STATE["most"] = max(STATE["most"], STATE["now"])
        try:
            self.do(path, query, body)
        finally:
            with LOCK:
                STATE["now"] -= 1

    def do(self, path, query, body):
        if path == "/echo":
            return self.answer(200, body, {"Content-Type": self.headers.get("Content-Type", "application/octet-stream")})
        if path.startswith("/status/"):
            return self.answer(int(path.split("/")[2]), b"", {"X-Own": "yes", "Set-Cookie": "a=1", "Location": "/there"})
        if path == "/sleep":
            time.sleep(float(query))
            return self.answer(200, json.dumps(STATE).encode())
        if path == "/exit":
            os._exit(int(query))
        if path == "/large":
            return self.answer(200, b"x" * int(query))
        if path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b"one", b"two", b"three"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            return self.wfile.write(b"0\r\n\r\n")
        if path == "/nonsense":
            self.wfile.write(b"this is not HTTP\r\n\r\n")
            self.close_connection = True
            return None
        seen = {"method": self.command, "path": path, "query": query, "headers": list(self.headers.items()), "size": len(body),
                "pid": os.getpid(), "environment": {k: v for k, v in os.environ.items() if k.startswith(("K_", "PORT", "GREETING"))},
                "stdin": sys.stdin.read(1)}
        return self.answer(200, json.dumps(seen).encode(), {"Content-Type": "application/json"})

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_PROPFIND = any

    def log_message(self, *_):
        pass


def leave(*_):
    print("SIGTERM was seen", flush=True)
    os._exit(0)


signal.signal(signal.SIGTERM, leave)
if os.environ.get("EXIT_AT_START"):
    print("no, not today", flush=True)
    sys.exit(7)
time.sleep(float(os.environ.get("START_SECONDS", 0)))
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
