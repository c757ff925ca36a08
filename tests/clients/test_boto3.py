#!/usr/bin/env python3
"""AWS's own SDK (PyPI boto3) against a node of ours: Lambda's Invoke and what there is of its control plane.

    build/venv/bin/python tests/clients/test_boto3.py --mayfly build/mayfly

Starts a node, deploys the tabular example twice, and runs every test_… function below. Needs tools/venv.sh and
`examples/get_models.py fraud`.
"""
import base64
import hashlib
import json
import re
import sys
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
from node import Node  # noqa: E402
from runner import main  # noqa: E402

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"


class World:
    """What the tests share: a node with two versions of a function, and the client."""

    def __init__(self, binary):
        self.samples = json.loads((ROOT / "build/models/samples/fraud/samples.json").read_text())
        self.node = Node(binary)
        self.node.command("deploy", str(ROOT / "build/models/fraud"))
        self.node.command("deploy", str(ROOT / "build/models/fraud"), "--force")  # version 2, which "live" names now
        # The SDK signs with whatever keys it has; it repeats what is 429 or 5xx unless told not to.
        self.client = boto3.client("lambda", endpoint_url=self.node.url, region_name="us-east-1", aws_access_key_id="any",
                                   aws_secret_access_key="any", config=Config(retries={"total_max_attempts": 1}))

    def event(self, rows=2):
        return json.dumps({"input": self.samples["rows"][:rows]})

    def close(self):
        self.client.close()
        self.node.kill()


def refusal(action, error_type, status):
    """The message of a refusal with this type and status; that none came is a failure."""
    try:
        action()
    except ClientError as error:
        assert error.response["Error"]["Code"] == error_type, error.response
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status, error.response
        assert error.response["Error"]["Message"], "an error without a message"
        return error.response["Error"]["Message"]
    raise AssertionError("it was accepted")


def test_invoke(world):
    answer = world.client.invoke(FunctionName="fraud", Payload=world.event())
    assert answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "2" and "FunctionError" not in answer, answer
    payload = json.loads(answer["Payload"].read())
    assert payload == world.node.post("/functions/fraud", world.event()).json, payload
    assert len(payload["label"]) == 2, payload


def test_invoke_by_every_name(world):
    for name, qualifier, version in (("fraud:1", None, "1"), ("fraud", "1", "1"), ("fraud", "live", "2"), (ARN + "fraud", None, "2"),
                                     (ARN + "fraud:1", None, "1"), ("000000000000:function:fraud", "1", "1"), ("fraud", "$LATEST", "2")):
        answer = world.client.invoke(FunctionName=name, Payload=world.event(), **({"Qualifier": qualifier} if qualifier else {}))
        assert answer["ExecutedVersion"] == version, (name, qualifier, answer["ExecutedVersion"])
    refusal(lambda: world.client.invoke(FunctionName="fraud:1", Qualifier="2"), "InvalidParameterValueException", 400)


def test_invoke_tells_the_log(world):
    answer = world.client.invoke(FunctionName="fraud", LogType="Tail", Payload=world.event())
    log = base64.b64decode(answer["LogResult"]).decode()
    wanted = r"START RequestId: (\S+) Version: 2\nEND RequestId: \1\nREPORT RequestId: \1\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\t" \
             r"Memory Size: \d+ MB(\tInit Duration: [\d.]+ ms)?\n"
    found = re.fullmatch(wanted, log)
    assert found and found[1] == answer["ResponseMetadata"]["RequestId"], log


def test_invoke_dry_and_later(world):
    assert world.client.invoke(FunctionName="fraud", InvocationType="DryRun")["StatusCode"] == 204
    message = refusal(lambda: world.client.invoke(FunctionName="fraud", InvocationType="Event", Payload=world.event()),
                      "InvalidParameterValueException", 400)
    assert "RequestResponse" in message, message


def test_a_function_that_fails_is_an_answer(world):
    answer = world.client.invoke(FunctionName="fraud", Payload='{"input": [[1, 2]]}')
    assert answer["StatusCode"] == 200 and answer["FunctionError"] == "Unhandled", answer
    error = json.loads(answer["Payload"].read())
    assert error["errorType"] == "Mayfly.invalid_argument" and "input" in error["errorMessage"], error


def test_what_is_not_there(world):
    for action in (lambda: world.client.invoke(FunctionName="nobody"), lambda: world.client.get_function(FunctionName="nobody"),
                   lambda: world.client.invoke(FunctionName="fraud", Qualifier="7"),
                   lambda: world.client.get_alias(FunctionName="fraud", Name="nobody")):
        refusal(action, "ResourceNotFoundException", 404)


def test_functions(world):
    functions = world.client.list_functions()["Functions"]
    assert [f["FunctionName"] for f in functions] == ["fraud"], functions
    described = world.client.get_function(FunctionName="fraud")["Configuration"]
    configuration = world.client.get_function_configuration(FunctionName="fraud")
    assert described == functions[0] == {key: configuration[key] for key in described}, configuration
    assert described["FunctionArn"] == ARN + "fraud" and described["Version"] == "$LATEST" and described["State"] == "Active", described
    model = next((ROOT / "build/models/fraud").glob("*.onnx")).read_bytes()
    assert described["CodeSha256"] == base64.b64encode(hashlib.sha256(model).digest()).decode(), described
    assert world.client.get_function(FunctionName="fraud", Qualifier="1")["Configuration"]["FunctionArn"] == ARN + "fraud:1"
    assert world.client.get_account_settings()["AccountUsage"]["FunctionCount"] == 1
    world.client.get_waiter("function_active_v2").wait(FunctionName="fraud")


def test_versions_in_pages(world):
    pages = world.client.get_paginator("list_versions_by_function").paginate(FunctionName="fraud", PaginationConfig={"PageSize": 2})
    pages = [[v["Version"] for v in page["Versions"]] for page in pages]
    assert pages == [["$LATEST", "1"], ["2"]], pages
    assert world.client.publish_version(FunctionName="fraud")["Version"] == "2"


def test_aliases(world):
    made = world.client.create_alias(FunctionName="fraud", Name="canary", FunctionVersion="1",
                                     RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}})
    assert made["AliasArn"] == ARN + "fraud:canary" and made["FunctionVersion"] == "1", made
    assert made["RoutingConfig"]["AdditionalVersionWeights"] == {"2": 0.25}, made
    refusal(lambda: world.client.create_alias(FunctionName="fraud", Name="canary", FunctionVersion="1"), "ResourceConflictException", 409)
    refusal(lambda: world.client.create_alias(FunctionName="fraud", Name="other", FunctionVersion="9"), "ResourceNotFoundException", 404)
    moved = world.client.update_alias(FunctionName="fraud", Name="canary", FunctionVersion="2")
    assert moved["FunctionVersion"] == "2" and "RoutingConfig" not in moved, moved
    assert world.client.invoke(FunctionName="fraud", Qualifier="canary", Payload=world.event())["ExecutedVersion"] == "2"
    assert {a["Name"] for a in world.client.list_aliases(FunctionName="fraud")["Aliases"]} == {"live", "canary"}
    assert world.client.list_aliases(FunctionName="fraud", FunctionVersion="1")["Aliases"] == []
    refusal(lambda: world.client.delete_function(FunctionName="fraud", Qualifier="2"), "ResourceConflictException", 409)
    world.client.delete_alias(FunctionName="fraud", Name="canary")
    world.client.delete_alias(FunctionName="fraud", Name="canary")  # again: it is gone all the same
    refusal(lambda: world.client.get_alias(FunctionName="fraud", Name="canary"), "ResourceNotFoundException", 404)


def test_what_is_not_supported_is_named(world):
    message = refusal(lambda: world.client.create_function(FunctionName="f", Role="arn:aws:iam::000000000000:role/r", Runtime="python3.11",
                                                           Handler="a.b", Code={"ZipFile": b"PK"}), "InvalidParameterValueException", 400)
    assert "CreateFunction is not supported" in message and "mayfly deploy" in message, message
    refusal(lambda: world.client.put_function_concurrency(FunctionName="fraud", ReservedConcurrentExecutions=1),
            "InvalidParameterValueException", 400)


def test_zz_delete(world):
    world.client.delete_function(FunctionName="fraud", Qualifier="1")
    assert [v["Version"] for v in world.client.list_versions_by_function(FunctionName="fraud")["Versions"]] == ["$LATEST", "2"]
    world.client.delete_function(FunctionName="fraud")
    assert world.client.list_functions()["Functions"] == []


if __name__ == "__main__":
    main(World, globals(), __doc__)
