#!/usr/bin/env python3
"""Function URLs as AWS's own SDK (PyPI boto3) configures them and botocore's signer signs requests to them, against a node of ours with keys.

    build/venv/bin/python tests/clients/test_function_urls.py --mayfly build/mayfly

Needs tools/venv.sh.
"""
import json
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import boto3
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
from node import Node  # noqa: E402
from runner import main  # noqa: E402
from test_boto3 import refusal, zipped  # noqa: E402

RUNTIME = f"python3.{sys.version_info.minor}"
KEY, SECRET = "AKEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HANDLER = """
def handler(event, context):
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": event}
"""


class World:
    def __init__(self, binary):
        self.folder = tempfile.TemporaryDirectory(prefix="mayfly-urls-")
        config = Path(self.folder.name) / "keys.yaml"
        config.write_text(f"lambda: {{keys: '{KEY}:{SECRET}'}}\n")
        self.binary = binary
        self.node = Node(binary, "--config", str(config))
        self.client = self.client_of(self.node)
        self.client.create_function(FunctionName="web", Runtime=RUNTIME, Role="arn:aws:iam::000000000000:role/r", Handler="app.handler",
                                    Code={"ZipFile": zipped(HANDLER)}, Timeout=10, MemorySize=256)
        made = self.client.create_function_url_config(FunctionName="web", AuthType="AWS_IAM")
        assert made["AuthType"] == "AWS_IAM" and made["InvokeMode"] == "BUFFERED", made
        self.url = made["FunctionUrl"]
        self.id = self.url.rstrip("/").rsplit("/", 1)[1]

    @staticmethod
    def client_of(node):
        return boto3.client("lambda", endpoint_url=node.url, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET,
                            config=Config(retries={"total_max_attempts": 1}))

    def signed(self, method="GET", below="", body=b"", headers=None, auth=SigV4Auth, secret=SECRET, key=KEY, service="lambda"):
        request = AWSRequest(method=method, url=self.url + below, data=body, headers=headers or {})
        auth(Credentials(key, secret), service, "us-east-1").add_auth(request)
        return request

    def send(self, request, **changed):
        """(status, headers, JSON) of what was signed, some of it changed after."""
        method, url = changed.get("method", request.method), changed.get("url", request.url)
        asked = urllib.request.Request(url, changed.get("body", request.data) or None, {**dict(request.headers), **changed.get("headers", {})}, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as reply:
                return reply.status, reply.headers, json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, error.headers, json.loads(error.read() or b"null")

    def close(self):
        self.client.close()
        self.node.kill()
        self.folder.cleanup()


def test_what_is_signed_arrives(world):
    status, _, event = world.send(world.signed("POST", "a%20b/c?x=1&y=%26", b'{"n": 1}', {"Content-Type": "application/json"}))
    assert status == 200 and event["body"] == '{"n": 1}' and event["rawPath"] == "/a%20b/c", (status, event)
    context = event["requestContext"]
    assert context["authorizer"]["iam"]["accessKey"] == KEY and context["accountId"] == "000000000000", context
    assert "authorization" not in event["headers"] and event["headers"]["x-amz-date"], event["headers"]
    status, _, event = world.send(world.signed(below="?x=1", auth=SigV4QueryAuth))           # presigned
    assert status == 200 and event["queryStringParameters"]["x"] == "1" and event["requestContext"]["authorizer"]["iam"]["accessKey"] == KEY, event
    status, _, event = world.send(world.signed("PUT", "", b"\x00" * 200_000))                # one that travels in a file
    assert status == 200 and event["isBase64Encoded"], status


def test_what_is_not_is_forbidden(world):
    request = world.signed("POST", "p?x=1", b"body")
    for seen in (world.send(request, method="PUT"), world.send(request, url=request.url + "2"), world.send(request, body=b"other"),
                 world.send(request, url=request.url.replace("/p?", "/q?")), world.send(world.signed(secret="another secret of theirs")),
                 world.send(world.signed(key="nobody")), world.send(world.signed(service="s3")),
                 world.send(AWSRequest("GET", world.url, headers={})), world.send(AWSRequest("GET", world.url, headers={"Authorization": "Bearer x"}))):
        status, headers, body = seen
        assert status == 403 and body == {"Message": "Forbidden"} and headers["x-amzn-ErrorType"].endswith("Exception"), seen
    assert world.send(request)[0] == 200, "as it was signed it is let in"


def test_by_host(world):
    host = f"{world.id}.lambda-url.us-east-1.on.aws"
    request = AWSRequest("GET", f"http://{host}/2015-03-31/functions?a=b", headers={})
    SigV4Auth(Credentials(KEY, SECRET), "lambda", "us-east-1").add_auth(request)
    path = request.url.removeprefix(f"http://{host}")
    status, _, event = world.send(request, url=world.node.url + path, headers={"Host": host})
    assert status == 200 and event["rawPath"] == "/2015-03-31/functions" and event["requestContext"]["domainName"] == host, (status, event)


def test_none_is_open_and_changes(world):
    changed = world.client.update_function_url_config(FunctionName="web", AuthType="NONE", Cors={"AllowOrigins": ["*"]})
    assert changed["FunctionUrl"] == world.url and changed["Cors"] == {"AllowOrigins": ["*"]}, changed
    status, _, event = world.send(AWSRequest("GET", world.url, headers={"Authorization": "Bearer x"}))
    assert status == 200 and event["headers"]["authorization"] == "Bearer x" and event["requestContext"]["accountId"] == "anonymous", event
    world.client.update_function_url_config(FunctionName="web", AuthType="AWS_IAM")
    assert world.send(AWSRequest("GET", world.url, headers={}))[0] == 403


def test_without_keys_nobody_signs(world):
    node = Node(world.binary)
    try:
        client = world.client_of(node)
        client.create_function(FunctionName="web", Runtime=RUNTIME, Role="arn:aws:iam::000000000000:role/r", Handler="app.handler",
                               Code={"ZipFile": zipped(HANDLER)})
        refusal(lambda: client.create_function_url_config(FunctionName="web", AuthType="AWS_IAM"), "InvalidParameterValueException", 400)
        made = client.create_function_url_config(FunctionName="web", AuthType="NONE", InvokeMode="RESPONSE_STREAM")
        assert made["InvokeMode"] == "RESPONSE_STREAM", made
    finally:
        node.kill()


if __name__ == "__main__":
    main(World, dict(globals()), __doc__)
