#!/usr/bin/env python3
"""Images of a registry by AWS's own SDK (PyPI boto3) and `mayfly deploy docker://…` against a node of ours, which pulls them.

    build/venv/bin/python tests/clients/test_images.py --mayfly build/mayfly

The registry is Distribution (Debian's docker-registry), three times over one storage: open, with a login (htpasswd), and with tokens that
a few lines here make. skopeo, which tools/setup.sh installs, pushes to it. A registry that lies is a few lines, too.
"""
import base64
import contextlib
import gzip
import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests/code")]
import images  # noqa: E402
from images import Layout, configuration, entry, folder, link, tar_of  # noqa: E402
from node import Node  # noqa: E402
from runner import main  # noqa: E402
from test_boto3 import refusal  # noqa: E402

ROLE = "arn:aws:iam::000000000000:role/x"
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
USER, PASSWORD = "puller", "a secret: with a colon"
BAD, DENIED, LOST = ("InvalidParameterValueException", 400), ("AccessDeniedException", 403), ("ServiceException", 500)
PROGRAM = (ROOT / "tests/code/functions/container/bootstrap").read_bytes()


def sha(data):
    return hashlib.sha256(data).hexdigest()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, **more)
    assert done.returncode == 0, (command, done.stdout[-600:], done.stderr[-600:])
    return done.stdout


def distribution():
    """The program out of Debian's package, in build/: to install it would start a service."""
    place = ROOT / "build/docker-registry"
    program = place / "usr/bin/docker-registry"
    if not program.is_file():
        place.mkdir(parents=True, exist_ok=True)
        try:
            run("apt-get", "download", "-qq", "docker-registry", cwd=place)
        except AssertionError:
            run("apt-get", "update", "-qq")
            run("apt-get", "download", "-qq", "docker-registry", cwd=place)
        run("dpkg-deb", "-x", next(place.glob("docker-registry_*.deb")), place)
    return str(program)


class Registry:
    """Distribution on a port of its own, over a storage that others may have, too."""

    def __init__(self, place, name, auth="", tls=""):
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        config = place / f"{name}.yml"
        config.write_text(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {place}/storage}}}}\n"
                          f"http: {{addr: '{self.host}', secret: any{tls}}}\n{auth}")
        self.log = open(place / f"{name}.log", "w")
        self.process = subprocess.Popen([distribution(), "serve", str(config)], stdout=self.log, stderr=self.log)
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert time.monotonic() < end and self.process.poll() is None, (place / f"{name}.log").read_text()[-600:]
            time.sleep(0.1)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


class Answers(http.server.ThreadingHTTPServer):
    """Answers by path, (status, headers, body), and keeps what was asked. `made` answers what is not among them."""

    def __init__(self, made=None):
        self.answers, self.asked, self.made, self.closed = {}, [], made, set()  # `closed`: what begins so wants a login
        super().__init__(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802  (its base's name)
        server = self.server
        server.asked.append((self.path, self.headers.get("Authorization", "")))
        if not self.headers.get("Authorization") and any(self.path.startswith(path) for path in server.closed):
            answer = 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""
        else:
            answer = server.answers.get(self.path) or (server.made and server.made(self)) or (404, {}, b"")
        status, headers, body = answer
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):   # what is too large is not waited for
            if callable(body):
                self.close_connection = True
                body(self.wfile)
            else:
                self.wfile.write(body)

    def log_message(self, *words):
        pass


class Tokens:
    """A token service (Distribution's "Token Authentication Specification"): who is the puller may pull."""

    def __init__(self, place):
        self.key, self.certificate, self.issuer = place / "token.key", place / "token.pem", "tests"
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests", "-keyout", self.key, "-out", self.certificate)
        self.der = base64.b64encode(subprocess.run(["openssl", "x509", "-in", str(self.certificate), "-outform", "der"], capture_output=True,
                                                   check=True).stdout).decode()
        self.server = Answers(self.answer)

    def answer(self, request):
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)
        if request.headers.get("Authorization", "") != "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
            return 401, {}, b'{"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]}'
        kind, name, actions = asked["scope"][0].split(":")
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": USER, "aud": asked["service"][0], "exp": now + 60, "nbf": now - 60, "iat": now, "jti": str(now),
                  "access": [{"type": kind, "name": name, "actions": actions.split(",")}]}
        words = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
                 for part in ({"typ": "JWT", "alg": "RS256", "x5c": [self.der]}, claims)]
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(self.key)], input=b".".join(words), capture_output=True, check=True)
        token = b".".join([*words, base64.urlsafe_b64encode(signed.stdout).rstrip(b"=")]).decode()
        return 200, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode()


class World:
    def __init__(self, binary):
        self.binary, self.folder = binary, Path(tempfile.mkdtemp(prefix="mayfly-images-"))
        if not (shutil.which("skopeo") and shutil.which("openssl")):
            run(ROOT / "tools/setup.sh", "skopeo", "openssl")
        self.tokens = Tokens(self.folder)
        # bcrypt, the only hash that it takes; by OpenSSL's neighbour in the C library.
        (self.folder / "htpasswd").write_text(f"{USER}:{bcrypt(PASSWORD)}\n")
        self.open = Registry(self.folder, "open")
        self.basic = Registry(self.folder, "basic", f"auth: {{htpasswd: {{realm: tests, path: {self.folder}/htpasswd}}}}\n")
        self.token = Registry(self.folder, "token", f"auth: {{token: {{realm: '{self.tokens.server.url}/token', service: tests, issuer: tests, "
                                                    f"rootcertbundle: {self.tokens.certificate}}}}}\n")
        pem, key = self.folder / "tls.pem", self.folder / "tls.key"
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-keyout", key, "-out", pem)
        self.tls = Registry(self.folder, "tls", tls=f", tls: {{certificate: {pem}, key: {key}}}")
        os.environ["SSL_CERT_FILE"] = str(pem)   # of the node, which takes it for an authority
        self.liar, self.store = Answers(), Answers()
        self.login = f"login: '{USER}:{PASSWORD}'"
        self.config = {self.open.host: f"endpoint: 'http://{self.open.host}'",
                       ECR: f"endpoint: 'http://{self.open.host}', repositories: shop/* lambda",
                       "basic.example": f"endpoint: 'http://{self.basic.host}', {self.login}",
                       "wrong.example": f"endpoint: 'http://{self.basic.host}', login: '{USER}:wrong'",
                       "nobody.example": f"endpoint: 'http://{self.basic.host}'",
                       "token.example": f"endpoint: 'http://{self.token.host}', {self.login}, tokens: '{self.tokens.server.url}'",
                       "nobodys-token.example": f"endpoint: 'http://{self.token.host}', tokens: '{self.tokens.server.url}'",
                       "elsewhere.example": f"endpoint: 'http://{self.token.host}', {self.login}",
                       "liar.example": f"endpoint: '{self.liar.url}', {self.login}, redirects: '{self.store.url}', size_max: 64MiB",
                       f"localhost:{self.tls.port}": "", "other-name.example": f"endpoint: 'https://{self.tls.host}'",
                       "gone.example": "endpoint: 'http://127.0.0.1:1'"}
        self.node = self.start("node", "60s")
        self.client = self.client_of(self.node)
        self.python = images.python_layer()
        self.layout = self.image("one")
        self.push(self.layout, "lambda:one")

    def start(self, name, time_max):
        lines = "".join(f"  '{host}': {{{keys}}}\n" for host, keys in self.config.items())
        (self.folder / f"{name}.yaml").write_text(f"pull: {{time_max: {time_max}}}\nregistries:\n{lines}")
        return Node(self.binary, "--config", str(self.folder / f"{name}.yaml"), data=str(self.folder / name))

    def client_of(self, node):
        return boto3.client("lambda", endpoint_url=node.url, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any",
                            config=Config(retries={"total_max_attempts": 1}, read_timeout=120))

    def image(self, word, *entries, **config):
        """For Lambda; nothing of it says so but what it does."""
        top = tar_of([folder("srv"), entry("srv/worker", PROGRAM, 0o755), entry("srv/word", word.encode()),
                      link("opt/python/bin/python3", f"python3.{sys.version_info.minor}"), *entries])
        config = {"Entrypoint": ["./worker"], "Cmd": [word], "WorkingDir": "/srv", "Env": [f"WORD={word}"], **config}
        return Layout([self.python, top], configuration([self.python, top], **config))

    def push(self, layout, name, *others):
        place = self.folder / "layouts" / name.replace("/", "_").replace(":", "_")
        images.write_folder(place, layout.files(*others))
        run("skopeo", "copy", *(["--all"] if others else []), "--insecure-policy", "--dest-tls-verify=false", f"oci:{place}",
            f"docker://{self.open.host}/{name}")

    def create(self, name, uri, **more):
        return self.client.create_function(FunctionName=name, PackageType="Image", Code={"ImageUri": uri}, Role=ROLE, MemorySize=256,
                                           **{"Timeout": 30, **more})

    def call(self, name, **more):
        answer = self.client.invoke(FunctionName=name, Payload=b'{"n": 1}', **more)
        payload = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, payload
        return payload

    def deploy(self, *words):
        return subprocess.run([str(self.binary), "--url", self.node.url, "deploy", *map(str, words)], capture_output=True, text=True, timeout=120)

    def artifacts(self):
        return {path.name for path in (self.folder / "node/artifacts").rglob("*") if path.is_file()}

    def close(self):
        self.node.kill()
        for registry in (self.open, self.basic, self.token, self.tls):
            registry.close()
        for server in (self.liar, self.store, self.tokens.server):
            server.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)


def bcrypt(password):
    import ctypes
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    return library.crypt(password.encode(), b"$2b$05$" + b"abcdefghijklmnopqrstuu").decode()


def test_created_waited_for_and_called(world):
    uri = f"{ECR}/lambda:one"
    made = world.create("first", uri, Environment={"Variables": {"OTHER": "x"}})
    assert made["PackageType"] == "Image" and "Runtime" not in made and "Handler" not in made, made
    world.client.get_waiter("function_active_v2").wait(FunctionName="first")
    said = world.call("first")
    assert said["event"] == {"n": 1} and said["arguments"] == ["one"] and said["word"] == "one" and said["folder"] == "/srv", said
    got = world.client.get_function(FunctionName="first")
    digest = run("skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{world.open.host}/lambda:one").strip()
    assert got["Code"] == {"RepositoryType": "ECR", "ImageUri": uri, "ResolvedImageUri": f"{ECR}/lambda@{digest}"}, got["Code"]
    assert got["Configuration"]["CodeSha256"] == digest.removeprefix("sha256:") == made["CodeSha256"], got
    assert got["Configuration"]["State"] == "Active" and got["Configuration"]["LastUpdateStatus"] == "Successful", got
    refusal(lambda: world.create("first", uri), "ResourceConflictException", 409)


def test_a_second_tag_and_versions(world):
    world.create("tags", f"{ECR}/lambda:one", Publish=True)
    before = world.artifacts()
    second = world.image("two")
    world.push(second, "lambda:two")
    updated = world.client.update_function_code(FunctionName="tags", ImageUri=f"{ECR}/lambda:two", Publish=True)
    world.client.get_waiter("function_updated_v2").wait(FunctionName="tags")
    assert world.call("tags")["word"] == "two" and world.call("tags", Qualifier="1")["word"] == "one"
    assert updated["Version"] == "2" and updated["LastUpdateStatus"] == "Successful", updated
    first = world.client.get_function(FunctionName="tags", Qualifier="1")
    assert first["Code"]["ImageUri"].endswith(":one") and first["Configuration"]["CodeSha256"] != updated["CodeSha256"], first
    new = world.artifacts() - before
    assert new == {second.layers[1]["digest"][7:]}, ("one layer is new, the other was there", new)
    again = world.client.update_function_code(FunctionName="tags", ImageUri=f"{ECR}/lambda:two")
    assert again["CodeSha256"] == updated["CodeSha256"], again
    assert world.client.list_versions_by_function(FunctionName="tags")["Versions"][-1]["Version"] == "2", "the same image is the same version"
    by_digest = f"{ECR}/lambda@sha256:{first['Configuration']['CodeSha256']}"
    world.client.update_function_code(FunctionName="tags", ImageUri=by_digest)
    assert world.call("tags")["word"] == "one", "an image by its digest"
    assert world.client.update_function_code(FunctionName="tags", ImageUri=f"{ECR}/lambda:none", DryRun=True)["PackageType"] == "Image"


def test_a_layer_that_is_there_is_not_fetched(world):
    blob = gzip.compress(world.python, 1, mtime=0)
    assert sha(blob) in world.artifacts()
    lie(world, world.image("held"), "held", {sha(blob): (500, {}, b"")})
    world.create("held", "liar.example/held:1")
    assert world.call("held")["word"] == "held"
    assert not [path for path, _ in world.liar.asked if sha(blob) in path], "it was asked for"


def test_image_config(world):
    made = world.create("configured", f"{ECR}/lambda:one", ImageConfig={"Command": ["said", "twice"], "WorkingDirectory": "/opt"})
    assert made["ImageConfigResponse"] == {"ImageConfig": {"Command": ["said", "twice"], "WorkingDirectory": "/opt"}}, made
    changed = world.client.update_function_configuration(
        FunctionName="configured", ImageConfig={"EntryPoint": ["/srv/worker", "first"], "Command": ["then"], "WorkingDirectory": "/tmp"})
    assert changed["ImageConfigResponse"]["ImageConfig"]["EntryPoint"] == ["/srv/worker", "first"], changed
    said = world.call("configured")
    assert said["arguments"] == ["first", "then"] and said["folder"] == "/tmp", said
    world.client.update_function_configuration(FunctionName="configured", ImageConfig={"EntryPoint": ["/srv/worker"]})
    said = world.call("configured")
    assert said["arguments"] == ["one"] and said["folder"] == "/srv", ("what is not said is the image's again", said)
    world.client.update_function_configuration(FunctionName="configured", Timeout=20)
    assert world.client.get_function_configuration(FunctionName="configured")["ImageConfigResponse"] == {"ImageConfig": {"EntryPoint": ["/srv/worker"]}}
    world.client.update_function_code(FunctionName="configured", ImageUri=f"{ECR}/lambda:one")
    assert world.client.get_function_configuration(FunctionName="configured")["ImageConfigResponse"]["ImageConfig"] == {"EntryPoint": ["/srv/worker"]}
    cleared = world.client.update_function_configuration(FunctionName="configured", ImageConfig={})
    assert "ImageConfigResponse" not in cleared, cleared


def test_what_does_not_go_together(world):
    uri, client = f"{ECR}/lambda:one", world.client
    for more in ({"Runtime": "python3.11"}, {"Handler": "app.handler"}, {"Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:x:1"]}):
        assert next(iter(more)) in refusal(lambda: world.create("bad", uri, **more), *BAD)
    words = {"FunctionName": "bad", "Role": ROLE}
    assert "ZipFile" in refusal(lambda: client.create_function(PackageType="Image", Code={"ImageUri": uri, "ZipFile": b"PK"}, **words), *BAD)
    assert "S3Bucket" in refusal(lambda: client.create_function(PackageType="Image", Code={"S3Bucket": "bucket", "S3Key": "x"}, **words), *BAD)
    assert "ImageUri" in refusal(lambda: client.create_function(PackageType="Image", Code={}, **words), *BAD)
    assert "ImageUri" in refusal(lambda: client.create_function(Code={"ImageUri": uri}, Runtime="python3.11", Handler="a.b", **words), *BAD)
    assert "ImageConfig" in refusal(lambda: client.create_function(Code={"ZipFile": b"PK"}, Runtime="python3.11", Handler="a.b",
                                                                   ImageConfig={"Command": ["x"]}, **words), *BAD)
    assert "absolute" in refusal(lambda: world.create("bad", uri, ImageConfig={"WorkingDirectory": "srv"}), *BAD)
    world.create("kind", uri)
    assert "ZipFile" in refusal(lambda: client.update_function_code(FunctionName="kind", ZipFile=b"PK"), *BAD)
    assert "Handler" in refusal(lambda: client.update_function_configuration(FunctionName="kind", Handler="app.handler"), *BAD)
    for name in ("lambda", "lambda:one", f"{ECR}/Lambda:one", f"{ECR}/lambda:-", f"{ECR}/lambda@sha256:12", f"user@{ECR}/lambda", f"http://{ECR}/lambda",
                 f"{ECR}/../lambda:one", f"{ECR}/lambda:one?x=y", f"{ECR}//lambda"):
        assert "not the name of an image" in refusal(lambda: world.create("bad", name), *BAD), name
    refusal(lambda: client.get_function(FunctionName="bad"), "ResourceNotFoundException", 404)


def test_what_may_be_asked(world):
    asked = {"other.example/lambda:one": "registries: {\"other.example\": {}}", f"{ECR}/private/x:one": "repositories", "localhost:5000/x": "registries",
             "169.254.169.254:80/latest/meta-data": "registries", "[::1]:80/x": "registries"}
    for uri, text in asked.items():
        assert text in refusal(lambda: world.create("bad", uri), *DENIED), uri
    assert "no registry" in refusal(lambda: world.client_of(world.bare()).create_function(
        FunctionName="bad", PackageType="Image", Code={"ImageUri": f"{ECR}/lambda:one"}, Role=ROLE), *BAD)


def bare(self):
    """A node whose configuration names no registry."""
    if not hasattr(self, "other"):
        self.other = Node(self.binary, data=str(self.folder / "bare"))
        closed = self.close
        self.close = lambda: (self.other.kill(), closed())
    return self.other


World.bare = bare


def test_what_is_not_there(world):
    for uri, text in {f"{ECR}/lambda:three": "lambda:three is not there", f"{ECR}/shop/none:1": "shop/none",
                      f"{ECR}/lambda@sha256:{'0' * 64}": "is not there"}.items():
        assert text in refusal(lambda: world.create("bad", uri), *BAD), uri
    said = refusal(lambda: world.create("bad", "gone.example/x:1"), *LOST)
    assert "gone.example" in said and "127.0.0.1:1" in said, said
    world.create("stays", f"{ECR}/lambda:one")
    refusal(lambda: world.client.update_function_code(FunctionName="stays", ImageUri=f"{ECR}/lambda:three"), *BAD)
    assert world.call("stays")["word"] == "one", "what was there before still serves"


def test_logins(world):
    world.create("login", "basic.example/lambda:one")
    assert world.call("login")["word"] == "one"
    world.create("token", "token.example/lambda:one")
    assert world.call("token")["word"] == "one"
    assert all("scope=repository%3Alambda%3Apull" in path for path, _ in world.tokens.server.asked), world.tokens.server.asked
    for host, text in {"wrong.example": "its login is wrong", "nobody.example": "no login is configured", "elsewhere.example": "registries: tokens",
                       "nobodys-token.example": "no login is configured"}.items():
        said = refusal(lambda: world.create("bad", f"{host}/lambda:one"), *DENIED)
        assert text in said and PASSWORD not in said and "wrong:" not in said, said
    everything = "\n".join(world.node.lines) + json.dumps(world.client.get_function(FunctionName="login"), default=str)
    assert PASSWORD not in everything and base64.b64encode(PASSWORD.encode()).decode() not in everything, "a login is shown"


def test_https(world):
    world.create("tls", f"localhost:{world.tls.port}/lambda:one")
    assert world.call("tls")["word"] == "one", "without an endpoint it is HTTPS, with a certificate that is good for the name"
    said = refusal(lambda: world.create("bad", "other-name.example/lambda:one"), *LOST)
    assert "TLS" in said and "mismatch" in said.lower(), said


def lie(world, layout, name, wrong=None, manifest=None, kind=None):
    """The image as the liar serves it; `wrong`: other answers for blobs, by digest."""
    layout.described()
    for digest, blob in layout.blobs.items():
        world.liar.answers[f"/v2/{name}/blobs/sha256:{digest}"] = (200, {}, blob)
    for digest, answer in (wrong or {}).items():
        world.liar.answers[f"/v2/{name}/blobs/sha256:{digest}"] = answer
    text = manifest if manifest is not None else json.dumps(layout.manifest).encode()
    world.liar.answers[f"/v2/{name}/manifests/1"] = (200, {"Content-Type": kind or layout.manifest["mediaType"]}, text)
    world.liar.answers[f"/v2/{name}/manifests/sha256:{sha(text)}"] = world.liar.answers[f"/v2/{name}/manifests/1"]
    return sha(text)


def endless(out):
    with contextlib.suppress(OSError):
        while True:
            out.write(b"x" * 65536)


def cut_off(blob):
    return lambda out: out.write(blob[:len(blob) // 2])


def test_a_registry_that_lies(world):
    def fresh(word):
        layout = world.image(word)
        return layout, layout.layers[1]["digest"][7:], layout.blobs[layout.layers[1]["digest"][7:]]

    def refused(name, text, kind=BAD):
        before = world.artifacts()
        said = refusal(lambda: world.create("bad", f"liar.example/{name}:1"), *kind)
        assert text in said and f"liar.example/{name}:1" in said, said
        gone = world.artifacts() - before
        assert all(sha((world.folder / "node/artifacts" / name[:2] / name).read_bytes()) == name for name in gone), "an artifact has another name"

    for name, body, text in (("bytes", lambda blob: bytes([blob[0] ^ 1]) + blob[1:], "damaged or changed"), ("short", lambda blob: blob[:-1], "not whole"),
                             ("long", lambda blob: blob + b"x", "at most")):
        layout, digest, blob = fresh(name)
        lie(world, layout, name, {digest: (200, {}, body(blob))})
        refused(name, text)
    layout, digest, blob = fresh("endless")
    lie(world, layout, "endless", {digest: (200, {"Content-Length": None}, endless)})
    refused("endless", "too large")
    layout, digest, blob = fresh("cut")
    lie(world, layout, "cut", {digest: (200, {"Content-Length": str(len(blob))}, cut_off(blob))})
    refused("cut", "cut off", LOST)
    layout, digest, blob = fresh("config")
    config = layout.manifest["config"]["digest"][7:]
    lie(world, layout, "config", {config: (200, {}, layout.blobs[config].replace(b"/srv", b"/usr"))})
    refused("config", "the configuration of the image has the SHA-256")
    layout, digest, blob = fresh("digest")
    other = lie(world, layout, "digest")
    world.liar.answers[f"/v2/digest/manifests/sha256:{'1' * 64}"] = world.liar.answers["/v2/digest/manifests/1"]
    said = refusal(lambda: world.create("bad", f"liar.example/digest@sha256:{'1' * 64}"), *BAD)
    assert f"has the SHA-256 {other}" in said, said
    for name, manifest, kind, text in (
            ("text", b"{", None, "not JSON"), ("large", b" " * (5 << 20), None, "at most 4.19 MB"), ("html", b"<html>", "text/html", "text/html"),
            ("old", b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+prettyjws", "not known"),
            ("both", json.dumps({**world.layout.manifest, "manifests": []}).encode(), None, "one or the other"),
            ("none", json.dumps({"manifests": []}).encode(), images.INDEX, "names no image"),
            ("arm", json.dumps({"manifests": [{"mediaType": images.MANIFEST, "digest": "sha256:" + "2" * 64, "size": 2,
                                               "platform": {"os": "linux", "architecture": "arm64"}}]}).encode(), images.INDEX, "linux/arm64"),
            ("path", json.dumps({**world.layout.manifest, "config": {**world.layout.manifest["config"], "digest": "sha256:../../x"}}).encode(), None,
             "no sha256"),
            ("heavy", json.dumps({**world.layout.manifest, "layers": [{**world.layout.layers[0], "size": (1 << 64) - 1}] * 2}).encode(), None, "67.1 MB")):
        lie(world, world.image(name), name, manifest=manifest, kind=kind)
        refused(name, text)
    refusal(lambda: world.client.get_function(FunctionName="bad"), "ResourceNotFoundException", 404)


def test_redirects(world):
    layout = world.image("elsewhere")
    digest = layout.layers[1]["digest"][7:]
    world.store.answers["/bucket/blob?signature=a%2Fb"] = (200, {}, layout.blobs[digest])
    lie(world, layout, "moved", {digest: (307, {"Location": f"/again/{digest}"}, b"")})
    world.liar.answers[f"/again/{digest}"] = (302, {"Location": f"{world.store.url}/bucket/blob?signature=a%2Fb"}, b"")
    world.liar.closed.add("/v2/moved/")
    world.create("moved", "liar.example/moved:1")
    assert world.call("moved")["word"] == "elsewhere"
    asked = dict(world.liar.asked)
    assert asked[f"/again/{digest}"] == asked[f"/v2/moved/blobs/sha256:{digest}"] and asked[f"/again/{digest}"].startswith("Basic "), asked
    assert world.store.asked == [("/bucket/blob?signature=a%2Fb", "")], ("no login is sent there", world.store.asked)
    away = Answers()
    for number, (target, kind, text) in enumerate([
            (f"{away.url}/x", DENIED, "registries: redirects"), ("file:///etc/passwd", BAD, "no address"), ("//127.0.0.1/x", BAD, "no address"),
            (f"http://{world.store.url[7:]}@127.0.0.1:1/", BAD, "no address"), (f"https://{world.store.url[7:]}/x", DENIED, "redirects"),
            ("", BAD, "no address"), ("/round", BAD, "more than 5 times")]):
        name, layout = f"moved{number}", world.image(f"moved{number}")
        digest = layout.layers[1]["digest"][7:]
        lie(world, layout, name, {digest: (302, {"Location": target}, b"")})
        world.liar.answers["/round"] = (302, {"Location": "/round"}, b"")
        said = refusal(lambda: world.create("bad", f"liar.example/{name}:1"), *kind)
        assert text in said, (target, said)
    assert not away.asked, away.asked
    away.shutdown()
    lie(world, world.image("manifest"), "manifest")
    world.liar.answers["/v2/manifest/manifests/1"] = (302, {"Location": f"{world.store.url}/manifest"}, b"")
    assert "was not given" in refusal(lambda: world.create("bad", "liar.example/manifest:1"), *BAD)


def test_challenges(world):
    def challenged(name, header):
        world.liar.answers[f"/v2/{name}/manifests/1"] = (401, {"WWW-Authenticate": header}, b"")
        return refusal(lambda: world.create("bad", f"liar.example/{name}:1"), *DENIED)

    away = Answers()
    assert "registries: tokens" in challenged("away", f'Bearer realm="{away.url}/token",service="x"')
    assert not away.asked, away.asked
    away.shutdown()
    world.liar.answers["/token?scope=repository%3Aown%3Apull&service=a%20b"] = (200, {}, b'{"token": "one\\r\\nX: y"}')
    world.liar.answers["/v2/own/manifests/1"] = (401, {"WWW-Authenticate": f'Bearer realm="{world.liar.url}/token",service="a b",scope="repository:*:*"'}, b"")
    assert "no token" in refusal(lambda: world.create("bad", "liar.example/own:1"), *LOST), "a token that is no token goes into no header"
    assert "its login is wrong" in challenged("basic", 'Basic realm="x"')
    asked = [authorization for path, authorization in world.liar.asked if path == "/v2/basic/manifests/1"]
    assert asked[0] == "" and asked[1].startswith("Basic ") and len(asked) == 2, asked
    assert "refused" in challenged("none", "")


def test_an_index_and_the_command_line(world):
    here, there = world.image("here"), world.image("there")
    here.platform, there.platform = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64"}
    config = json.loads(there.blobs[there.manifest["config"]["digest"][7:]])
    there.manifest["config"] = there.add(json.dumps({**config, "architecture": "arm64"}).encode(), images.CONFIG)
    layouts = world.folder / "index"
    files = here.files(there)
    index = json.loads(files["index.json"])
    index["mediaType"] = images.INDEX
    world.push(here, "shop/many:raw")
    world.push(there, "shop/many:arm")
    text = json.dumps(index).encode()
    request = urllib.request.Request(f"http://{world.open.host}/v2/shop/many/manifests/1.0", data=text, method="PUT", headers={"Content-Type": images.INDEX})
    try:
        urllib.request.urlopen(request).read()
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read()) from error
    done = world.deploy(f"docker://{world.open.host}/shop/many:1.0", "--runtime", "container-lambda")
    assert done.returncode == 0 and "many, version 1" in done.stdout, (done.stdout, done.stderr)
    assert world.call("many")["word"] == "here"
    got = world.client.get_function(FunctionName="many")
    assert got["Code"]["ResolvedImageUri"] == f"{world.open.host}/shop/many@sha256:{sha(text)}", got["Code"]
    done = world.deploy(f"docker://{world.open.host}/shop/many:1.0", "--runtime", "container-lambda")
    assert done.returncode == 0 and "nothing was new" in done.stdout, (done.stdout, done.stderr)
    assert "linux/arm64" in refusal(lambda: world.create("bad", f"{ECR}/shop/many:arm"), *BAD)
    place = world.folder / "with-manifest"
    place.mkdir()
    (place / "function.yaml").write_text(f"name: named\nimage: docker://{ECR}/lambda:one\nruntime: container-lambda\nenvironment: {{WORD: manifest}}\n")
    done = world.deploy(place)
    assert done.returncode == 0 and world.call("named")["word"] == "manifest", (done.stdout, done.stderr)
    layouts.mkdir()
    server = (ROOT / "tests/code/functions/container/server.py").read_bytes()
    world.push(world.image("http", entry("srv/server.py", server), Entrypoint=["/opt/python/bin/python3", "server.py"]), "shop/http:1")
    done = world.deploy(f"docker://{ECR}/shop/http:1", "--name", "http")
    assert done.returncode == 0 and "container-http" in done.stdout, (done.stdout, done.stderr)
    with urllib.request.urlopen(world.node.url + "/functions/http/a", data=b"{}") as reply:
        assert json.loads(reply.read())["path"] == "/a"
    for path, text in (("docker://shop/http:1", "names no registry"), ("docker://other.example/x:1", "registries"),
                       (f"docker://{ECR}/lambda:none", "not there")):
        done = world.deploy(path, "--name", "bad")
        assert done.returncode != 0 and text in done.stderr, (done.stdout, done.stderr)


def test_a_sam_template(world):
    place = world.folder / "sam"
    place.mkdir()
    template = ("AWSTemplateFormatVersion: '2010-09-09'\nTransform: AWS::Serverless-2016-10-31\nResources:\n  FromSam:\n    Type: AWS::Serverless::Function\n"
                "    Properties: {PackageType: Image, ImageUri: '%s', MemorySize: 256, Timeout: 30}\n  FromCloudFormation:\n"
                "    Type: AWS::Lambda::Function\n    Properties: {PackageType: Image, Code: {ImageUri: '%s'}, MemorySize: 256, Timeout: 30}\n")
    (place / "template.yaml").write_text(template % ((f"{ECR}/lambda:one",) * 2))
    done = world.deploy(place)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert world.call("from-sam")["word"] == world.call("from-cloud-formation")["word"] == "one"


def test_it_survives_a_restart_without_the_registry(world):
    world.create("kept", f"{ECR}/lambda:one")
    world.node.kill()
    world.config[ECR] = "endpoint: 'http://127.0.0.1:1'"
    world.node = world.start("node", "60s")
    world.client = world.client_of(world.node)
    assert world.call("kept")["word"] == "one"
    assert world.client.get_function(FunctionName="kept")["Code"]["ImageUri"] == f"{ECR}/lambda:one"
    world.client.update_function_configuration(FunctionName="kept", Timeout=10)
    assert world.call("kept")["word"] == "one", "a new configuration pulls nothing"


def test_a_registry_that_is_slow(world):
    layout = world.image("slow")
    digest = layout.layers[1]["digest"][7:]

    def drip(out):
        with contextlib.suppress(OSError):
            for _ in range(600):
                out.write(b"x")
                out.flush()
                time.sleep(0.1)

    lie(world, layout, "slow", {digest: (200, {"Content-Length": str(len(layout.blobs[digest]))}, drip)})
    world.node.kill()
    world.node = world.start("node", "2s")
    world.client = world.client_of(world.node)
    began = time.monotonic()
    assert "too long" in refusal(lambda: world.create("bad", "liar.example/slow:1"), *LOST)
    assert time.monotonic() - began < 20
    assert not list((world.folder / "node/uploads").iterdir()), "what was fetched of it is gone"


if __name__ == "__main__":
    main(World, dict(globals()), __doc__)
