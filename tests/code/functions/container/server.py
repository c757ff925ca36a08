"""What the containers of tests/code/containers.py run: says what it sees, and does what it is told."""
import http.server
import json
import os
import pwd
import sys


def seen(path):
    try:
        if os.path.isdir(path):
            return sorted(os.listdir(path))
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        return type(error).__name__


def write(path):
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write("x")
        return "written"
    except OSError as error:
        return type(error).__name__


def name():
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def regain():
    """What a program may try to be somebody else again."""
    tries = {"setuid": lambda: os.setuid(0), "setgid": lambda: os.setgid(0), "setgroups": lambda: os.setgroups([0]),
             "setresuid": lambda: os.setresuid(0, 0, 0), "chown": lambda: os.chown("/tmp", 0, 0)}
    done = {}
    for call, attempt in tries.items():
        try:
            attempt()
            done[call] = "done"
        except OSError as error:
            done[call] = type(error).__name__
    return done


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        answer = {"arguments": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd(), "uid": os.getuid(), "gid": os.getgid(),
                  "groups": sorted(os.getgroups()), "name": name() if asked.get("regain") else "", "path": self.path,
                  "regain": regain() if asked.get("regain") else {},
                  "see": {path: seen(path) for path in asked.get("see", [])},
                  "write": {path: write(path) for path in asked.get("write", [])},
                  "modes": {path: oct(os.stat(path).st_mode & 0o7777) for path in asked.get("modes", [])}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST


http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
