#!/usr/bin/env python3
"""AWS's own SDK (PyPI boto3) against a node of ours: Lambda's Invoke and what there is of its control plane.

    build/venv/bin/python tests/clients/test_boto3.py --mayfly build/mayfly

Starts a node, deploys the tabular example twice, and runs every test_… function below. Needs tools/venv.sh and
`examples/get_models.py fraud`.
"""
import base64
import hashlib
import io
import json
import os
import re
import sys
import tempfile
import zipfile
from pathlib import Path

import boto3
import botocore
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
        self.folder = tempfile.TemporaryDirectory(prefix="mayfly-boto3-")
        self.binary = binary
        self.start()
        self.node.command("deploy", str(ROOT / "build/models/fraud"))
        self.node.command("deploy", str(ROOT / "build/models/fraud"), "--force")  # version 2, which "live" names now

    def start(self):
        self.node = Node(self.binary, data=self.folder.name + "/data")
        # The SDK signs with whatever keys it has; it repeats what is 429 or 5xx unless told not to.
        self.client = boto3.client("lambda", endpoint_url=self.node.url, region_name="us-east-1", aws_access_key_id="any",
                                   aws_secret_access_key="any", config=Config(retries={"total_max_attempts": 1}))

    def restart(self):
        self.client.close()
        self.node.kill()  # without a farewell: what was acknowledged is there all the same
        self.start()

    def event(self, rows=2):
        return json.dumps({"input": self.samples["rows"][:rows]})

    def close(self):
        self.client.close()
        self.node.kill()
        self.folder.cleanup()


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
             r"Memory Size: \d+ MB\tMax Memory Used: \d+ MB(\tInit Duration: [\d.]+ ms)?\n"
    found = re.fullmatch(wanted, log)
    assert found and found[1] == answer["ResponseMetadata"]["RequestId"], log


def test_invoke_dry_and_later(world):
    assert world.client.invoke(FunctionName="fraud", InvocationType="DryRun")["StatusCode"] == 204
    kept = world.client.invoke(FunctionName="fraud", InvocationType="Event", Payload=world.event())
    assert kept["StatusCode"] == 202 and kept["Payload"].read() == b"", kept
    assert world.client.invoke_async(FunctionName="fraud", InvokeArgs=world.event())["Status"] == 202
    world.node.wait(lambda: world.node.send("GET", "/metrics").body, lambda text: b'mayfly_events_total{outcome="succeeded"} 2' in text, 20)


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


def test_tags(world):
    client = world.client
    client.tag_resource(Resource=ARN + "fraud", Tags={"team": "risk", "name with blanks & more": "ü"})
    client.tag_resource(Resource=ARN + "fraud", Tags={"team": "fraud"})
    assert client.list_tags(Resource=ARN + "fraud")["Tags"] == {"team": "fraud", "name with blanks & more": "ü"}
    assert client.get_function(FunctionName="fraud")["Tags"]["team"] == "fraud"
    client.untag_resource(Resource=ARN + "fraud", TagKeys=["name with blanks & more", "nobody"])
    assert client.list_tags(Resource=ARN + "fraud")["Tags"] == {"team": "fraud"}
    refusal(lambda: client.tag_resource(Resource=ARN + "fraud", Tags={str(i): "" for i in range(50)}), "InvalidParameterValueException", 400)
    refusal(lambda: client.list_tags(Resource=ARN + "nobody"), "ResourceNotFoundException", 404)


def test_concurrency(world):
    client = world.client
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName="fraud")
    assert client.put_function_concurrency(FunctionName="fraud", ReservedConcurrentExecutions=0)["ReservedConcurrentExecutions"] == 0
    message = refusal(lambda: client.invoke(FunctionName="fraud", Payload=world.event()), "TooManyRequestsException", 429)
    assert "concurrency is set to 0" in message, message
    client.put_function_concurrency(FunctionName="fraud", ReservedConcurrentExecutions=3)
    assert client.get_function_concurrency(FunctionName="fraud")["ReservedConcurrentExecutions"] == 3
    assert client.get_function(FunctionName="fraud")["Concurrency"]["ReservedConcurrentExecutions"] == 3
    assert client.invoke(FunctionName="fraud", Payload=world.event())["ExecutedVersion"] == "2"
    client.delete_function_concurrency(FunctionName="fraud")
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName="fraud")


def test_provisioned_concurrency(world):
    client, of = world.client, {"FunctionName": "fraud", "Qualifier": "1"}
    refusal(lambda: client.get_provisioned_concurrency_config(**of), "ProvisionedConcurrencyConfigNotFoundException", 404)
    refusal(lambda: client.put_provisioned_concurrency_config(FunctionName="fraud", Qualifier="$LATEST", ProvisionedConcurrentExecutions=1),
            "InvalidParameterValueException", 400)
    made = client.put_provisioned_concurrency_config(**of, ProvisionedConcurrentExecutions=2)
    assert made["RequestedProvisionedConcurrentExecutions"] == 2 and made["Status"] in ("IN_PROGRESS", "READY"), made
    world.node.wait(lambda: client.get_provisioned_concurrency_config(**of)["Status"], lambda status: status == "READY", 20)
    assert client.get_provisioned_concurrency_config(**of)["AvailableProvisionedConcurrentExecutions"] == 2
    running = [i for i in world.node.processes("fraud") if i["version"] == 1 and i["role"] == "instance"]
    assert len(running) == 2, running  # nobody has called version 1 here: they are kept
    configs = client.list_provisioned_concurrency_configs(FunctionName="fraud")["ProvisionedConcurrencyConfigs"]
    assert [c["FunctionArn"] for c in configs] == [ARN + "fraud:1"], configs
    client.delete_provisioned_concurrency_config(**of)
    refusal(lambda: client.get_provisioned_concurrency_config(**of), "ProvisionedConcurrencyConfigNotFoundException", 404)


def test_what_becomes_of_events(world):
    client = world.client
    refusal(lambda: client.get_function_event_invoke_config(FunctionName="fraud"), "ResourceNotFoundException", 404)
    made = client.put_function_event_invoke_config(FunctionName="fraud", MaximumRetryAttempts=1, MaximumEventAgeInSeconds=600)
    assert made["MaximumRetryAttempts"] == 1 and made["FunctionArn"] == ARN + "fraud:$LATEST", made
    changed = client.update_function_event_invoke_config(FunctionName="fraud", MaximumRetryAttempts=0)
    assert (changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"]) == (0, 600), changed
    got = client.get_function_event_invoke_config(FunctionName="fraud")
    assert got["LastModified"] == changed["LastModified"] and got["MaximumRetryAttempts"] == 0, got
    client.put_function_event_invoke_config(FunctionName="fraud", Qualifier="live", MaximumRetryAttempts=2)
    assert len(client.list_function_event_invoke_configs(FunctionName="fraud")["FunctionEventInvokeConfigs"]) == 2
    told = client.put_function_event_invoke_config(FunctionName="fraud", DestinationConfig={"OnFailure": {"Destination": ARN + "fraud:live"}})
    assert told["DestinationConfig"]["OnFailure"]["Destination"] == ARN + "fraud:live", told
    refusal(lambda: client.put_function_event_invoke_config(
        FunctionName="fraud", DestinationConfig={"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:1:q"}}), "InvalidParameterValueException", 400)
    for qualifier in ("$LATEST", "live"):
        client.delete_function_event_invoke_config(FunctionName="fraud", Qualifier=qualifier)
    refusal(lambda: client.delete_function_event_invoke_config(FunctionName="fraud"), "ResourceNotFoundException", 404)


def test_policy(world):
    client = world.client
    refusal(lambda: client.get_policy(FunctionName="fraud"), "ResourceNotFoundException", 404)
    allow = {"FunctionName": "fraud", "StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com",
             "SourceArn": "arn:aws:s3:::bucket"}
    statement = json.loads(client.add_permission(**allow)["Statement"])
    assert statement == {"Sid": "s3", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "lambda:InvokeFunction",
                         "Resource": ARN + "fraud", "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"}}}, statement
    refusal(lambda: client.add_permission(**allow), "ResourceConflictException", 409)
    policy = client.get_policy(FunctionName="fraud")
    assert json.loads(policy["Policy"])["Statement"] == [statement], policy
    more = {**allow, "StatementId": "account", "Principal": "123456789012"}
    refusal(lambda: client.add_permission(**more, RevisionId="another"), "PreconditionFailedException", 412)
    client.add_permission(**more, RevisionId=policy["RevisionId"])
    refusal(lambda: client.remove_permission(FunctionName="fraud", StatementId="s3", RevisionId=policy["RevisionId"]),
            "PreconditionFailedException", 412)
    for name in ("s3", "account"):
        client.remove_permission(FunctionName="fraud", StatementId=name)
    refusal(lambda: client.remove_permission(FunctionName="fraud", StatementId="s3"), "ResourceNotFoundException", 404)
    refusal(lambda: client.get_policy(FunctionName="fraud"), "ResourceNotFoundException", 404)


def test_function_url(world):
    client = world.client
    refusal(lambda: client.get_function_url_config(FunctionName="fraud"), "ResourceNotFoundException", 404)
    made = client.create_function_url_config(FunctionName="fraud", AuthType="NONE", Cors={"AllowOrigins": ["*"]})
    assert made["FunctionUrl"].startswith(world.node.url + "/lambda-url/") and made["Cors"] == {"AllowOrigins": ["*"]}, made
    assert len(world.node.post(made["FunctionUrl"].removeprefix(world.node.url), world.event()).json["label"]) == 2  # a model's input
    refusal(lambda: client.create_function_url_config(FunctionName="fraud", AuthType="NONE"), "ResourceConflictException", 409)
    changed = client.update_function_url_config(FunctionName="fraud", Cors={"AllowOrigins": ["https://a"]})
    assert changed["CreationTime"] == made["CreationTime"] and changed["Cors"] == {"AllowOrigins": ["https://a"]}, changed
    assert changed["FunctionUrl"] == made["FunctionUrl"], changed
    of_live = client.create_function_url_config(FunctionName="fraud", Qualifier="live", AuthType="NONE")
    urls = [u["FunctionUrl"] for u in client.list_function_url_configs(FunctionName="fraud")["FunctionUrlConfigs"]]
    assert sorted(urls) == sorted([made["FunctionUrl"], of_live["FunctionUrl"]]) and len(set(urls)) == 2, urls
    for qualifier in ({}, {"Qualifier": "live"}):
        client.delete_function_url_config(FunctionName="fraud", **qualifier)
    refusal(lambda: client.get_function_url_config(FunctionName="fraud"), "ResourceNotFoundException", 404)


def test_revisions(world):
    client = world.client
    made = client.create_alias(FunctionName="fraud", Name="stable", FunctionVersion="1", Description="what is tried")
    assert made["Description"] == "what is tried", made
    changed = client.update_alias(FunctionName="fraud", Name="stable", FunctionVersion="2", RevisionId=made["RevisionId"])
    assert changed["Description"] == "what is tried" and changed["RevisionId"] != made["RevisionId"], changed
    refusal(lambda: client.update_alias(FunctionName="fraud", Name="stable", FunctionVersion="1", RevisionId=made["RevisionId"]),
            "PreconditionFailedException", 412)
    client.delete_alias(FunctionName="fraud", Name="stable")
    is_now = client.get_function_configuration(FunctionName="fraud")
    refusal(lambda: client.publish_version(FunctionName="fraud", RevisionId="another"), "PreconditionFailedException", 412)
    refusal(lambda: client.publish_version(FunctionName="fraud", CodeSha256="another"), "InvalidParameterValueException", 400)
    published = client.publish_version(FunctionName="fraud", RevisionId=is_now["RevisionId"], CodeSha256=is_now["CodeSha256"],
                                       Description="the second")
    assert (published["Version"], published["Description"]) == ("2", "the second"), published
    assert client.get_function_configuration(FunctionName="fraud")["Description"] == ""


def test_a_restart_keeps_what_is_set(world):
    client = world.client
    client.tag_resource(Resource=ARN + "fraud", Tags={"kept": "yes"})
    client.put_function_concurrency(FunctionName="fraud", ReservedConcurrentExecutions=0)
    world.restart()
    client = world.client
    assert client.list_tags(Resource=ARN + "fraud")["Tags"]["kept"] == "yes"
    refusal(lambda: client.invoke(FunctionName="fraud", Payload=world.event()), "TooManyRequestsException", 429)
    client.delete_function_concurrency(FunctionName="fraud")
    assert client.invoke(FunctionName="fraud", Payload=world.event())["ExecutedVersion"] == "2"


def test_signatures(world):
    """A node with keys of its own: botocore's signatures, in the header and presigned, are right, and nothing else is."""
    config = Path(world.folder.name) / "keys.yaml"
    config.write_text("lambda: {keys: 'other:0123456789abcdef AKEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'}\n")
    node = Node(world.binary, "--config", str(config))
    try:
        def client_of(key="AKEXAMPLE", secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"):
            return boto3.client("lambda", endpoint_url=node.url, region_name="eu-west-1", aws_access_key_id=key, aws_secret_access_key=secret,
                                config=Config(retries={"total_max_attempts": 1}))

        node.command("deploy", str(ROOT / "build/models/fraud"))
        client = client_of()
        assert client.invoke(FunctionName=ARN + "fraud:1", Payload=world.event())["ExecutedVersion"] == "1"  # a path that is encoded twice
        large = json.dumps({"input": world.samples["rows"] * (200_000 // len(world.event(1)) + 1)})
        assert len(large) > 64 << 10 and client.invoke(FunctionName="fraud", Payload=large)["StatusCode"] == 200, len(large)
        client.tag_resource(Resource=ARN + "fraud", Tags={"a b": "c&d"})
        client.untag_resource(Resource=ARN + "fraud", TagKeys=["a b", "~é+/"])                              # a query to be sorted
        assert client.list_functions(MaxItems=5)["Functions"], "no function is listed"
        refusal(lambda: client_of(key="nobody").list_functions(), "UnrecognizedClientException", 403)
        refusal(lambda: client_of(secret="another secret").list_functions(), "InvalidSignatureException", 403)
        unsigned = boto3.client("lambda", endpoint_url=node.url, region_name="eu-west-1", config=Config(signature_version=botocore.UNSIGNED))
        refusal(lambda: unsigned.invoke(FunctionName="fraud", Payload=large), "MissingAuthenticationTokenException", 403)

        url = client.generate_presigned_url("get_function", Params={"FunctionName": "fraud", "Qualifier": "1"}, ExpiresIn=60)
        path = url.removeprefix(node.url)
        assert node.send("GET", path).json["Configuration"]["Version"] == "1", node.send("GET", path)
        assert node.send("GET", path.replace("Qualifier=1", "Qualifier=live")).status == 403
        assert node.send("GET", path.replace("X-Amz-Expires=60", "X-Amz-Expires=600000")).status == 403
        assert node.send("DELETE", path).headers["x-amzn-ErrorType"] == "InvalidSignatureException"
        # The node's own API is not Lambda's: open, as it listens on loopback only.
        assert node.send("GET", "/api/functions").status == 200
    finally:
        node.kill()


ROLE = "arn:aws:iam::000000000000:role/r"


def zipped(text, name="app.py", padding=0):
    """A function's code; `padding`: bytes that no compression makes smaller."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
        if padding:
            archive.writestr("data.bin", os.urandom(padding))
    return out.getvalue()


HELLO = "import os\n\ndef handler(event, context):\n    return {'hello': event['name'], 'greeting': os.environ.get('GREETING'), 'n': %d}\n"


def called(world, **more):
    answer = world.client.invoke(FunctionName="hello", Payload='{"name": "you"}', **more)
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.loads(answer["Payload"].read())


def test_code_from_a_zip(world):
    client, first = world.client, zipped(HELLO % 1)
    made = client.create_function(FunctionName="hello", Runtime="python3.11", Role=ROLE, Handler="app.handler", Code={"ZipFile": first},
                                  Description="says hello", Timeout=5, MemorySize=256, Tags={"team": "greetings"},
                                  Environment={"Variables": {"GREETING": "Hello"}})
    try:
        sha = base64.b64encode(hashlib.sha256(first).digest()).decode()
        wanted = {"FunctionName": "hello", "FunctionArn": ARN + "hello", "Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler",
                  "CodeSize": len(first), "CodeSha256": sha, "Description": "says hello", "Timeout": 5, "MemorySize": 256, "Version": "$LATEST",
                  "Environment": {"Variables": {"GREETING": "Hello"}}, "State": "Active", "LastUpdateStatus": "Successful", "PackageType": "Zip",
                  "Architectures": ["x86_64"], "Layers": [], "EphemeralStorage": {"Size": 512},
                  "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/hello"}}
        assert {key: made.get(key) for key in wanted} == wanted, made
        assert made["ResponseMetadata"]["HTTPStatusCode"] == 201, made
        client.get_waiter("function_active_v2").wait(FunctionName="hello")
        assert called(world) == {"hello": "you", "greeting": "Hello", "n": 1}
        assert client.get_function(FunctionName="hello")["Tags"] == {"team": "greetings"}
        refusal(lambda: client.create_function(FunctionName="hello", Runtime="python3.11", Role=ROLE, Handler="app.handler",
                                               Code={"ZipFile": first}), "ResourceConflictException", 409)

        # New code, then a new configuration: each is a version, and what is called without a qualifier.
        second = zipped(HELLO % 2, padding=5 << 20)
        client.update_function_code(FunctionName="hello", ZipFile=second, DryRun=True)
        assert called(world)["n"] == 1
        refusal(lambda: client.update_function_code(FunctionName="hello", ZipFile=second, RevisionId="another"), "PreconditionFailedException", 412)
        updated = client.update_function_code(FunctionName="hello", ZipFile=second, Publish=True, RevisionId=made["RevisionId"])
        assert updated["Version"] == "2" and updated["CodeSize"] == len(second), updated
        client.get_waiter("function_updated_v2").wait(FunctionName="hello")
        assert called(world)["n"] == 2
        refusal(lambda: client.update_function_configuration(FunctionName="hello", Timeout=6, RevisionId=made["RevisionId"]),
                "PreconditionFailedException", 412)
        changed = client.update_function_configuration(FunctionName="hello", Timeout=6, Description="later",
                                                       Environment={"Variables": {"GREETING": "Hi"}})
        assert (changed["Timeout"], changed["MemorySize"], changed["Description"]) == (6, 256, "later"), changed
        assert changed["CodeSha256"] == updated["CodeSha256"] and changed["Role"] == ROLE, changed
        assert called(world) == {"hello": "you", "greeting": "Hi", "n": 2}
        assert called(world, Qualifier="1") == {"hello": "you", "greeting": "Hello", "n": 1}
        described = client.get_function_configuration(FunctionName="hello", Qualifier="1")
        assert (described["Description"], described["Timeout"]) == ("says hello", 5), described
        assert client.publish_version(FunctionName="hello")["Version"] == "3"
        assert [v["Version"] for v in client.list_versions_by_function(FunctionName="hello")["Versions"]] == ["$LATEST", "1", "2", "3"]

        world.restart()
        assert called(world) == {"hello": "you", "greeting": "Hi", "n": 2}
        assert world.client.get_function_configuration(FunctionName="hello")["Description"] == "later"
    finally:
        world.client.delete_function(FunctionName="hello")


def test_logging_config(world):
    client, json_ = world.client, {"LogFormat": "JSON", "ApplicationLogLevel": "WARN"}
    code = "import os, logging\n\ndef handler(event, context):\n    logging.info('not said')\n    logging.warning('said')\n" \
           "    return [os.environ['AWS_LAMBDA_LOG_FORMAT'], os.environ.get('AWS_LAMBDA_LOG_LEVEL')]\n"
    made = client.create_function(FunctionName="hello", Runtime="python3.11", Role=ROLE, Handler="app.handler", Code={"ZipFile": zipped(code)},
                                  LoggingConfig=json_)
    try:
        group = {"LogGroup": "/aws/lambda/hello"}
        assert made["LoggingConfig"] == json_ | group | {"SystemLogLevel": "INFO"}, made
        answer = client.invoke(FunctionName="hello", Payload="{}", LogType="Tail")
        assert json.loads(answer["Payload"].read()) == ["JSON", "WARN"], answer
        log = base64.b64decode(answer["LogResult"]).decode()
        said = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        assert [(line["level"], line["message"], line["requestId"]) for line in said] == \
            [("WARNING", "said", answer["ResponseMetadata"]["RequestId"])], log
        changed = client.update_function_configuration(FunctionName="hello", LoggingConfig={"ApplicationLogLevel": "FATAL", "SystemLogLevel": "DEBUG"})
        assert changed["LoggingConfig"] == {"LogFormat": "JSON", "ApplicationLogLevel": "FATAL", "SystemLogLevel": "DEBUG"} | group, changed
        refusal(lambda: client.update_function_configuration(FunctionName="hello", LoggingConfig={"LogFormat": "Text", "SystemLogLevel": "WARN"}),
                "InvalidParameterValueException", 400)
        changed = client.update_function_configuration(FunctionName="hello", LoggingConfig={"LogFormat": "Text"})
        assert changed["LoggingConfig"] == {"LogFormat": "Text"} | group, changed
        answer = client.invoke(FunctionName="hello", Payload="{}")
        assert json.loads(answer["Payload"].read()) == ["Text", None], answer
    finally:
        client.delete_function(FunctionName="hello")


def test_client_context(world):
    """What the caller says of a call reaches the handler: its context and its trace; of a model it changes nothing."""
    code = "import os\n\ndef handler(event, context):\n    told = context.client_context\n" \
           "    return [event, told and told.custom, told and told.env, os.environ['_X_AMZN_TRACE_ID']]\n"
    world.client.create_function(FunctionName="hello", Runtime="python3.11", Role=ROLE, Handler="app.handler", Code={"ZipFile": zipped(code)})
    trace = "Root=1-67000000-00112233445566778899aabb;Parent=0123456789abcdef;Sampled=1"
    told = base64.b64encode(json.dumps({"custom": {"who": "you\u00fc"}, "env": {"locale": "de"}}).encode()).decode()
    try:
        assert called(world, ClientContext=told)[:3] == [{"name": "you"}, {"who": "you\u00fc"}, {"locale": "de"}]
        none = called(world)
        assert none[1:3] == [None, None] and re.fullmatch("Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", none[3]), none
        reply = world.node.send("POST", "/2015-03-31/functions/hello/invocations", "{}", {"X-Amzn-Trace-Id": trace})
        assert reply.json[3] == trace, reply
        reply = world.node.send("POST", "/2015-03-31/functions/hello/invocations", json.dumps("x" * 100_000), {"X-Amzn-Trace-Id": trace})
        assert reply.json[0] == "x" * 100_000 and reply.json[3] == trace, "with an event that is more than a frame"
        message = refusal(lambda: called(world, ClientContext="%"), "InvalidParameterValueException", 400)
        assert "X-Amz-Client-Context" in message, message
        answer = world.client.invoke(FunctionName="fraud", ClientContext=told, Payload=world.event())
        assert "FunctionError" not in answer and len(json.loads(answer["Payload"].read())["label"]) == 2
    finally:
        world.client.delete_function(FunctionName="hello")


def test_code_that_is_not_taken(world):
    good = {"FunctionName": "bad", "Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler", "Code": {"ZipFile": zipped(HELLO % 1)}}
    for change, words in (({"Runtime": "python3.1"}, "python3.1"), ({"Code": {"ZipFile": b"no zip at all"}}, "Could not unzip"),
                          ({"Code": {"ZipFile": b"PK" + bytes(100)}}, "zip"), ({"Handler": "other.handler"}, "other.py"),
                          ({"Code": {"S3Bucket": "bucket", "S3Key": "key"}}, "S3Key 'key' is not in the deploy bucket"), ({"Layers": ["arn:aws:lambda:x"]}, "layers"),
                          ({"PackageType": "Image", "Code": {"ImageUri": "registry/x:1"}}, "ImageUri"), ({"FunctionName": "Bad"}, "'Bad'"),
                          ({"Architectures": ["arm64"]}, "arm64"), ({"Environment": {"Variables": {"LAMBDA_X": ""}}}, "LAMBDA_X"),
                          ({"Code": {}}, "ZipFile is missing")):
        message = refusal(lambda: world.client.create_function(**{**good, **change}), "InvalidParameterValueException", 400)
        assert words in message, (words, message)
    assert [f["FunctionName"] for f in world.client.list_functions()["Functions"]] == ["fraud"]
    refusal(lambda: world.client.update_function_code(FunctionName="fraud", ZipFile=b"PK"), "InvalidParameterValueException", 400)
    refusal(lambda: world.client.update_function_code(FunctionName="nobody", ZipFile=b"PK"), "ResourceNotFoundException", 404)


def test_what_is_not_supported_is_named(world):
    message = refusal(lambda: world.client.list_event_source_mappings(), "InvalidParameterValueException", 400)
    assert "ListEventSourceMappings is not supported" in message, message


def test_zz_delete(world):
    world.client.delete_function(FunctionName="fraud", Qualifier="1")
    assert [v["Version"] for v in world.client.list_versions_by_function(FunctionName="fraud")["Versions"]] == ["$LATEST", "2"]
    world.client.delete_function(FunctionName="fraud")
    assert world.client.list_functions()["Functions"] == []


if __name__ == "__main__":
    main(World, globals(), __doc__)
