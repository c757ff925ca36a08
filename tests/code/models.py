#!/usr/bin/env python3
"""Code that calls models of its node: through a local address, its own models only, weights shared, the network still closed.

    tests/code/models.py --mayfly build/mayfly [NAME …]
"""
import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.append(str(HERE.parent / "cases"))
from run import ROOT, RUNTIME, World, check, main  # noqa: E402
from tiny_model import double_model  # noqa: E402

PAGE = ROOT / "docs/models-in-code.md"


class Models(World):
    def __init__(self, binary):
        super().__init__(binary)
        for name in ("double", "other"):
            (self.folder / f"{name}.onnx").write_bytes(double_model())
            self.node.command("deploy", str(self.folder / f"{name}.onnx"))
        self.node.command("deploy", str(HERE / "functions/models"), "--runtime", RUNTIME)

    def ask(self, path, **event):
        return self.call({"do": "ask", "path": path, **event}, "caller")


def test_a_model_is_called(world):
    world.node.command("scale", "double", "0", "--evict")
    seen = world.call({"do": "double", "values": [1, 2, 3, 4]}, "caller")
    check(seen == [2, 4, 6, 8], "code calls a model that is at zero", seen)
    check(world.node.processes("double"), "an instance of the model has been started", world.node.processes())
    (used,) = world.node.get("/api/usage?function=double")["sums"]
    check(used["invocations"] >= 1, "the call is metered as the model's", used)
    check(world.call({"do": "socket"}, "caller") == "double", "the unix socket itself answers, too")


def test_twenty_at_once(world):
    seen = world.call({"do": "at once", "calls": 20}, "caller")
    check(seen == [[2 * n, 2 * n] for n in range(20)], "twenty calls at once are each answered", seen)


def test_a_large_tensor(world):
    seen = world.call({"do": "binary", "rows": 131072}, "caller")
    check(seen == {"bytes": 1 << 20, "right": True}, "a tensor of 1 MiB goes there and back", seen)


def test_what_is_about_the_server_and_its_models(world):
    check(json.loads(world.ask("/v2")["answer"])["name"] == "mayfly", "the server says what it is")
    check(world.ask("/v2/health/ready")["status"] == 200, "and that it is ready")
    seen = world.ask("/v2/models/double")
    check(json.loads(seen["answer"])["inputs"][0]["name"] == "x", "a model says what it takes", seen)


def test_nothing_else_of_the_node(world):
    for path in ("/api/functions", "/api/node", "/metrics", "/", "/functions/double", "/2015-03-31/functions/double/invocations"):
        for body in ({}, {"body": "{}"}):
            seen = world.ask(path, **body)
            check(seen["status"] == 404, f"{path} is not there", seen)
    seen = world.ask("/v2/repository/index", body="{}")
    check(seen["status"] == 403 and "other" not in seen["answer"], "nor a list of functions", seen)
    check(world.ask("/v2/models/stats")["status"] == 403, "nor everybody's statistics")
    host, port = world.node.host.split(":")
    check(world.call({"do": "connect", "host": host, "port": int(port)}, "caller") != "connected", "nor the node's own address")
    check("OSError 101" in world.call({"do": "connect", "host": "192.0.2.1", "port": 80}, "caller"), "nor any network")


def test_only_the_models_that_it_names(world):
    for path in ("/v2/models/other", "/v2/models/other/infer", "/v2/models/other/versions/1/infer", "/v2/models/%6fther/infer"):
        seen = world.ask(path, **({"body": "{}"} if "infer" in path else {}))
        check(seen["status"] == 403 and "double" in seen["answer"], f"{path} is refused, and says what may be called", seen)
    seen = world.ask("/v2/models/other/infer", body="x" * 200_000)
    check(seen["status"] == 403, "also with a body that is read in pieces", seen)
    seen = world.call({"do": "double", "values": [1, 2], "model": "absent"}, "caller")
    check(seen["status"] == 404, "one that is not deployed is not found", seen)
    seen = world.call({"do": "double", "values": [1, 2], "model": "caller"}, "caller")
    check(seen["status"] == 403 and "code" in seen["error"], "code does not call code, itself least of all", seen)


def test_without_models_there_is_no_door(world):
    world.deploy("alone", "import os\n\ndef handler(event, context):\n"
                          "    return [os.environ.get('MAYFLY_MODEL_URL'), os.path.exists('/run/mayfly')]\n")
    check(world.call({}, "alone") == [None, False], "a function that names no models has no address and no socket")


def test_who_may_connect(world):
    doors = Path(world.node.data) / "doors"
    check(stat.S_IMODE(doors.stat().st_mode) == 0o700, "the folder of the sockets is the node's alone", oct(doors.stat().st_mode))
    check(len(list(doors.iterdir())) == 1, "one function that calls models runs, and has one socket", list(doors.iterdir()))
    world.node.command("scale", "caller", "0", "--evict")
    world.node.wait(lambda: list(doors.iterdir()), lambda left: not left, 10)
    check(True, "it goes with the last of its instances")
    check(world.call({"do": "double", "values": [1, 2]}, "caller") == [2, 4], "and comes back with the next")


def test_many_connections(world):
    seen = world.call({"do": "many", "count": 300}, "caller")
    check(seen == "HTTP/1.1 200 OK", "300 connections, more than are carried at a time, harm none of the first", seen)
    check(world.call({"do": "double", "values": [1, 2]}, "caller") == [2, 4], "and the next call is answered")


def test_an_error_of_the_model(world):
    seen = world.ask("/v2/models/double/infer", body="no JSON")
    check(seen["status"] == 400 and "error" in seen["answer"], "is answered with its reason", seen)


def test_a_new_version_with_other_models(world):
    folder = world.folder / "next"
    shutil.copytree(HERE / "functions/models", folder)
    manifest = folder / "function.yaml"
    manifest.write_text(manifest.read_text().replace("[double,", "[other,"))
    world.node.command("deploy", str(folder), "--runtime", RUNTIME, "--no-alias")
    check(world.call({"do": "double", "values": [1, 2], "model": "other"}, "caller:2") == [2, 4], "version 2 calls what it names")
    check(world.call({"do": "double", "values": [1, 2]}, "caller:2")["status"] == 403, "and no more what version 1 does")
    check(world.call({"do": "double", "values": [1, 2]}, "caller:1") == [2, 4], "which still may")
    world.node.command("delete", "caller", "--version", "2")


def page_block(language):
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)
    if not found:
        raise AssertionError(f"{PAGE} has no block in {language}")
    return found.group(1)


def deploy_page(world, name, files, runtime, handler=""):
    folder = world.folder / name
    folder.mkdir()
    for path, text in files.items():
        (folder / path).write_text(text)
    (folder / "function.yaml").write_text(f"name: {name}\nruntime: {runtime}\nmodels: [double]\n" + (f"handler: {handler}\n" if handler else ""))
    world.node.command("deploy", str(folder))


def test_the_page_in_python(world):
    deploy_page(world, "page-python", {"app.py": page_block("python")}, RUNTIME, "app.handler")
    check(world.call({"rows": [[1, 2], [3, 4]]}, "page-python") == {"doubled": [[2, 4], [6, 8]]}, "the page's Python calls the model")


def test_the_page_in_node(world):
    node = Path("/usr/bin/node")
    if not node.exists() or subprocess.run([node, "-e", "fetch"], capture_output=True).returncode:
        print("   -- skipped: this machine has no /usr/bin/node with fetch")
        return
    loop = """
const api = 'http://' + process.env.AWS_LAMBDA_RUNTIME_API + '/2018-06-01/runtime/invocation/';
(async () => { for (;;) {
  const call = await fetch(api + 'next');
  const answer = await exports.handler(await call.json());
  await fetch(api + call.headers.get('lambda-runtime-aws-request-id') + '/response', {method: 'POST', body: JSON.stringify(answer)});
} })();
"""
    deploy_page(world, "page-node", {"bootstrap": f"#!{node}\n{page_block('js')}{loop}"}, "provided")
    check(world.call({"rows": [[1, 2], [3, 4]]}, "page-node") == {"doubled": [[2, 4], [6, 8]]}, "the page's JavaScript calls the model")


def test_a_call_that_is_given_up(world):
    """The code waits for a model, and is ended at its own deadline: the model's call goes with it."""
    loops = ROOT / "build/test-models/loops.onnx"      # runs until it is stopped
    if not loops.exists():
        print("   -- skipped: no build/test-models (make test makes them)")
        return
    world.node.command("deploy", str(loops))
    folder = world.folder / "waits"
    folder.mkdir()
    (folder / "app.py").write_text("import os, urllib.request\n\ndef handler(event, context):\n"
                                   "    body = b'{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [1], \"data\": [1]}]}'\n"
                                   "    urllib.request.urlopen(os.environ['MAYFLY_MODEL_URL'] + '/v2/models/loops/infer', body)\n")
    (folder / "function.yaml").write_text(f"name: waits\nruntime: {RUNTIME}\nhandler: app.handler\nmodels: [loops]\nresources: {{timeout: 1s}}\n")
    world.node.command("deploy", str(folder))
    reply = world.send({}, "waits")
    check(reply.status == 504, "the call ends at its time", reply)
    log = world.node.wait(lambda: [json.loads(line) for line in world.node.command("logs", "loops", "--json").splitlines()],
                          lambda lines: any("outcome" in line for line in lines), 10)
    told = [line["outcome"] for line in log if "outcome" in line]
    check(told == ["cancelled"], "and the model's call is cancelled, long before its own 30 seconds", told)


if __name__ == "__main__":
    main(globals(), Models)
