#!/usr/bin/env python3
"""Answers that are streamed, by AWS's own SDK: boto3's invoke_with_response_stream, of Node.js, of a runtime that streams, and of others.

    build/venv/bin/python tests/clients/test_streams.py --mayfly build/mayfly

Needs tools/venv.sh. Without Node.js what needs it is skipped, and said.
"""
import base64
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
from node import Node  # noqa: E402
from runner import main  # noqa: E402

NODE = """
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  console.log("writes", event.do);
  if (event.do === "throw at once") throw new Error("at once");
  if (event.do === "prelude") {
    stream = awslambda.HttpResponseStream.from(stream, { statusCode: 418, headers: { "X-Own": "yes" }, cookies: ["a=1"] });
    stream.write("tea");
    return void stream.end();
  }
  stream.write("first;");
  if (event.do === "never") await new Promise(() => setInterval(() => {}, 1000));
  if (event.do === "throw") throw Object.assign(new Error("it broke"), { name: "Odd" });
  if (event.do === "long") throw new Error("x".repeat(20000));
  if (event.do === "uncaught") { setTimeout(() => { throw new Error("nobody caught it"); }, 1); await new Promise(() => {}); }
  if (event.do === "large") {
    const { Readable } = require("node:stream"), { pipeline } = require("node:stream/promises");
    await pipeline(Readable.from((function* () { for (let i = 0; i < 160; ++i) yield Buffer.alloc(65536, i); })()), stream);
    return;
  }
  await wait(1);
  stream.write("second");
  stream.end();
});
"""


class World:
    def __init__(self, binary):
        self.node = Node(binary)
        self.client = boto3.client("lambda", endpoint_url=self.node.url, region_name="us-east-1", aws_access_key_id="any",
                                   aws_secret_access_key="any", config=Config(retries={"total_max_attempts": 1}))
        runtime = (ROOT / "tests/code/functions/runtime-stream/bootstrap").read_text()
        self.make("own", "provided.al2023", "bootstrap", "bootstrap", runtime)
        self.make("plain", f"python3.{sys.version_info.minor}", "app.handler", "app.py",
                  "def handler(event, context):\n    if event.get('do') == 'fail':\n        raise ValueError('no')\n    return 'x' * event['size']\n")
        if shutil.which("node"):
            major = int(subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout[1:].split(".")[0])
            for name, timeout in (("js", 60), ("js3", 3)):
                self.make(name, next(f"nodejs{n}.x" for n in (24, 22, 20, 18) if n <= major), "app.handler", "app.js", NODE, timeout)

    def make(self, name, runtime, handler, file, text, timeout=60):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            info = zipfile.ZipInfo(file)
            info.external_attr = 0o755 << 16
            archive.writestr(info, text)
        self.client.create_function(FunctionName=name, Runtime=runtime, Role="arn:aws:iam::000000000000:role/r", Handler=handler, Timeout=timeout,
                                    MemorySize=512, Code={"ZipFile": packed.getvalue()})

    def stream(self, name, event, **more):
        answer = self.client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), **more)
        assert answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "1", answer
        return answer["EventStream"]

    def all(self, name, event, **more):
        """The payloads, joined, and how it ended."""
        body, ends = b"", []
        for message in self.stream(name, event, **more):
            if "PayloadChunk" in message:
                assert not ends, "a payload behind the end"
                body += message["PayloadChunk"]["Payload"]
            else:
                ends.append(message["InvokeComplete"])
        assert len(ends) == 1, ends
        return body, ends[0]

    def close(self):
        self.client.close()
        self.node.kill()


def without_node(world):
    if shutil.which("node"):
        return False
    print("   -- skipped: this machine has no Node.js")
    return True


def test_node_streams(world):
    if without_node(world):
        return
    assert world.all("js", {"do": "two"}) == (b"first;second", {})
    body, end = world.all("js", {"do": "two"}, LogType="Tail")
    log = base64.b64decode(end["LogResult"]).decode()
    assert body == b"first;second" and "writes two" in log and "REPORT RequestId" in log, log
    body, end = world.all("js", {"do": "large"})
    assert end == {} and body == b"first;" + b"".join(bytes([i]) * 65536 for i in range(160)), (len(body), end)
    assert world.client.invoke(FunctionName="js", Payload='{"do": "two"}')["Payload"].read() == b"first;second", "Invoke has it whole"


def test_node_is_heard_before_it_ends(world):
    if without_node(world):
        return
    messages = list(world.stream("js3", {"do": "never"}))
    assert messages[0]["PayloadChunk"]["Payload"] == b"first;", messages
    assert "Task timed out after" in messages[-1]["InvokeComplete"]["ErrorDetails"], messages


def test_node_that_fails(world):
    if without_node(world):
        return
    for what, begun, kind, words in (("throw", b"first;", "Odd", "it broke"), ("throw at once", b"", "Error", "at once"),
                                     ("long", b"first;", "Error", "x" * 500), ("uncaught", b"first;", "Error", "nobody caught it")):
        body, end = world.all("js", {"do": what})
        error = json.loads(end["ErrorDetails"])
        assert body == begun and end["ErrorCode"] == "Unhandled" and error["errorType"] == kind and words in error["errorMessage"], (what, end)
        assert world.all("js", {"do": "two"}) == (b"first;second", {}), f"after {what}"


def test_node_answers_as_http(world):
    if without_node(world):
        return
    reply = world.node.send("POST", "/functions/js", '{"do": "prelude"}', {})
    assert reply.status == 418 and reply.body == b"tea" and reply.headers["X-Own"] == "yes" and reply.headers["Set-Cookie"] == "a=1", reply
    assert world.all("js", {"do": "prelude"})[0].endswith(b"\0" * 8 + b"tea"), "this operation gives the bytes as they are"


def test_a_runtime_of_its_own(world):
    assert world.all("own", {"do": "end", "chunks": ["one;", "two"]}) == (b"one;two", {})
    body, end = world.all("own", {"do": "fail", "message": "it broke"})
    assert body == b"some" and end["ErrorCode"] == "Unhandled" and json.loads(end["ErrorDetails"])["errorMessage"] == "it broke", end
    body, end = world.all("own", {"do": "long trailers"})
    assert body == b"some" and "more than 8 KiB of chunk extensions and trailers" in end["ErrorDetails"], end
    body, end = world.all("own", {"do": "leave"})
    assert body == b"some" and "closed before it had ended" in end["ErrorDetails"], end
    body, end = world.all("own", {"do": "megabytes", "count": 30})
    assert len(body) <= 20 << 20 and "Function.ResponseSizeTooLarge" in end["ErrorDetails"], end


def test_who_leaves_ends_the_call(world):
    stream = world.stream("own", {"do": "endless"})
    assert next(iter(stream))["PayloadChunk"]["Payload"], "it has begun"
    stream.close()
    assert world.all("own", {"do": "end", "chunks": ["next"]}) == (b"next", {})


def test_what_does_not_stream(world):
    for size in (10, 100_000, 5_000_000):
        body, end = world.all("plain", {"size": size}, LogType="Tail")
        assert body == b'"' + b"x" * size + b'"' and set(end) == {"LogResult"}, (size, len(body), end)
    body, end = world.all("plain", {"do": "fail"})
    assert body == b"" and end["ErrorCode"] == "Unhandled" and json.loads(end["ErrorDetails"])["errorType"] == "ValueError", end


def test_what_is_refused(world):
    for name, more, kind in (("nobody", {}, "ResourceNotFoundException"), ("own", {"Qualifier": "7"}, "ResourceNotFoundException"),
                             ("own", {"ClientContext": "%"}, "InvalidParameterValueException")):
        try:
            world.client.invoke_with_response_stream(FunctionName=name, Payload="{}", **more)
        except ClientError as error:
            assert error.response["Error"]["Code"] == kind, error.response
        else:
            raise AssertionError(f"{name} {more} was accepted")
    assert world.client.invoke_with_response_stream(FunctionName="own", InvocationType="DryRun")["StatusCode"] == 204


if __name__ == "__main__":
    main(World, globals(), __doc__)
