#!/usr/bin/env python3
"""Layers by AWS's own SDK (PyPI boto3) against a node of ours, and code and layers from a store of objects (PyPI moto's server).

    build/venv/bin/python tests/clients/test_layers.py --mayfly build/mayfly

Starts a node and a store, and runs every test_… function below. moto is installed, pinned, into build/moto, once. A store that checks
signatures is a few lines here, on botocore's own signer.
"""
import base64
import hashlib
import http.server
import io
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from pathlib import Path

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
from node import Node  # noqa: E402
from runner import main  # noqa: E402
from test_boto3 import refusal  # noqa: E402

MOTO = "moto[s3,server]==5.2.5"
RUNTIME = f"python3.{sys.version_info.minor}"
ROLE = "arn:aws:iam::000000000000:role/x"
LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:"
KEY, SECRET = "AKEXAMPLE", "0123456789abcdef0123456789abcdef01234567"
# Says what its layers hold: a module's text, a file below /opt, and what can be written there.
HANDLER = """
import os
def handler(event, context):
    said = {name: os.environ.get(name) for name in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")}
    for module in event.get("modules", []):
        said[module] = __import__(module).TEXT
    for path in event.get("files", []):
        said[path] = open(path).read() if os.path.exists(path) else None
    try:
        open("/opt/new", "w")
        said["write"] = "written"
    except OSError as error:
        said["write"] = error.strerror
    said["opt"] = sorted(os.listdir("/opt")) if os.path.isdir("/opt") else None
    return said
"""


def packed(files, links=()):
    """A zip: of these texts, which are programs where they begin with #!, and links."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in files.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (0o755 if text.startswith("#!") else 0o644) << 16
            archive.writestr(entry, text)
        for path, to in links:
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o120777 << 16
            archive.writestr(entry, to)
    return out.getvalue()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Checking(http.server.BaseHTTPRequestHandler):
    """Before moto, which takes any signature: refuses what botocore would not have signed so with these keys."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802  (its base's name)
        store = self.server.store
        request = AWSRequest("GET", f"http://{self.headers['Host']}{self.path}", headers={"x-amz-date": self.headers["x-amz-date"]})
        signer = S3SigV4Auth(Credentials(KEY, SECRET), "s3", "eu-central-1")
        request.context.update({"timestamp": self.headers["x-amz-date"], "payload_signing_enabled": True})
        request.headers["X-Amz-Content-SHA256"] = self.headers["x-amz-content-sha256"]
        canonical = signer.canonical_request(request)
        signature = signer.signature(signer.string_to_sign(request, canonical), request)
        store.asked.append(self.path)
        if f"Signature={signature}" not in self.headers["Authorization"]:
            return self.say(403, b"<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>")
        if "slow" in self.path:
            time.sleep(8)
        if "elsewhere" in self.path:
            self.send_response(302)
            self.send_header("Location", store.url + "/code/zip")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        try:
            # moto doesn't show an object to a stranger, and takes any signature for somebody's.
            asked = urllib.request.Request(store.url + self.path, headers={"Authorization": self.headers["Authorization"]})
            with urllib.request.urlopen(asked) as reply:
                self.say(200, reply.read())
        except urllib.error.HTTPError as error:
            self.say(error.code, error.read())

    def say(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:  # what is too large is not waited for
            pass

    def log_message(self, *words):
        pass


class Store:
    """moto's server, with a bucket, and a door before it that checks signatures."""

    def __init__(self):
        folder = ROOT / "build/moto"
        if not (folder / "stamp").is_file() or (folder / "stamp").read_text() != MOTO:
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            subprocess.run([str(folder / "bin/pip"), "install", "-q", "--disable-pip-version-check", MOTO], check=True)
            (folder / "stamp").write_text(MOTO)
        port = free_port()
        self.url, self.asked = f"http://127.0.0.1:{port}", []
        self.process = subprocess.Popen([str(folder / "bin/moto_server"), "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        end = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(self.url + "/moto-api/data.json").read()
                break
            except OSError:
                assert time.monotonic() < end and self.process.poll() is None, "moto's server did not start"
                time.sleep(0.1)
        self.s3 = boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET,
                               config=Config(s3={"addressing_style": "path"}))
        self.s3.create_bucket(Bucket="code")
        self.s3.create_bucket(Bucket="secret")
        self.door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Checking)
        self.door.store = self
        threading.Thread(target=self.door.serve_forever, daemon=True).start()

    def close(self):
        self.door.shutdown()
        self.process.kill()
        self.process.wait()


class World:
    def __init__(self, binary):
        self.binary, self.folder = binary, Path(tempfile.mkdtemp(prefix="mayfly-layers-"))
        self.store = Store()
        (self.folder / "node.yaml").write_text(
            f"objects: {{endpoint: 'http://127.0.0.1:{self.store.door.server_port}', region: eu-central-1, key: '{KEY}:{SECRET}', "
            "buckets: code, size_max: 1MiB}\n")
        self.start()

    def start(self):
        self.node = Node(self.binary, "--config", str(self.folder / "node.yaml"), data=str(self.folder / "data"))
        self.client = boto3.client("lambda", endpoint_url=self.node.url, region_name="us-east-1", aws_access_key_id="any",
                                   aws_secret_access_key="any", config=Config(retries={"total_max_attempts": 1}, read_timeout=120))

    def restart(self):
        self.node.kill()
        self.start()

    def publish(self, name, files, **more):
        return self.client.publish_layer_version(LayerName=name, Content={"ZipFile": packed(files)}, **more)

    def create(self, name, layers, files=None, **more):
        words = {"Runtime": RUNTIME, "Handler": "app.handler", "Role": ROLE, "Timeout": 30, **more}
        return self.client.create_function(FunctionName=name, Layers=layers, Code={"ZipFile": packed(files or {"app.py": HANDLER})}, **words)

    def call(self, name, event=None, **more):
        answer = self.client.invoke(FunctionName=name, Payload=json.dumps(event or {}), **more)
        payload = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, payload
        return payload

    def close(self):
        self.node.kill()
        self.store.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def test_a_layer_is_published_listed_and_deleted(world):
    content = packed({"python/tool.py": "TEXT = 'one'\n"})
    first = world.client.publish_layer_version(LayerName="listed", Description="the first", LicenseInfo="MIT", Content={"ZipFile": content},
                                               CompatibleRuntimes=["python3.11", "python3.12"], CompatibleArchitectures=["x86_64"])
    assert first["Version"] == 1 and first["LayerVersionArn"] == LAYER + "listed:1" and first["LayerArn"] == LAYER + "listed", first
    assert first["Content"]["CodeSize"] == len(content), first
    assert first["Content"]["CodeSha256"] == base64.b64encode(hashlib.sha256(content).digest()).decode(), first
    assert first["LicenseInfo"] == "MIT" and first["CompatibleRuntimes"] == ["python3.11", "python3.12"], first
    assert world.publish("listed", {"a": "2"}, CompatibleRuntimes=["nodejs20.x"])["Version"] == 2
    got = world.client.get_layer_version(LayerName="listed", VersionNumber=1)
    assert {k: v for k, v in got.items() if k != "ResponseMetadata"} == {k: v for k, v in first.items() if k != "ResponseMetadata"}, got
    assert world.client.get_layer_version_by_arn(Arn=LAYER + "listed:1")["Description"] == "the first"
    assert world.client.get_layer_version(LayerName=LAYER + "listed", VersionNumber=1)["Version"] == 1
    versions = world.client.list_layer_versions(LayerName="listed")["LayerVersions"]
    assert [v["Version"] for v in versions] == [2, 1], versions
    of_node = world.client.list_layer_versions(LayerName="listed", CompatibleRuntime="python3.12")["LayerVersions"]
    assert [v["Version"] for v in of_node] == [1], of_node
    for name in ("page-a", "page-b", "page-c"):
        world.publish(name, {"a": name})
    pages = [p["Layers"] for p in world.client.get_paginator("list_layers").paginate(PaginationConfig={"PageSize": 2})]
    names = [layer["LayerName"] for page in pages for layer in page]
    assert max(len(page) for page in pages) <= 2 and names == sorted(names) and {"listed", "page-a", "page-c"} <= set(names), pages
    latest = {layer["LayerName"]: layer["LatestMatchingVersion"]["Version"] for page in pages for layer in page}
    assert latest["listed"] == 2, latest
    matching = world.client.list_layers(CompatibleRuntime="python3.11", CompatibleArchitecture="x86_64")["Layers"]
    assert [(layer["LayerName"], layer["LatestMatchingVersion"]["Version"]) for layer in matching] == [("listed", 1)], matching
    world.client.delete_layer_version(LayerName="listed", VersionNumber=2)
    world.client.delete_layer_version(LayerName="listed", VersionNumber=2)  # as there: what is gone can go again
    assert refusal(lambda: world.client.get_layer_version(LayerName="listed", VersionNumber=2), "ResourceNotFoundException", 404)
    assert world.publish("listed", {"a": "3"})["Version"] == 3, "a number comes again"
    world.restart()
    assert [v["Version"] for v in world.client.list_layer_versions(LayerName="listed")["LayerVersions"]] == [3, 1]


def test_layers_are_merged_below_opt(world):
    one = world.publish("merge-one", {"python/tool.py": "TEXT = 'one'\n", "python/only.py": "TEXT = 'only one'\n", "data/a": "one", "lib/x": ""})
    two = world.publish("merge-two", {f"python/lib/{RUNTIME}/site-packages/deep.py": "TEXT = 'deep'\n", "python/tool.py": "TEXT = 'two'\n",
                                      "data/b": "two", ".wh.data": "no whiteout"})
    arns = [one["LayerVersionArn"], two["LayerVersionArn"]]
    made = world.create("merged", arns)
    assert made["Layers"] == [{"Arn": arns[0], "CodeSize": one["Content"]["CodeSize"]},
                              {"Arn": arns[1], "CodeSize": two["Content"]["CodeSize"]}], made["Layers"]
    event = {"modules": ["tool", "only", "deep"], "files": ["/opt/data/a", "/opt/data/b"]}
    said = world.call("merged", event)
    assert (said["tool"], said["only"], said["deep"]) == ("two", "only one", "deep"), said
    assert (said["/opt/data/a"], said["/opt/data/b"]) == ("one", "two"), said
    assert said["write"] == "Read-only file system" and said["opt"] == [".wh.data", "data", "lib", "python"], said
    assert said["PATH"].endswith("/opt/bin") and said["LD_LIBRARY_PATH"] == "/opt/lib", said
    # The other way round the other file counts; the version that was stays as it was.
    number = world.client.publish_version(FunctionName="merged")["Version"]
    changed = world.client.update_function_configuration(FunctionName="merged", Layers=arns[::-1])
    assert [layer["Arn"] for layer in changed["Layers"]] == arns[::-1], changed
    assert world.call("merged", event, Qualifier="$LATEST")["tool"] == "one"
    assert world.call("merged", event, Qualifier=number)["tool"] == "two"
    assert [layer["Arn"] for layer in world.client.get_function(FunctionName="merged", Qualifier=number)["Configuration"]["Layers"]] == arns
    # What says nothing of layers leaves them; an empty list takes them away.
    assert len(world.client.update_function_configuration(FunctionName="merged", Timeout=20)["Layers"]) == 2
    assert len(world.client.update_function_code(FunctionName="merged", ZipFile=packed({"app.py": HANDLER + "#\n"}))["Layers"]) == 2
    assert world.client.update_function_configuration(FunctionName="merged", Layers=[])["Layers"] == []
    assert world.call("merged", Qualifier="$LATEST")["opt"] is None


def test_a_deleted_layer_stays_with_its_functions(world):
    layer = world.publish("goes", {"python/tool.py": "TEXT = 'still here'\n"})
    world.create("keeps", [layer["LayerVersionArn"]])
    world.client.delete_layer_version(LayerName="goes", VersionNumber=1)
    assert world.call("keeps", {"modules": ["tool"]})["tool"] == "still here"
    assert "does not exist" in refusal(lambda: world.create("comes-late", [layer["LayerVersionArn"]]), "InvalidParameterValueException", 400)
    world.client.update_function_configuration(FunctionName="keeps", Timeout=9)  # its next version has it, too
    shutil.rmtree(world.folder / "data/packages")                               # a cache
    world.restart()
    ask = {"method": "POST", "path": "/functions/keeps", "body": json.dumps({"modules": ["tool"]})}
    told = world.node.wait(lambda: world.node.send(**ask), lambda reply: reply.status == 200, 60)  # it is being unpacked again
    assert told.json["tool"] == "still here", told


def test_what_is_refused(world):
    arns = [world.publish(f"many-{i}", {"a": str(i)})["LayerVersionArn"] for i in range(6)]
    bad = "InvalidParameterValueException"
    assert refusal(lambda: world.create("six", arns), bad, 400) == "Cannot reference more than 5 layers."
    world.publish("many-0", {"a": "again"})
    assert "same layer" in refusal(lambda: world.create("twice", [arns[0], LAYER + "many-0:2"]), bad, 400)
    missing = LAYER + "absent:1"
    assert refusal(lambda: world.create("missing", [missing]), bad, 400) == f"Layer version {missing} does not exist."
    for wrong in ("many-0:1", "arn:aws:s3:::bucket", LAYER + "many-0", LAYER + "many-0:0", LAYER + "many-0:-1", LAYER + "../x:1"):
        assert "layers" in refusal(lambda arn=wrong: world.create("wrong", [arn]), bad, 400), wrong
    assert world.create("five", arns[1:])["Layers"][4]["Arn"] == arns[5]
    world.client.delete_function(FunctionName="five")
    assert "name" in refusal(lambda: world.publish("a.b", {"a": ""}), bad, 400)
    assert "unzip" in refusal(lambda: world.client.publish_layer_version(LayerName="bad", Content={"ZipFile": b"no zip"}), bad, 400)
    assert refusal(lambda: world.client.publish_layer_version(LayerName="bad", Content={"ZipFile": b"PK\x03\x04 broken"}), bad, 400)
    for link in (("python/out", "/etc/passwd"), ("out", "../../../etc")):
        hostile = packed({"a": "b"}, links=[link])
        assert refusal(lambda zipped=hostile: world.client.publish_layer_version(LayerName="bad", Content={"ZipFile": zipped}), bad, 400)
    climbing = packed({"../../climbs": "x"})
    assert refusal(lambda: world.client.publish_layer_version(LayerName="bad", Content={"ZipFile": climbing}), bad, 400)
    assert world.client.list_layer_versions(LayerName="bad")["LayerVersions"] == []


def test_permissions_are_kept(world):
    world.publish("shared", {"a": "b"})
    of = {"LayerName": "shared", "VersionNumber": 1}
    assert refusal(lambda: world.client.get_layer_version_policy(**of), "ResourceNotFoundException", 404)
    added = world.client.add_layer_version_permission(**of, StatementId="all", Action="lambda:GetLayerVersion", Principal="*",
                                                      OrganizationId="o-0123456789")
    assert json.loads(added["Statement"])["Resource"] == LAYER + "shared:1", added
    world.client.add_layer_version_permission(**of, StatementId="one", Action="lambda:GetLayerVersion", Principal="123456789012")
    assert refusal(lambda: world.client.add_layer_version_permission(**of, StatementId="one", Action="lambda:GetLayerVersion", Principal="*"),
                   "ResourceConflictException", 409)
    assert refusal(lambda: world.client.add_layer_version_permission(**of, StatementId="x", Action="lambda:Invoke", Principal="*"),
                   "InvalidParameterValueException", 400)
    world.restart()
    told = world.client.get_layer_version_policy(**of)
    statements = json.loads(told["Policy"])["Statement"]
    assert [s["Sid"] for s in statements] == ["all", "one"] and statements[1]["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}, told
    assert refusal(lambda: world.client.remove_layer_version_permission(**of, StatementId="all", RevisionId=added["RevisionId"]),
                   "PreconditionFailedException", 412)
    world.client.remove_layer_version_permission(**of, StatementId="all", RevisionId=told["RevisionId"])
    assert refusal(lambda: world.client.remove_layer_version_permission(**of, StatementId="all"), "ResourceNotFoundException", 404)
    assert len(json.loads(world.client.get_layer_version_policy(**of)["Policy"])["Statement"]) == 1


def test_programs_of_layers(world):
    python = sys.executable if sys.executable.startswith("/usr/") else "/usr/bin/env python3"
    extension = f"#!{python}" + """
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"
named = urllib.request.Request(api + "register", json.dumps({"events": []}).encode(), {"Lambda-Extension-Name": "from-layer"})
with urllib.request.urlopen(named) as reply:
    number = reply.headers["Lambda-Extension-Identifier"]
print("the extension of a layer is here", flush=True)
urllib.request.urlopen(urllib.request.Request(api + "event/next", headers={"Lambda-Extension-Identifier": number})).read()
"""
    tools = world.publish("tools", {"extensions/from-layer": extension, "bin/say": "#!/bin/sh\necho said\n"})["LayerVersionArn"]
    code = "import subprocess\ndef handler(event, context):\n    return subprocess.run(['say'], capture_output=True, text=True).stdout\n"
    world.create("with-tools", [tools], {"app.py": code})
    assert world.call("with-tools") == "said\n"
    assert "the extension of a layer is here" in world.node.command("logs", "with-tools")
    bootstrap = """#!/bin/sh
while true; do
  head=$(mktemp)
  event=$(curl -sS -D "$head" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next")
  id=$(tr -d '\\r' < "$head" | sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: //p')
  curl -sS -d '"by the layer'"'"'s bootstrap"' "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response"
done
"""
    own = world.publish("own-runtime", {"bootstrap": bootstrap})["LayerVersionArn"]
    world.create("provided", [own], {"main.sh": "nothing"}, Runtime="provided.al2023", Handler="main.x")
    assert world.call("provided") == "by the layer's bootstrap"
    assert "bootstrap" in refusal(lambda: world.create("nothing", [], {"a": "b"}, Runtime="provided.al2023"), "InvalidParameterValueException",
                                  400)
    handler = world.publish("handlers", {"python/wrapped/__init__.py": "", "python/wrapped/handler.py": HANDLER})["LayerVersionArn"]
    world.create("handler-in-layer", [handler], {"other.py": ""}, Handler="wrapped.handler.handler")
    assert world.call("handler-in-layer")["opt"] == ["python"]


def test_node_finds_what_layers_hold(world):
    if not shutil.which("node"):
        print("   -- skipped: this machine has no Node.js")
        return
    major = int(subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout[1:].split(".")[0])
    runtime = next(n for n in (24, 22, 20, 18) if n <= major)
    layer = world.publish("node-tools", {"nodejs/node_modules/plain/index.js": "module.exports = 'plain'",
                                         f"nodejs/node{runtime}/node_modules/versioned/index.js": "module.exports = 'versioned'"})
    code = "exports.handler = async () => [require('plain'), require('versioned')];\n"
    world.create("node-layers", [layer["LayerVersionArn"]], {"index.js": code}, Runtime=f"nodejs{runtime}.x", Handler="index.handler")
    assert world.call("node-layers") == ["plain", "versioned"]


def test_forks_have_layers(world):
    layer = world.publish("forked", {"python/tool.py": "TEXT = 'in a fork'\n"})
    world.create("forks", [layer["LayerVersionArn"]], {"app.py": "import tool\ndef handler(event, context):\n    return tool.TEXT\n"})
    assert world.call("forks") == "in a fork"
    world.node.wait(lambda: world.node.processes("forks"),
                    lambda seen: any(p["role"] == "template" and p["state"] == "ready" for p in seen), 60)
    world.node.command("scale", "forks", "0")
    world.node.wait(lambda: [p for p in world.node.processes("forks") if p["role"] == "instance"], lambda left: not left, 30)
    assert world.call("forks") == "in a fork"
    starts = world.node.get("/api/functions/forks")["cold_starts"]
    assert starts[0]["origin"] == "fork", starts


def test_layers_by_the_command_line(world):
    folder = world.folder / "tools"
    (folder / "python").mkdir(parents=True)
    (folder / "python/tool.py").write_text("TEXT = 'from a folder'\n")
    assert "cli-tools:1" in world.node.command("layer", "publish", "cli-tools", str(folder))
    assert "nothing was new" in world.node.command("layer", "publish", "cli-tools", str(folder))
    code = world.folder / "with-layer"
    code.mkdir()
    (code / "app.py").write_text(HANDLER)
    (code / "function.yaml").write_text(f"name: with-layer\nruntime: {RUNTIME}\nhandler: app.handler\nlayers: [cli-tools]\n")
    world.node.command("deploy", str(code))
    assert world.node.post("/functions/with-layer", json.dumps({"modules": ["tool"]})).json["tool"] == "from a folder"
    told = world.client.get_function_configuration(FunctionName="with-layer")
    assert [layer["Arn"] for layer in told["Layers"]] == [LAYER + "cli-tools:1"], told
    (folder / "python/tool.py").write_text("TEXT = 'changed'\n")
    assert "cli-tools:2" in world.node.command("layer", "publish", "cli-tools", str(folder))
    assert "version 2" in world.node.command("deploy", str(code)), "the newest of its layers has changed"
    assert world.node.post("/functions/with-layer", json.dumps({"modules": ["tool"]})).json["tool"] == "changed"
    assert "cli-tools:2" in world.node.command("layers")
    world.node.command("layer", "delete", "cli-tools", "1")
    assert "cli-tools:1" not in world.node.command("layers")
    sam = world.folder / "sam"
    (sam / "code").mkdir(parents=True)
    (sam / "code/app.py").write_text(HANDLER)
    (sam / "template.yaml").write_text(f"""
Transform: AWS::Serverless-2016-10-31
Resources:
  Tools:
    Type: AWS::Serverless::LayerVersion
    Properties: {{LayerName: sam-tools, ContentUri: ../tools, CompatibleRuntimes: [{RUNTIME}]}}
  Hello:
    Type: AWS::Serverless::Function
    Properties: {{CodeUri: code, Handler: app.handler, Runtime: {RUNTIME}, Layers: [!Ref Tools]}}
""")
    for _ in range(2):
        world.node.command("deploy", str(sam))
    assert world.node.post("/functions/hello", json.dumps({"modules": ["tool"]})).json["tool"] == "changed"
    assert len(world.client.list_layer_versions(LayerName="sam-tools")["LayerVersions"]) == 1, "the same layer was published again"


def test_code_from_a_store_of_objects(world):
    s3 = world.store.s3
    s3.put_object(Bucket="code", Key="a folder/code+1.zip", Body=packed({"app.py": HANDLER}))
    s3.put_object(Bucket="code", Key="layer.zip", Body=packed({"python/tool.py": "TEXT = 'stored'\n"}))
    s3.put_bucket_versioning(Bucket="code", VersioningConfiguration={"Status": "Enabled"})
    versions = [s3.put_object(Bucket="code", Key="two.zip", Body=packed({"app.py": f"def handler(e, c):\n    return {n}\n"}))["VersionId"]
                for n in (1, 2)]
    layer = world.client.publish_layer_version(LayerName="stored", Content={"S3Bucket": "code", "S3Key": "layer.zip"})
    words = {"Runtime": RUNTIME, "Handler": "app.handler", "Role": ROLE, "Timeout": 30}
    world.client.create_function(FunctionName="from-store", Code={"S3Bucket": "code", "S3Key": "a folder/code+1.zip"},
                                 Layers=[layer["LayerVersionArn"]], **words)
    assert world.call("from-store", {"modules": ["tool"]})["tool"] == "stored"
    for at, version in enumerate(versions):
        world.client.update_function_code(FunctionName="from-store", S3Bucket="code", S3Key="two.zip", S3ObjectVersion=version)
        assert world.call("from-store", Qualifier="$LATEST") == at + 1


def test_what_a_store_may_not_be_asked(world):
    update, bad = lambda **words: world.client.update_function_code(FunctionName="asks", **words), "InvalidParameterValueException"
    world.create("asks", [])
    world.store.s3.put_object(Bucket="code", Key="large.zip", Body=b"PK" + bytes(2 << 20))
    world.store.s3.put_object(Bucket="secret", Key="code.zip", Body=packed({"app.py": HANDLER}))
    assert "NoSuchKey" in refusal(lambda: update(S3Bucket="code", S3Key="absent.zip"), bad, 400)
    assert "at most" in refusal(lambda: update(S3Bucket="code", S3Key="large.zip"), bad, 400)
    before = len(world.store.asked)
    assert "may read" in refusal(lambda: update(S3Bucket="secret", S3Key="code.zip"), "AccessDeniedException", 403)
    for key in ("../secret/code.zip", "a/../../secret/code.zip", "./x", ".."):
        assert "S3Key" in refusal(lambda k=key: update(S3Bucket="code", S3Key=k), bad, 400), key
    for bucket in ("CODE", "a/b", "169.254.169.254/latest", "code@evil", "a..b"):
        reply = world.node.send("PUT", "/2015-03-31/functions/asks/code", json.dumps({"S3Bucket": bucket, "S3Key": "k"}))
        assert reply.status == 400 and "bucket" in reply.json["Message"].lower(), (bucket, reply)
    assert len(world.store.asked) == before, "the store was asked for what may not be asked"
    assert "302" in refusal(lambda: update(S3Bucket="code", S3Key="elsewhere"), bad, 400), "a redirection was followed"
    reply = world.node.send("PUT", "/2015-03-31/functions/asks/code", json.dumps({"S3Bucket": "code", "S3Key": "k\r\nX: y"}))
    assert reply.status == 400 and "S3 Error Code: 404" in reply.json["Message"], reply  # one key, sent as one
    assert world.store.asked[-1] == "/code/k%0D%0AX%3A%20y", world.store.asked[-1]
    assert "NoSuchKey" in refusal(lambda: update(S3Bucket="code", S3Key="a?b#c@d/%2e%2e/x"), bad, 400)
    assert world.store.asked[-1] == "/code/a%3Fb%23c%40d/%252e%252e/x", world.store.asked[-1]
    # While the store is slow the node does what it does.
    slow = threading.Thread(target=lambda: refusal(lambda: update(S3Bucket="code", S3Key="slow"), bad, 400))
    slow.start()
    time.sleep(0.3)
    started = time.monotonic()
    assert world.call("asks")["write"]
    assert refusal(lambda: update(S3Bucket="code", S3Key="x"), "ResourceConflictException", 409), "two changes at a time"
    assert time.monotonic() - started < 6 and slow.is_alive(), "the store held up the node"
    slow.join()


def test_without_a_store_it_is_refused_by_name(world):
    node = Node(world.binary)
    try:
        reply = node.send("POST", "/2018-10-31/layers/x/versions", json.dumps({"Content": {"S3Bucket": "code", "S3Key": "k"}}))
        assert reply.status == 400 and "S3Key" in reply.json["Message"] and "deploy bucket" in reply.json["Message"] and "objects" in reply.json["Message"], reply
    finally:
        node.kill()


if __name__ == "__main__":
    main(World, dict(globals()), __doc__)
