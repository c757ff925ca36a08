"""A program whose answers come in pieces; the tests of streams say which by the path."""
import http.server
import json
import os
import threading
import urllib.parse

go = threading.Semaphore(0)
state = {"written": 0, "broken": 0, "start": os.urandom(8).hex()}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def begin(self, content_type="application/octet-stream", length=None):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length)) if length is not None else self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, text):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))

    def whole(self, value):
        text = json.dumps(value).encode()
        self.begin("application/json", len(text))
        self.wfile.write(text)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        number = int(url.query or 0)
        getattr(self, "get_" + url.path.strip("/"))(number)

    def do_HEAD(self):
        self.begin()

    def get_state(self, _):
        self.whole(state)

    def get_go(self, _):
        self.whole({})
        go.release()

    def get_events(self, count):          # each once somebody asked for it by /go
        self.begin("text/event-stream")
        for i in range(count):
            self.chunk(b"data: %d\n\n" % i)
            go.acquire()
        self.chunk(b"")

    def get_sized(self, size):            # the head and the body apart, and the body in two
        self.begin(length=size)
        self.wfile.write(b"a" * (size // 2))
        self.wfile.write(b"b" * (size - size // 2))

    def get_halves(self, size):
        self.begin(length=size)
        self.wfile.write(b"a" * (size // 2))
        go.acquire()
        self.wfile.write(b"b" * (size - size // 2))

    def get_chunks(self, megabytes):
        self.begin()
        for i in range(megabytes):
            self.chunk(bytes([i % 256]) * (1 << 20))
        self.chunk(b"")

    def get_forever(self, _):
        self.begin()
        try:
            while True:
                self.chunk(b"x" * 65536)
                state["written"] += 65536
        except OSError:
            state["broken"] += 1

    def get_cut(self, _):
        self.begin()
        self.chunk(b"some")
        go.acquire()
        self.close_connection = True

    def get_exit(self, _):
        self.begin()
        self.chunk(b"some")
        go.acquire()
        os._exit(3)

    def get_head(self, size):             # a head that is no head to pass on
        self.send_response(200)
        self.send_header("X-Large", "x" * size)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.chunk(b"some")
        go.acquire()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
server.daemon_threads = True
server.serve_forever()
