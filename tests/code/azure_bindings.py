#!/usr/bin/env python3
"""Bindings of Azure Functions with Azure Storage behind them: Azurite as the store, the published packages in the apps, and Azure's own clients
for what was written.

    tests/code/azure_bindings.py --mayfly build/mayfly [NAME …]

Azurite and the clients are installed, pinned, below build/, once.
"""
import base64
import datetime
import importlib.util
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import run
from run import HERE, ROOT, RUNTIME, Failed, check, main

# The test of apps beside this one has the name of Azure's own package.
apps = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("azure_apps", HERE / "azure.py"))
spec.loader.exec_module(apps)
sys.path = [place for place in sys.path if Path(place).resolve() != HERE]

AZURITE, CLIENTS = "azurite@3.35.0", ("azure-storage-blob==12.31.1", "azure-storage-queue==12.18.1")
ACCOUNT = "mayflytests"
KEY = base64.b64encode(b"a key of this test alone, and of nobody else").decode()
WRONG_KEY = base64.b64encode(b"another key").decode()


def installed(place, command):
    """The folder below build/, with what the command puts there; made anew where it is not complete."""
    done = place / ".installed"
    if not done.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        told = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=500)
        if told.returncode != 0:
            raise Failed(f"{' '.join(command)}: {told.stderr[-600:]}")
        done.touch()
    return place


class Azurite:
    def __init__(self, folder):
        place = installed(ROOT / "build/azurite", ["npm", "install", "--no-audit", "--no-fund", "--silent", AZURITE])
        self.program = place / "node_modules/.bin/azurite"
        self.folder = folder
        self.ports = [self.free_port() for _ in range(3)]
        self.process = None
        self.start()

    @staticmethod
    def free_port():
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            return one.getsockname()[1]

    def start(self):
        words = [str(self.program), "--location", str(self.folder), "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        for service, port in zip(("blob", "queue", "table"), self.ports):
            words += [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
        self.process = subprocess.Popen(words, env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL)
        for port in self.ports[:2]:
            for _ in range(300):
                with socket.socket() as one:
                    if one.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if self.process.poll() is not None:
                    raise Failed("Azurite ended")
                time.sleep(0.1)
            else:
                raise Failed("Azurite does not listen")

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def connection(self, key=KEY):
        blob, queue, _ = self.ports
        return (f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
                f"BlobEndpoint=http://127.0.0.1:{blob}/{ACCOUNT};QueueEndpoint=http://127.0.0.1:{queue}/{ACCOUNT};")

    def network(self):
        return [f"127.0.0.1:{port}" for port in self.ports[:2]]


class World(apps.World):
    def __init__(self, binary):
        if not shutil.which("npm"):
            print("skipped: this machine has no npm, by which Azurite comes")
            sys.exit(0)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.path.append(str(installed(ROOT / f"build/azure-clients-{version}", [sys.executable, "-m", "pip", "install", "-q", "-t", ".", *CLIENTS])))
        from azure.storage.blob import BlobServiceClient
        from azure.storage.queue import QueueServiceClient

        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-azure-"))
        self.store = Azurite(self.folder / "store")
        file = self.folder / "node.yaml"
        file.write_text("code: {network_loopback: true}\n")
        try:
            self.node = run.Node(binary, "--config", str(file))
        except BaseException:
            self.store.stop()
            raise
        self.blobs = BlobServiceClient.from_connection_string(self.store.connection())
        self.queues = QueueServiceClient.from_connection_string(self.store.connection())
        self.blobs.create_container("inbox")
        self.packages = {}

    def deploy(self, language, name=None, network=True, timeout="30s", **environment):
        """The app of bindings, with a store behind it."""
        folder = self.app(HERE / f"functions/azure-bindings-{language}", language)
        name = name or f"bindings-{language}"
        settings = {"AzureWebJobsStorage": self.store.connection(), "AzureWebJobsOther": self.store.connection(), "QUEUE": "messages", **environment}
        manifest = {"name": name, "resources": {"timeout": timeout}, "environment": {key: value for key, value in settings.items() if value is not None}}
        if network:
            manifest["network"] = {"outbound": self.store.network() if network is True else network}
        (folder / "function.yaml").write_text(json.dumps(manifest))
        self.node.command("deploy", str(folder), "--runtime", f"azure-{RUNTIME}" if language == "python" else "azure-node")
        return name

    def put(self, name, content, **more):
        self.blobs.get_blob_client("inbox", name).upload_blob(content, overwrite=True, **more)

    def blob(self, container, name):
        return self.blobs.get_blob_client(container, name).download_blob().readall()

    def messages(self, queue, decode=True):
        """What lies in the queue, taken out of it, as Azure's client reads it."""
        from azure.storage.queue import TextBase64DecodePolicy

        client = self.queues.get_queue_client(queue, message_decode_policy=TextBase64DecodePolicy() if decode else None)
        texts = []
        for message in client.receive_messages(messages_per_page=32):
            texts.append(message.content)
            client.delete_message(message)
        return texts

    def close(self):
        self.store.stop()
        super().close()


def test_python_reads_and_writes(world):
    name = world.deploy("python")
    for content in (b"hello", bytes(range(256)) * 4096, b""):
        world.put("a b+ü.bin", content)
        reply = world.send(name, "GET", "/api/copy/a%20b+%C3%BC.bin")
        check(reply.status == 200 and reply.body == content and reply.headers["X-Size"] == str(len(content)), f"a blob of {len(content)} bytes is read", reply)
        check(world.blob("outbox", "a b+ü.bin.copy") == content, "and what the function gave is a blob that Azure's client reads")
    check(world.send(name, "HEAD", "/api/copy/a%20b+%C3%BC.bin").status == 200, "HEAD, too")
    reply = world.send(name, "GET", "/api/copy/none")
    check(reply.status == 404 and reply.body == b"not there", "of a blob that isn't there the function gets None", reply)
    check(not world.blobs.get_blob_client("outbox", "none.copy").exists(), "and what it does not set is not written")
    world.put("text", "grüße")
    check(world.send(name, "GET", "/api/text/text").body.decode() == "str grüße", "a parameter that is a str gets one")
    check(world.send(name, "GET", "/api/text/none").body == b"none", "or None")
    check(world.send(name, "GET", "/api/bytes/text").body == b"bytes 7", "one that is bytes gets those")


def test_python_sends_messages(world):
    name = world.deploy("python")
    sent = ["one", "zwei ü <&>", {"n": 3}]
    reply = world.send(name, "POST", "/api/send", json.dumps({"messages": sent[:2]}))
    check(reply.status == 200 and reply.body == b"sent", "a list of messages", reply)
    check(world.messages("messages") == sent[:2], "is as many messages, which Azure's client reads, in base64 as Azure's host sends them")
    reply = world.send(name, "POST", "/api/orders/7?customer=1", json.dumps({"customer": {"name": "ann"}}), {"Content-Type": "application/json"})
    check(reply.status == 500 and "{customer.name}" in reply.json["error"]["message"], "the query's words come before the body's", reply)
    reply = world.send(name, "POST", "/api/orders/7", json.dumps({"customer": {"name": "ann"}}), {"Content-Type": "application/json"})
    check(reply.status == 204, "two outputs of another connection", reply)
    check(world.messages("orders") == ["order 7"], "a QueueMessage is its body")
    names = [blob.name for blob in world.blobs.get_container_client("receipts").list_blobs()]
    year = time.strftime("%Y", time.gmtime())
    check(len(names) == 1 and names[0].startswith(f"ann/7-{year}-") and len(names[0]) == len(f"ann/7-{year}-.json") + 36, "a path of expressions", names)
    reply = world.send(name, "POST", "/api/orders/8", json.dumps({"customer": {"name": "../in"}}))
    check(reply.status == 500 and "'..'" in reply.json["error"]["message"], "which can't lead to another container", reply)
    check(world.messages("orders") == [], "and then nothing is written at all")


def test_python_errors_write_nothing(world):
    name = world.deploy("python")
    check(world.send(name, "POST", "/api/fails").status == 500, "a function that fails after it set an output")
    check("fails" not in [queue.name for queue in world.queues.list_queues()], "has sent nothing")
    check(world.send(name, "GET", "/api/large/49152").status == 200 and len(world.messages("large")[0]) == 49152, "48 KiB are a message")
    reply = world.send(name, "GET", "/api/large/49153")
    check(reply.status == 500 and "49153 bytes" in reply.json["error"]["message"] and "'message'" in reply.json["error"]["message"], "more are not, and the call says so", reply)
    check(world.messages("large") == [], "nothing was sent")
    reply = world.send(name, "GET", "/api/lost")
    check(reply.status == 501 and "NotSet" in reply.json["error"]["message"], "an output without its setting is refused by name", reply)


def test_python_by_hand(world):
    name = world.deploy("python")
    world.put("photo.png", b"\x89PNG\x00\xff", metadata={"owner": "ann"})
    reply = world.run(name, "copied", {"input": "inbox/photo.png"})
    check(reply.status == 202, "a blob's trigger by hand is told the blob's path", reply)
    told, _, content = world.blob("outbox", "photo-png").partition(b"\n")
    told = json.loads(told)
    check(content == b"\x89PNG\x00\xff" and told["name"] == "inbox/photo.png" and told["length"] == 6, "the function gets the blob itself", told)
    check(told["metadata"] == {"owner": "ann"} and told["uri"].endswith("/inbox/photo.png"), "with what the store knows of it", told)
    reply = world.run(name, "copied", {"input": "inbox/none.png"})
    check(reply.status == 404 and "inbox/none.png" in reply.json["error"]["message"], "one that isn't there is told", reply)
    reply = world.run(name, "copied", {"input": "elsewhere/x.png"})
    check(reply.status == 400 and "inbox/{name}.{ext}" in reply.json["error"]["message"], "and a path that is none of the trigger's", reply)
    reply = world.run(name, "copied", {"input": "plain", "encoding": "text", "metadata": {"BlobTrigger": "inbox/said.txt"}})
    check(reply.status == 202 and world.blob("outbox", "said-txt").endswith(b"\nplain"), "content can be given, too", reply)
    world.put("o-7", b"12345")
    reply = world.run(name, "paid", {"input": "o-7"})
    check(reply.status == 202 and reply.json["Outputs"] == {} and reply.json["ReturnValue"] == "o-7: 5 bytes", "a queue's function by hand, whose message names a blob", reply)
    check(world.messages("receipts") == ["o-7: 5 bytes"], "and its output is sent, as Azure's host does")
    check(world.run(name, "nightly").status == 202 and world.blob("outbox", "report.txt") == b"past due: False", "a timer's")


def test_node_reads_and_writes(world):
    name = world.deploy("node")
    content = bytes(range(256)) * 1000
    world.put("n.bin", content)
    reply = world.send(name, "GET", "/api/copy/n.bin")
    check(reply.status == 200 and reply.body == content and reply.headers["x-size"] == "256000", "a blob is an extra input", reply)
    check(reply.headers.get_all("Set-Cookie") == ["a=1", "b=2"], "and the answer is as without", reply.headers.items())
    check(world.blob("outbox", "n.bin.copy") == content, "an extra output is a blob")
    check(world.messages("messages", decode=False) == ["copied n.bin", '{"size":256000}'], "a list is messages, plain where host.json says so")
    check(world.send(name, "HEAD", "/api/copy/n.bin").status == 200, "HEAD, too")
    world.messages("messages", decode=False)
    check(world.send(name, "GET", "/api/copy/none").status == 404, "what isn't there is undefined")
    for content, kind, seen in ((b'{"total": 7}', "object", {"total": 7}), (b"plain", "string", "plain"), (b"\xff\x00", "buffer", None)):
        world.put("seen", content)
        reply = world.send(name, "GET", "/api/seen/seen")
        check(reply.json["kind"] == kind and (seen is None or reply.json["content"] == seen), f"a blob is a {kind}", reply)
    check(world.send(name, "GET", "/api/seen/none").json == {"kind": "undefined", "content": None}, "or nothing")


def test_node_by_hand(world):
    name = world.deploy("node")
    world.put("o-8", b'{"total": 12}')
    reply = world.run(name, "paid", {"input": {"name": "o-8"}})
    check(reply.status == 202 and world.messages("settled", decode=False) == ["o-8: 12"], "a message's members are in paths", reply)
    world.put("photo.jpg", b"\xff\xd8\x00", metadata={"owner": "bob"})
    reply = world.run(name, "copied", {"input": "inbox/photo.jpg"})
    check(reply.status == 202, "a blob's trigger by hand", reply)
    told, _, content = world.blob("outbox", "photo-jpg").partition(b"\n")
    check(content == b"\xff\xd8\x00" and json.loads(told) == {"blobTrigger": "inbox/photo.jpg", "name": "photo", "length": 3, "metadata": {"owner": "bob"}},
          "gets the blob and what the store knows of it", told)


def test_node_streams(world):
    folder = world.app(HERE / "functions/azure-bindings-node", "node")
    (folder / "src/setup.js").write_text("import { app } from '@azure/functions';\napp.setup({ enableHttpStream: true });\n")
    name = world.deploy("node", "bindings-streams")
    (folder / "src/setup.js").unlink()
    world.put("s.bin", b"x" * 300_000)
    reply = world.send(name, "GET", "/api/copy/s.bin")
    check(reply.status == 200 and reply.body == b"x" * 300_000 and reply.headers["x-size"] == "300000", "with enableHttpStream, too", reply)
    check(world.blob("outbox", "s.bin.copy") == b"x" * 300_000, "and its output")
    world.messages("messages", decode=False)


def test_a_custom_handler(world):
    folder, name = world.folder / "custom", "custom-bindings"
    connection = {"connection": "AzureWebJobsStorage"}
    functions = {
        "copy": [{"type": "httpTrigger", "direction": "in", "name": "req", "route": "copy/{name}"},
                 {"type": "blob", "direction": "in", "name": "source", "path": "inbox/{name}", **connection},
                 {"type": "blob", "direction": "out", "name": "target", "path": "outbox/{name}.custom", **connection},
                 {"type": "blob", "direction": "out", "name": "binary", "path": "outbox/{name}.binary", "dataType": "binary", **connection},
                 {"type": "queue", "direction": "out", "name": "told", "queueName": "custom", **connection},
                 {"type": "http", "direction": "out", "name": "res"}],
        "copied": [{"type": "blobTrigger", "direction": "in", "name": "blob", "path": "inbox/{name}.{ext}", "dataType": "binary", **connection},
                   {"type": "queue", "direction": "out", "name": "$return", "queueName": "custom", **connection}],
    }
    for function, bindings in functions.items():
        (folder / function).mkdir(parents=True)
        (folder / function / "function.json").write_text(json.dumps({"bindings": bindings}))
    (folder / "host.json").write_text(json.dumps({"customHandler": {"description": {"defaultExecutablePath": "python3", "arguments": ["handler.py"]}}}))
    (folder / "function.yaml").write_text(json.dumps({"name": name, "runtime": "azure", "environment": {"AzureWebJobsStorage": world.store.connection()},
                                                      "network": {"outbound": world.store.network()}}))
    (folder / "handler.py").write_text("""
import base64, http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        data = call["Data"]
        if self.path == "/copy":
            source = json.loads(data["source"])
            outputs = {"res": {"statusCode": 200, "body": json.dumps(source)}}
            if source is not None:
                outputs |= {"target": source.upper(), "binary": base64.b64encode(bytes(range(256))).decode(), "told": ["a", {"b": 1}]}
            answer = {"Outputs": outputs}
        else:
            answer = {"ReturnValue": {"bytes": data["blob"], "path": call["Metadata"]["BlobTrigger"], "ext": call["Metadata"]["ext"]}}
        answer = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["FUNCTIONS_CUSTOMHANDLER_PORT"])), Handler).serve_forever()
""")
    world.node.command("deploy", str(folder))
    world.put("c.txt", "grüße")
    reply = world.send(name, "GET", "/api/copy/c.txt")
    check(reply.status == 200 and json.loads(reply.body) == "grüße", "Data has the blob, as JSON's text", reply)
    check(world.blob("outbox", "c.txt.custom").decode() == "GRÜSSE" and world.blob("outbox", "c.txt.binary") == bytes(range(256)), "Outputs are blobs")
    check(world.messages("custom") == ["a", '{"b":1}'], "and messages")
    check(json.loads(world.send(name, "GET", "/api/copy/none").body) is None, "what isn't there is null")
    world.put("c.bin", b"\x00\xff")
    reply = world.run(name, "copied", {"input": "inbox/c.bin"})
    check(reply.status == 202 and json.loads(world.messages("custom")[0]) == {"bytes": "AP8=", "path": "inbox/c.bin", "ext": "bin"}, "a blob's trigger by hand", reply)


def test_what_the_network_does_not_allow(world):
    world.put("x", b"x")
    name = world.deploy("python", "unreachable", network=False)
    blob = f"127.0.0.1:{world.store.ports[0]}"
    reply = world.send(name, "GET", "/api/bytes/x")
    check(reply.status == 500 and blob in reply.json["error"]["message"] and "network" in reply.json["error"]["message"], "a store that network does not list is not read", reply)
    reply = world.send(name, "POST", "/api/send", b'{"messages": ["never"]}')
    check(reply.status == 500 and "'messages'" in reply.json["error"]["message"], "nor written to", reply)
    host, port = world.node.host.split(":")
    node = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={KEY};BlobEndpoint=http://{host}:{port}/api"
    name = world.deploy("python", "forged", AzureWebJobsStorage=node)
    reply = world.send(name, "GET", "/api/bytes/x")
    check(reply.status == 500 and f"{host}:{port}" in reply.json["error"]["message"] and "may not reach" in reply.json["error"]["message"],
          "a connection string does not lead to the node's own API", reply)
    name = world.deploy("python", "named", AzureWebJobsStorage=f"AccountName=a;AccountKey={KEY}")
    reply = world.send(name, "GET", "/api/bytes/x")
    check(reply.status == 500 and "a.blob.core.windows.net:443" in reply.json["error"]["message"], "nor to a name that is not listed", reply)


def test_other_connections(world):
    """By a name, and with a shared access signature instead of the account's key."""
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, Services, generate_account_sas

    world.put("x", b"xyz")
    blob, queue, _ = world.store.ports
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    signature = generate_account_sas(ACCOUNT, KEY, ResourceTypes(service=True, container=True, object=True),
                                     AccountSasPermissions(read=True, write=True, add=True, create=True), until,
                                     services=Services(blob=True, queue=True))
    endpoints = f"BlobEndpoint=http://localhost:{blob}/{ACCOUNT};QueueEndpoint=http://localhost:{queue}/{ACCOUNT}"
    name = world.deploy("python", "shared", network=[f"localhost:{blob}", f"localhost:{queue}"], QUEUE="by-signature",
                        AzureWebJobsStorage=f"{endpoints};SharedAccessSignature={signature}")
    check(world.send(name, "GET", "/api/bytes/x").body == b"bytes 3", "a blob is read with a shared access signature")
    reply = world.send(name, "POST", "/api/send", b'{"messages": ["signed"]}')
    check(reply.status == 200 and world.messages("by-signature") == ["signed"], "a queue is made and written to", reply)
    less = generate_account_sas(ACCOUNT, KEY, ResourceTypes(object=True), AccountSasPermissions(read=True), until, services=Services(blob=True, queue=True))
    name = world.deploy("python", "shared", network=[f"localhost:{blob}", f"localhost:{queue}"], QUEUE="not-allowed",
                        AzureWebJobsStorage=f"{endpoints};SharedAccessSignature={less}")
    reply = world.send(name, "POST", "/api/send", b'{"messages": ["never"]}')
    check(reply.status == 500 and "403" in reply.json["error"]["message"] and signature not in reply.body.decode(), "what it does not allow is told", reply)


def test_names_that_are_none(world):
    name = world.deploy("python")
    for path in ("%FF", "..", "%2e%2e%2fx", "a%00b", "%0d%0aA:b", "x" * 1025):
        reply = world.send(name, "GET", f"/api/bytes/{path}")
        check(reply.status in (404, 500) and len(reply.body) < 2000, f"a blob's name of {path[:20]} is told, or led nowhere", reply)


def test_faults_of_the_store(world):
    world.put("x", b"x")
    name = world.deploy("python", "wrong-key", AzureWebJobsStorage=world.store.connection(WRONG_KEY))
    reply = world.send(name, "GET", "/api/bytes/x")
    check(reply.status == 500 and "403" in reply.json["error"]["message"] and "key" in reply.json["error"]["message"], "a wrong key is told as that", reply)
    check(WRONG_KEY not in reply.body.decode() and WRONG_KEY not in world.log(name), "and repeated nowhere")
    name = world.deploy("python", "no-string", AzureWebJobsStorage="AccountName=a")
    reply = world.send(name, "GET", "/api/bytes/x")
    check(reply.status == 500 and "AccountKey" in reply.json["error"]["message"], "a connection string that is none", reply)
    name = world.deploy("python")
    check(world.send(name, "GET", "/api/bytes/x").status == 200, "the right one")
    world.put("large", bytes((64 << 20) + 1))
    reply = world.send(name, "GET", "/api/bytes/large")
    check(reply.status == 500 and "67108865 bytes" in reply.json["error"]["message"], "a blob of more than 64 MiB is not taken", reply)
    world.store.stop()
    try:
        started = time.monotonic()
        reply = world.send(name, "GET", "/api/bytes/x")
        check(reply.status == 500 and "blob inbox/x" in reply.json["error"]["message"] and time.monotonic() - started < 20, "a store that is down fails the call", reply)
        reply = world.send(name, "POST", "/api/send", b'{"messages": ["never"]}')
        check(reply.status == 500 and "queue messages" in reply.json["error"]["message"], "reading and writing", reply)
    finally:
        world.store.start()
    check(world.send(name, "GET", "/api/bytes/x").status == 200, "and when it is back, so is the function")
    check(world.messages("messages") == [] if "messages" in [queue.name for queue in world.queues.list_queues()] else True, "what failed was not sent")


def test_a_store_that_never_answers(world):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        name = world.deploy("python", "silent", network=[place], timeout="2s",
                            AzureWebJobsStorage=f"AccountName=a;AccountKey={KEY};BlobEndpoint=http://{place}/a;QueueEndpoint=http://{place}/a")
        world.send(name, "POST", "/api/fails")  # its start is not of the time that is measured
        before = world.node.processes(name)
        started = time.monotonic()
        reply = world.send(name, "GET", "/api/bytes/x")
        check(reply.status == 504 and 1.5 < time.monotonic() - started < 4, "what is read takes the call's time and no more", reply)
        reply = world.send(name, "POST", "/api/send", b'{"messages": ["never"]}')
        check(reply.status == 504, "what is written, too", reply)
        check(world.send(name, "POST", "/api/fails").status == 500, "the program is not blamed for it")
        ids = [[each["process"] for each in all_ if each["role"] == "instance"] for all_ in (before, world.node.processes(name))]
        check(ids[0] == ids[1], "and goes on", ids)


def test_a_store_by_tls(world):
    """Its certificate must be good by the machine's own list of authorities, which one that is made here is not."""
    if not shutil.which("openssl"):
        print("   -- skipped: this machine has no openssl to make a certificate")
        return
    pair = [str(world.folder / name) for name in ("key.pem", "certificate.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost", "-keyout", pair[0], "-out", pair[1]], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair[1], pair[0])
    heard = []
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)

        def serve():
            try:
                connection, _ = listening.accept()
                heard.append(context.wrap_socket(connection, server_side=True).recv(100))
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        place = f"localhost:{listening.getsockname()[1]}"
        name = world.deploy("python", "by-tls", network=[place], AzureWebJobsStorage=f"AccountName=a;AccountKey={KEY};BlobEndpoint=https://{place}/a")
        reply = world.send(name, "GET", "/api/bytes/x")
        check(reply.status == 500 and "self-signed certificate" in reply.json["error"]["message"], "a certificate that nobody signed is refused", reply)
        check(not any(heard), "and nothing was said to who has it", heard)


def test_outputs_to_the_log(world):
    name = world.deploy("python", "to-the-log", MAYFLY_AZURE_OUTPUTS="log")
    reply = world.send(name, "POST", "/api/send", b'{"messages": ["logged"]}')
    check(reply.status == 200, "where outputs go to the log, they do", reply)
    world.node.wait(lambda: world.log(name), lambda log: 'output messages (queue): ["logged"]' in log, 10)
    check("messages" not in [queue.name for queue in world.queues.list_queues()] or world.messages("messages") == [], "and are not sent")


if __name__ == "__main__":
    main(globals(), World)
