#!/usr/bin/env python3
"""Apps of Azure Functions, unchanged, on a real node: Python's v2 and Node's v4 programming model with the published packages, a custom
handler, triggers by hand.

    tests/code/azure.py --mayfly build/mayfly [NAME …]
"""
import base64
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from run import HERE, ROOT, RUNTIME, Failed, Node, check, main

FUNCTIONS = HERE / "functions"
INSTALLS = {"python": ((sys.executable, "-m", "pip", "install", "-q", "-t", ".", "-r", "requirements.txt"), "requirements.txt"),
            "node": (("npm", "install", "--no-audit", "--no-fund", "--silent"), "package.json")}


class World:
    def __init__(self, binary):
        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-azure-"))
        self.node = Node(binary)

    def app(self, source, language):
        """A copy of the app with its dependencies, which come from their registry once; None where this machine can't."""
        command, wanted = INSTALLS[language]
        if not shutil.which(command[0]):
            print(f"   -- skipped: this machine has no {command[0]}")
            return None
        packages, folder = self.folder / f"packages-{language}", self.folder / source.name.replace("azure", "checks" if source.parent == FUNCTIONS else "app")
        if not packages.exists():
            packages.mkdir()
            shutil.copy(source / wanted, packages)
            done = subprocess.run(command, cwd=packages, capture_output=True, text=True, timeout=500)
            if done.returncode != 0:
                raise Failed(f"{' '.join(command)}: {done.stderr[-600:]}")
        if not folder.exists():
            shutil.copytree(packages, folder, symlinks=True)
            shutil.copytree(source, folder, dirs_exist_ok=True)
        return folder

    def checks(self, language, *options):
        folder = self.app(FUNCTIONS / f"azure-{language}", language)
        if folder:
            runtime = f"azure-{RUNTIME}" if language == "python" else "azure-node"
            self.node.command("deploy", str(folder), "--runtime", runtime, *options)
        return folder

    def send(self, name, method, path, body=None, headers=None):
        return self.node.send(method, f"/functions/{name}{path}", body, headers or {})

    def run(self, name, function, told=None):
        """By hand, as Azure's own administrators do."""
        return self.send(name, "POST", f"/admin/functions/{function}", json.dumps(told) if told is not None else b"",
                         {"Content-Type": "application/json"})

    def at_once(self, name, paths):
        replies = [None] * len(paths)

        def one(i, path):
            connection = self.node.connect()
            connection.request("GET", f"/functions/{name}{path}")
            replies[i] = connection.getresponse().status

        threads = [threading.Thread(target=one, args=each) for each in enumerate(paths)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return replies, time.monotonic() - started

    def log(self, name):
        return self.node.command("logs", name)

    def close(self):
        self.node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def check_example(world, language):
    folder = world.app(ROOT / f"examples/azure-{language}", language)
    if not folder:
        return
    name = folder.name  # app-python, app-node
    world.node.command("deploy", str(folder))
    check("azure" in world.node.command("describe", name), "the folder of an app is deployed as it is, without a manifest")
    reply = world.send(name, "POST", "/api/orders/7?x=1&y=a+b", b'[{"price": 2, "count": 3}, {"price": 1}]')
    check(reply.status == 201 and reply.headers["X-Order"] == "7", "its HTTP function answers", (reply, reply.headers.items()))
    check(reply.json == {"order": "7", "total": 7, "query": {"x": "1", "y": "a b"}}, "route parameters, query and body", reply)
    check(world.send(name, "GET", "/api/orders/8").json["total"] == 0, "a GET without a body")
    check("order 7: 7" in world.log(name), "what it logs is in the log")
    check(world.send(name, "DELETE", "/api/orders/7").status == 404, "a method that the binding does not name")
    reply = world.send(name, "GET", "/api/orders/seven")
    check(reply.status == 404 and "/api/orders/{id:int}" in reply.json["error"]["message"], "a parameter that is no int, and what there is", reply)
    reply = world.run(name, "paid", {"input": "order 7"})
    quoted = '"order 7"' if language == "node" else "order 7"
    check(reply.status == 202 and reply.json == {"Outputs": {next(iter(reply.json["Outputs"])): f"paid: {quoted}, try 1"}, "ReturnValue": None},
          "a queue's function by hand, answered with its outputs", reply)
    check(world.run(name, "nightly").status == 202 and "nightly, past due: " in world.log(name), "a timer's function by hand")
    listed = {each["name"]: each for each in world.node.get(f"/functions/{name}/admin/functions")}
    check(set(listed) == {"order", "paid", "nightly"} and listed["order"]["invoke_url_template"] == "/api/orders/{id:int}", "its functions are listed", listed)
    levels = [binding.get("authLevel", "").lower() for binding in listed["order"]["config"]["bindings"]]
    check("anonymous" in levels, "with their bindings and authLevel", levels)


def test_the_python_example_as_it_is(world):
    check_example(world, "python")


def test_the_node_example_as_it_is(world):
    check_example(world, "node")


def echoed(world, name, path):
    """Bodies of several sizes go and come back; the last answer."""
    for size in (0, 1, 70_000, 1 << 20):
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        reply = world.send(name, "POST", path, body, {"Content-Type": "image/x", "X-Request-Id": "call-7"})
        check(reply.status == 200 and reply.body == body and reply.headers["Content-Type"] == "image/x", f"{size} bytes go and come back", reply)
    return reply


def test_python_requests_and_answers(world):
    if not world.checks("python"):
        return
    name = "checks-python"
    reply = echoed(world, name, "/v1/echo/a%20b")
    check(reply.headers["X-Name"] == "a b" and reply.headers["X-Id"] == "call-7" and reply.headers["X-Method"] == "POST", "the call's own words")
    check(reply.headers.get_all("Set-Cookie") == ["a=1", "b=2"], "two cookies are two lines", reply.headers.items())
    check(world.send(name, "GET", "/v1/echo").headers["X-Name"] == "nobody", "a parameter's default")
    check(world.send(name, "HEAD", "/v1/echo").body == b"", "HEAD has no body")
    check(world.send(name, "GET", "/v1/echo", headers={"X-Long": "x" * 15_900}).status == 200, "a long head")
    forged = world.send(name, "GET", "/v1/echo", headers={"Mayfly-Azure-Function": "ticks", "Mayfly-Azure-By-Hand": "1"})
    check(forged.status == 200 and forged.headers["X-Name"] == "nobody", "a caller can't name another function", forged)
    for status in (200, 204, 304, 404, 503):
        check(world.send(name, "GET", f"/v1/status/{status}").status == status, f"a status of {status}")
    for path in ("/v1/sleep", "/v1/block"):
        replies, took = world.at_once(name, [path] * 6)
        check(replies == [200] * 6 and took < 1.5, f"six of {path} run together", (replies, took))


def test_python_errors(world):
    if not (folder := world.checks("python")):
        return
    name = "checks-python"
    reply = world.send(name, "GET", "/v1/fail")
    check(reply.status == 500 and reply.body == b"", "what a function raises is 500 without a word, as there", reply)
    check("ValueError: no such thing" in world.log(name), "and in the log with its trace")
    check(world.send(name, "GET", "/v1/fail/none").status == 204, "None is 204")
    check(world.send(name, "GET", "/v1/fail/type").status == 500, "no answer is an error, too")
    reply = world.send(name, "GET", "/v1/fail/exit")
    check(reply.status == 503 and "status 9" in reply.json["error"]["message"], "a process that ends is told with its status", reply)
    reply = world.run(name, "ticks", {"input": {"IsPastDue": True}})
    check(reply.status == 500 and reply.json == {"errorType": "RuntimeError", "errorMessage": "too late"}, "by hand the error is told", reply)
    check(world.run(name, "nobody").status == 404 and world.run(name, "Echo").status == 400, "who is not there, who has a route")
    check(world.send(name, "POST", "/admin/functions/ticks", b"[").status == 400, "no JSON")
    source = folder / "function_app.py"
    good = source.read_text()
    for text, word in (("def broken(:\n", "SyntaxError"), ("import nothing_of_this_name\n", "nothing_of_this_name"), ("x = 1\n", "FunctionApp"),
                       ("import azure.functions as func\napp = func.FunctionApp()\n", "no functions"), ("import sys\nsys.exit(3)\n", "SystemExit"),
                       (good + "\n@app.route('x')\ndef wrong(request, more):\n    pass\n", "parameter")):
        source.write_text(text)
        world.checks("python", "--name", "broken")
        reply = world.send("broken", "GET", "/v1/echo")
        check(reply.status == 503 and word in reply.json["error"]["message"], f"what can't be loaded is told: {word}", reply)
    source.write_text(good)


def test_python_web_frameworks(world):
    """Asgi- and WsgiFunctionApp, with the smallest apps of either; and packages where Azure's own build puts them."""
    packages = world.app(ROOT / "examples/azure-python", "python")
    if not packages:
        return
    apps = {"asgi": """
import azure.functions as func
started = []
async def web(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            started.append(message["type"])
            await send({"type": message["type"] + ".complete"})
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 201, "headers": [(b"x-path", scope["path"].encode())]})
    await send({"type": "http.response.body", "body": b"asgi " + body})
app = func.AsgiFunctionApp(app=web, http_auth_level=func.AuthLevel.ANONYMOUS)
""", "wsgi": """
import azure.functions as func
def web(environ, start_response):
    start_response("201 Created", [("x-path", environ["PATH_INFO"])])
    return [b"wsgi ", environ["wsgi.input"].read()]
app = func.WsgiFunctionApp(app=web, http_auth_level=func.AuthLevel.ANONYMOUS)
"""}
    for name, source in apps.items():
        folder = world.folder / name
        shutil.copytree(packages.parent / "packages-python", folder / ".python_packages/lib/site-packages")
        (folder / "host.json").write_text('{"extensions": {"http": {"routePrefix": ""}}}')
        (folder / "function_app.py").write_text(source)
        world.node.command("deploy", str(folder))
        reply = world.send(name, "POST", "/a/b?c=d", b"body")
        check(reply.status == 201 and reply.body == f"{name} body".encode() and reply.headers["x-path"] == "/a/b", f"an app of {name}", reply)


def check_bindings(world, name, prefix):
    reply = world.send(name, "GET", prefix + "/queued")
    check(reply.status == 501 and "'message' of type queue" in reply.json["error"]["message"], "an output that nothing takes is refused by name", reply)
    reply = world.send(name, "GET", prefix + "/reads")
    check(reply.status == 501 and "'blob' of type blob" in reply.json["error"]["message"], "and an input that nothing gives", reply)
    reply = world.run(name, "copied", {"input": base64.b64encode(b"\x00\xff").decode(), "encoding": "base64", "metadata": {"BlobTrigger": "in/a"}})
    return reply


def logged_outputs(world, folder, language, prefix):
    (folder / "function.yaml").write_text("name: logs-outputs\nenvironment: {MAYFLY_AZURE_OUTPUTS: log}\n")
    world.checks(language)
    (folder / "function.yaml").unlink()
    reply = world.send("logs-outputs", "GET", prefix + "/queued")
    check(reply.status == 200 and reply.body == b"queued", "where outputs may go to the log, the function runs", reply)
    world.node.wait(lambda: world.log("logs-outputs"), lambda log: "output message (queue): to the queue" in log, 10)
    check(True, "and its output is there")


def test_python_bindings(world):
    if not (folder := world.checks("python")):
        return
    reply = check_bindings(world, "checks-python", "/v1")
    check(reply.status == 202 and base64.b64decode(reply.json["ReturnValue"]) == b"in/a:\x00\xff", "a blob's function by hand, of bytes", reply)
    event = {"id": "7", "topic": "t", "subject": "s", "eventType": "e", "eventTime": "2026-01-01T00:00:00Z", "dataVersion": "1", "data": {"x": 1}}
    reply = world.run("checks-python", "told", {"input": event})
    check(reply.json["Outputs"] == {"messages": ["7", '{"x": 1}']}, "an event's function by hand", reply)
    logged_outputs(world, folder, "python", "/v1")


def test_node_requests_and_answers(world):
    if not world.checks("node"):
        return
    name = "checks-node"
    reply = echoed(world, name, "/echo/a%20b")
    check(reply.headers["x-name"] == "a b" and reply.headers["x-id"] == "call-7" and reply.headers["x-url"] == "/echo/a%20b", "the call's own words")
    check(world.send(name, "GET", "/json", headers={"X-Long": "x" * 15_900}).status == 200, "a long head")
    check(reply.headers.get_all("Set-Cookie") == ["a=1; Path=/; HttpOnly", "b=2%203; SameSite=Lax"], "its cookies", reply.headers.items())
    reply = world.send(name, "GET", "/json")
    check(reply.json == {"ok": True} and reply.headers["x-hook"] == "both", "hooks before and after", reply)
    replies, took = world.at_once(name, ["/sleep"] * 6)
    check(replies == [200] * 6 and took < 1.5, "six calls run together", (replies, took))


def test_node_streams(world):
    if not (folder := world.checks("node")):
        return
    (folder / "src/functions/setup.js").write_text("import { app } from '@azure/functions';\napp.setup({ enableHttpStream: true });\n")
    world.checks("node", "--name", "streams")
    (folder / "src/functions/setup.js").unlink()
    reply = world.send("streams", "POST", "/echo/x", b"abc" * 100_000, {"Content-Type": "image/x"})
    check(reply.status == 200 and reply.body == b"abc" * 100_000 and reply.headers["x-name"] == "x", "with enableHttpStream, too", reply)
    check(world.send("streams", "GET", "/fail/x").status == 500 and world.send("streams", "GET", "/json").json == {"ok": True}, "and its errors")


def test_node_errors(world):
    if not (folder := world.checks("node")):
        return
    name = "checks-node"
    reply = world.send(name, "GET", "/fail/x")
    check(reply.status == 500 and reply.body == b"", "what a function throws is 500 without a word, as there", reply)
    check("RangeError: no such thing" in world.log(name), "and in the log with its trace")
    check(world.send(name, "GET", "/fail/none").status == 204, "undefined is 204")
    reply = world.send(name, "GET", "/fail/exit")
    check(reply.status == 503 and "status 9" in reply.json["error"]["message"], "a process that ends is told with its status", reply)
    reply = world.run(name, "ticks", {"input": {"IsPastDue": True}})
    check(reply.status == 500 and reply.json == {"errorType": "Error", "errorMessage": "too late"}, "by hand the error is told", reply)
    source = folder / "src/functions/wrong.js"
    for text, word in (("function (", "SyntaxError"), ("import 'nothing-of-this-name';", "nothing-of-this-name"),
                       ("import { app } from '@azure/functions'; app.get('json', () => ({}));", "already been registered")):
        source.write_text(text)
        world.checks("node", "--name", "broken")
        reply = world.send("broken", "GET", "/json")
        check(reply.status == 503 and word in reply.json["error"]["message"] and "wrong.js" in reply.json["error"]["message"],
              f"what can't be loaded is told: {word}", reply)
    source.unlink()


def test_node_bindings(world):
    if not (folder := world.checks("node")):
        return
    reply = check_bindings(world, "checks-node", "")
    check(reply.status == 202 and reply.json["ReturnValue"] == "in/a:00ff", "a blob's function by hand, of bytes", reply)
    logged_outputs(world, folder, "node", "")


def test_a_custom_handler_by_hand(world):
    folder = world.folder / "custom"
    for name, bindings in (("paid", [{"type": "queueTrigger", "direction": "in", "name": "message"},
                                     {"type": "queue", "direction": "out", "name": "receipt"}]),
                           ("nightly", [{"type": "timerTrigger", "direction": "in", "name": "timer"}])):
        (folder / name).mkdir(parents=True)
        (folder / name / "function.json").write_text(json.dumps({"bindings": bindings}))
    (folder / "host.json").write_text(json.dumps({"customHandler": {"description": {
        "defaultExecutablePath": "python3", "arguments": ["handler.py"]}}}))
    (folder / "handler.py").write_text("""
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps({"Outputs": {"receipt": call}, "Logs": ["ran " + self.path], "ReturnValue": None}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["FUNCTIONS_CUSTOMHANDLER_PORT"])), Handler).serve_forever()
""")
    world.node.command("deploy", shutil.make_archive(str(folder), "zip", folder))
    check(True, "a zip of an app is one, too")
    reply = world.run("custom", "paid", {"input": "order 7", "metadata": {"DequeueCount": 2}})
    receipt = reply.json["Outputs"]["receipt"]
    check(reply.status == 202 and receipt["Data"] == {"message": '"order 7"'}, "a queue's function, whose text is JSON's as Azure's host gives it", reply)
    check(receipt["Metadata"] == {"DequeueCount": 2, "sys": {"MethodName": "paid"}}, "with the metadata of its trigger", receipt)
    reply = world.run("custom", "nightly")
    check(reply.json["Outputs"]["receipt"]["Data"]["timer"]["IsPastDue"] is False, "a timer's function", reply)
    check("ran /nightly" in world.log("custom"), "their logs")
    reply = world.send("custom", "GET", "/api/paid")
    check(reply.status == 404 and "none with an HTTP trigger" in reply.json["error"]["message"], "no route leads there", reply)


def test_what_is_no_app(world):
    folder = world.folder / "nothing"
    folder.mkdir()
    (folder / "host.json").write_text('{"version": "2.0"}')
    world.node.command("deploy", str(folder))
    reply = world.send("nothing", "GET", "/api/x")
    check(reply.status == 503 and "function_app.py" in reply.json["error"]["message"], "neither a handler nor functions", reply)


if __name__ == "__main__":
    main(globals(), World)
