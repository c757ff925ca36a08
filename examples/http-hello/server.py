"""A program that serves HTTP, as Knative would run it: greets by the path, counts words of what it is sent."""
import http.server
import json
import os


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer({"greeting": f"Hello, {self.path.strip('/') or 'world'}!", "service": os.environ["K_SERVICE"]})

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(errors="replace")
        self.answer({"words": len(text.split())})

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
