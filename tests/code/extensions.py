#!/usr/bin/env python3
"""AWS Lambda's contract beside the handler, on a real node: extensions written for Lambda, which know nothing but its documented API.

    tests/code/extensions.py --mayfly build/mayfly [NAME …]

They are in Python, one in sh with curl, and one has the Telemetry API, too; they are the package's own, in its folder extensions/. One is
published, AWS's Lambda Web Adapter, which cargo compiles once below build/, and is a layer's.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import fork  # noqa: E402
import run  # noqa: E402
from run import check  # noqa: E402

WATCH = f"""#!{sys.executable if sys.executable.startswith("/usr/") else "/usr/bin/env python3"}
import json, os, sys, urllib.request
ROOT = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"

def ask(path, headers, body=None):
    request = urllib.request.Request(ROOT + path, None if body is None else json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as reply:
        return reply.headers, json.loads(reply.read())

headers, told = ask("register", {{"Lambda-Extension-Name": os.path.basename(sys.argv[0]), "Lambda-Extension-Accept-Feature": "accountId"}},
                    {{"events": ["INVOKE", "SHUTDOWN"]}})
print("WATCH registered", json.dumps(told), flush=True)
me = {{"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}}
while True:
    event = ask("event/next", me)[1]
    print("WATCH", event["eventType"], event.get("requestId", event.get("shutdownReason")), flush=True)
    if event["eventType"] == "SHUTDOWN":
        break
    if os.environ.get("FRAIL"):
        sys.exit(5)
"""

SHELL = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
curl -sS -D /tmp/head -o /tmp/told -X POST -H "Lambda-Extension-Name: ${0##*/}" -d '{"events": ["INVOKE", "SHUTDOWN"]}' "$api/register"
id=$(tr -d '\\r' </tmp/head | sed -n 's/^Lambda-Extension-Identifier: //p')
while true; do
  event=$(curl -sS -H "Lambda-Extension-Identifier: $id" "$api/event/next")
  echo "SHELL $event"
  case "$event" in *SHUTDOWN*) exit 0;; esac
done
"""

TELEMETRY = f"""#!{sys.executable if sys.executable.startswith("/usr/") else "/usr/bin/env python3"}
import http.server, json, os, socket, sys, threading, urllib.request
ROOT = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]

class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        for event in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
            if not str(event["record"]).startswith("GOT"):   # what it prints itself comes back
                print("GOT", event["type"], json.dumps(event["record"], sort_keys=True), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

def ask(method, path, body=None, headers={{}}):
    request = urllib.request.Request(ROOT + path, None if body is None else json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request) as reply:
        return reply.headers, json.loads(reply.read())

headers, _ = ask("POST", "/2020-01-01/extension/register", {{"events": ["INVOKE", "SHUTDOWN"]}},
                 {{"Lambda-Extension-Name": os.path.basename(sys.argv[0])}})
me = {{"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}}
listener = http.server.ThreadingHTTPServer(("sandbox.localdomain", 4323), Listener)
threading.Thread(target=listener.serve_forever, daemon=True).start()
print("listens at", socket.gethostbyname("sandbox.localdomain"), socket.gethostbyname("sandbox"), flush=True)
ask("PUT", "/2022-07-01/telemetry", {{"schemaVersion": "2022-12-13", "types": ["platform", "function", "extension"],
    "buffering": {{"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 100}},
    "destination": {{"protocol": "HTTP", "URI": "http://sandbox.localdomain:4323/"}}}}, me)
while ask("GET", "/2020-01-01/extension/event/next", None, me)[1]["eventType"] != "SHUTDOWN":
    pass
print("GOT it all", flush=True)
"""

HANDLER = "def handler(event, context):\n    return context.aws_request_id\n"


class World(run.World):
    def __init__(self, binary):
        self.folder = Path(run.tempfile.mkdtemp(prefix="mayfly-extensions-"))
        self.node = run.Node(binary)

    def deploy_with(self, name, extensions, *options, more="", handler=HANDLER):
        folder = self.folder / name
        (folder / "extensions").mkdir(parents=True)
        (folder / "app.py").write_text(handler)
        (folder / "function.yaml").write_text(f"runtime: {run.RUNTIME}\nhandler: app.handler\nscaling: {{keep_alive: 1s}}\n{more}")
        for path, text in extensions.items():
            (folder / "extensions" / path).write_text(text)
            (folder / "extensions" / path).chmod(0o755)
        self.node.command("deploy", str(folder), *options)

    def lines(self, name, word):
        return [line[line.index(word):] for line in self.node.command("logs", name).splitlines() if word in line]

    def gone(self, name):
        self.node.wait(lambda: [p for p in self.node.processes(name) if p["role"] != "template"], lambda all_: not all_, 30)


def follows(world, name, word, wanted):
    """Two calls, and the end of an instance that nobody needs, as the extension was told of them."""
    ids = [world.call({}, name) for _ in range(2)]
    world.gone(name)
    seen = world.node.wait(lambda: world.lines(name, word), lambda lines: any("SHUTDOWN" in line for line in lines), 20)
    check([line for line in seen if "registered" not in line] == [wanted(word, each) for each in ids] + [wanted(word, None)],
          "it is told of each call, and that the instance ends", seen)


def test_an_extension_in_python(world):
    world.deploy_with("watched", {"watch": WATCH, "__init__.py": "raise SystemExit('a module of the package is no extension')\n"})
    follows(world, "watched", "WATCH", lambda word, id_: f"{word} INVOKE {id_}" if id_ else f"{word} SHUTDOWN spindown")
    registered = world.lines("watched", "WATCH registered")
    check('"functionName": "watched"' in registered[0] and '"accountId": "000000000000"' in registered[0], "it knows whose it is", registered)
    follows_again = world.call({}, "watched")
    check(len(follows_again) == 36, "a later start has it, too", follows_again)


def test_an_extension_that_has_telemetry(world):
    world.deploy_with("told", {"telemetry": TELEMETRY},
                      handler="def handler(event, context):\n    print('called with', event)\n    return 6 // event\n")
    check(world.call(2, "told") == 3, "it answers")
    seen = world.node.wait(lambda: world.lines("told", "GOT"), lambda lines: any("platform.report" in line for line in lines), 20)
    check(any("platform.report" in line for line in seen), "a batch comes when its time is over", seen)
    check(world.send(0, "told").status == 500, "and fails")
    world.gone("told")
    seen = world.node.wait(lambda: world.lines("told", "GOT"), lambda lines: lines and lines[-1] == "GOT it all", 20)
    kinds = [line.split()[1] for line in seen]
    wanted = ["initStart", "telemetrySubscription", "extension", "initRuntimeDone", "initReport"] + ["start", "runtimeDone", "report"] * 2
    check(sorted(kind for kind in kinds if kind.startswith("platform.")) == sorted(f"platform.{each}" for each in wanted),
          "it has each of the platform's events once", kinds)
    printed = [line for line in seen if line.startswith("GOT function")]
    check(printed[:2] == ['GOT function "called with 2"', 'GOT function "called with 0"'] and "ZeroDivisionError" in printed[2],
          "what the handler and its runtime print", printed)
    check('GOT extension "listens at 127.0.0.1 127.0.0.1"' in seen, "what it printed itself; sandbox and sandbox.localdomain are loopback", seen)
    reports = [run.json.loads(line.split(" ", 2)[2]) for line in seen if "platform.report" in line]
    check([each["status"] for each in reports] == ["success", "error"] and reports[1]["errorType"] == "ZeroDivisionError", "how calls went", reports)
    check(reports[0]["metrics"]["maxMemoryUsedMB"] > 4 and reports[0]["metrics"]["initDurationMs"] > 1
          and "initDurationMs" not in reports[1]["metrics"], "what they took", reports)
    check(kinds[-1] == "it", "all of it came before the end", seen)


def test_an_extension_in_sh(world):
    if not shutil.which("curl"):
        print("   -- skipped: this machine has no curl")
        return
    world.deploy_with("shelled", {"shell": SHELL})
    first = world.call({}, "shelled")
    world.gone("shelled")
    seen = world.node.wait(lambda: world.lines("shelled", "SHELL"), lambda lines: any("SHUTDOWN" in line for line in lines), 20)
    check(f'"requestId":"{first}"' in seen[0] and '"invokedFunctionArn":"arn:aws:lambda:' in seen[0], "it gets Lambda's event", seen)
    check('"shutdownReason":"spindown"' in seen[-1], "and is told of the end", seen)


def test_one_that_ends_fails_the_call(world):
    world.deploy_with("frail", {"watch": WATCH}, more="environment: {FRAIL: 'yes'}\n")
    # The handler may answer before the extension is gone: then it is the next call that finds another instance.
    replies = [world.send({}, "frail") for _ in range(3)]
    check(all(reply.status in (200, 503) for reply in replies), "a call is answered or told", replies)
    check(all("Extension.Crash" in str(reply.body) or "ended" in str(reply.body) for reply in replies if reply.status == 503), "why", replies)
    world.deploy_with("broken", {"watch": "#!/bin/sh\nexit 3\n"})
    reply = world.send({}, "broken")
    check(reply.status == 503 and "Extension.Crash: extension watch: exit status 3" in str(reply.body), "one that never registers is named", reply)


LINGERS = WATCH.replace('    if event["eventType"] == "SHUTDOWN":\n        break\n', '    if event["eventType"] == "SHUTDOWN":\n        import time; time.sleep(60)\n')
ENDS = "import os\n\ndef handler(event, context):\n    return os._exit(3) if event else 1\n"


def test_a_host_that_does_not_end(world):
    """An instance whose program has ended ends by itself; where it does not, here because its host stands still, it is killed."""
    world.deploy_with("lingering", {"lingers": LINGERS}, more="fork: never\n", handler=ENDS)
    world.call({}, "lingering")
    (extension,) = [pid for pid, _ in fork.below(world.node.process.pid) if b"extensions/lingers" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    host = int(Path(f"/proc/{extension}/stat").read_text().rpartition(")")[2].split()[1])
    reply = world.send({"end": True}, "lingering")
    os.kill(host, signal.SIGSTOP)                   # within the 2 s that the extension has
    check(reply.status == 503 and "exit status 3" in str(reply.body), "the call is told", reply)
    world.gone("lingering")
    gone = world.node.wait(lambda: Path(f"/proc/{host}").exists(), lambda there: not there, 20)
    check(gone is False, "and the instance is gone, though its host can do nothing")


ADAPTER = "1.0.0-rc1"
SERVER = """
import http.server, json, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b"data: first\\n\\n", b"data: second\\n\\n"):
                self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(piece), piece))
                self.wfile.flush()
                time.sleep(1.5)
            return self.wfile.write(b"0\\r\\n\\r\\n")
        said = json.dumps({"method": self.command, "path": self.path, "body": body.hex(), "cookie": self.headers.get("Cookie"),
                           "context": json.loads(self.headers.get("x-amzn-lambda-context", "{}")).get("request_id")}).encode()
        self.send_response(201)
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_PUT = answer

http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""


def web_adapter():
    """The published program; kept, since its dependencies take minutes to compile."""
    place = run.ROOT / "build/lambda-web-adapter"
    if not (place / "bin/lambda-adapter").exists():
        done = subprocess.run(["cargo", "install", "--quiet", "--locked", "--root", str(place), f"lambda_web_adapter@{ADAPTER}"],
                              capture_output=True, text=True, timeout=900)
        if done.returncode != 0:
            raise run.Failed(f"cargo install lambda_web_adapter: {done.stderr[-800:]}")
    return place / "bin/lambda-adapter"


def test_the_lambda_web_adapter(world):
    """An extension that asks for the calls itself, and makes HTTP of what came to the function's URL, for a server that knows nothing of it."""
    if not shutil.which("cargo"):
        return print("   -- skipped: this machine has no cargo")
    layer, folder = world.folder / "adapter/extensions", world.folder / "web"
    layer.mkdir(parents=True)
    shutil.copy(web_adapter(), layer)
    folder.mkdir()
    (folder / "server.py").write_text(SERVER)
    (folder / "bootstrap").write_text("#!/bin/sh\nexec python3 server.py\n")
    (folder / "bootstrap").chmod(0o755)
    world.node.command("layer", "publish", "adapter", str(layer.parent))
    for name, more, config in (("web", "", {}), ("stream", "environment: {AWS_LWA_INVOKE_MODE: response_stream}", {"InvokeMode": "RESPONSE_STREAM"})):
        (folder / "function.yaml").write_text(f"runtime: provided.al2023\nlayers: [adapter]\n{more}\n")
        world.node.command("deploy", str(folder), "--name", name)
        made = world.node.send("POST", f"/2021-10-31/functions/{name}/url", json.dumps({"AuthType": "NONE", **config}))
        check(made.status == 201, f"the URL of {name}", made)
        path = made.json["FunctionUrl"].removeprefix(world.node.url)
        reply = world.node.send("PUT", path + "a/b?c=d", b"\x00\xff", {"Content-Type": "x/y", "Cookie": "k=v"})
        got = reply.json
        check(reply.status == 201 and reply.headers["Set-Cookie"] == "a=1" and got["method"] == "PUT" and got["path"] == "/a/b?c=d"
              and got["body"] == "00ff" and got["cookie"] == "k=v" and got["context"] == reply.headers["X-Request-Id"],
              "the server sees the request, and its answer comes back", (reply, got))
    connection = world.node.connect()
    connection.request("GET", path + "events")
    reply = connection.getresponse()
    first = reply.read1(100)
    check(first == b"data: first\n\n", "an event is there while the server has not written the next", first)
    check(reply.read() == b"data: second\n\n" and reply.headers["Content-Type"] == "text/event-stream", "which follows")
    connection.close()


if __name__ == "__main__":
    run.main(globals(), World)
