#!/usr/bin/env python3
"""AWS's own tools that deploy, unchanged, against a node of ours: `sam deploy` and `sam delete` of the SAM CLI, `aws cloudformation
deploy` of the aws command line, and boto3 for what these don't ask: the deploy bucket, limits, refusals, a restart.

    build/venv/bin/python tests/clients/test_sam.py --mayfly build/mayfly

pip brings both tools, pinned, into build/lambda-clients, once.
"""
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import boto3
import botocore
from botocore.config import Config

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "examples"))
sys.path.insert(0, str(HERE))
from node import Node  # noqa: E402
from runner import main  # noqa: E402
from test_lambda_clients import AWSCLI, KEPT, kept  # noqa: E402

SAM = "aws-sam-cli==1.170.0"
RUNTIME = f"python3.{sys.version_info.minor}"
KEY, SECRET = "deployer", "a-secret-of-the-deployer"
HANDLER = "import os\ndef handler(event, context):\n    return {'said': os.environ.get('SAID'), 'version': context.function_version}\n"
TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Said: {Type: String, Default: hello}
Resources:
  Tools:
    Type: AWS::Serverless::LayerVersion
    Properties: {LayerName: sam-tools, ContentUri: layer/}
  Front:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code/
      Handler: app.handler
      Runtime: RUNTIME
      Timeout: 5
      Layers: [!Ref Tools]
      AutoPublishAlias: blue
      FunctionUrlConfig: {AuthType: NONE}
      Environment: {Variables: {SAID: !Ref Said}}
Outputs:
  Address: {Value: !GetAtt FrontUrl.FunctionUrl}
  Arn: {Description: of the function, Value: !GetAtt Front.Arn}
"""


class World:
    def __init__(self, binary):
        self.binary = binary
        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-sam-"))
        self.data = tempfile.mkdtemp(prefix="mayfly-data-")
        self.node = Node(binary, data=self.data)

    def restart(self, hard=False):
        if hard:
            self.node.process.kill()
            self.node.process.wait()
        self.node.kill()
        self.node = Node(self.binary, data=self.data)

    def environment(self, node=None, key="any", secret="any"):
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret,
                "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": (node or self.node).url, "AWS_PAGER": "", "SAM_CLI_TELEMETRY": "0",
                "SAM_CLI_POLL_DELAY": "0.2"}

    def sam(self, folder, *words, fails=False, **who):
        packages = kept("sam", SAM, sys.executable, "-m", "venv", "env")
        program = packages / "env/bin/sam"
        if not program.exists():
            subprocess.run([str(packages / "env/bin/pip"), "install", "-q", "--disable-pip-version-check", SAM], check=True)
        done = subprocess.run([str(program), *words], cwd=folder, env=self.environment(**who), capture_output=True, text=True, timeout=240)
        assert (done.returncode != 0) == fails, (words, done.stdout[-3000:], done.stderr[-1500:])
        return done.stdout + done.stderr

    def client(self, service, node=None, key="any", secret="any"):
        config = Config(region_name="us-east-1", retries={"total_max_attempts": 1}, signature_version="s3v4" if service == "s3" else "v4", s3={"addressing_style": "path"})
        return boto3.client(service, endpoint_url=(node or self.node).url, aws_access_key_id=key, aws_secret_access_key=secret, config=config)

    def project(self, name, template=TEMPLATE, handler=HANDLER):
        folder = self.folder / name
        for part in ("code", "layer/python"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "code/app.py").write_text(handler)
        (folder / "layer/python/tool.py").write_text("TEXT = 'of a layer'\n")
        (folder / "template.yaml").write_text(template.replace("RUNTIME", RUNTIME))
        return folder

    def deploy(self, folder, stack, *words, bucket=("--s3-bucket", "deploys"), **options):
        return self.sam(folder, "deploy", "--stack-name", stack, *bucket, "--capabilities", "CAPABILITY_IAM", *words, **options)

    def close(self):
        self.node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)


def refused(call, code, words=""):
    try:
        call()
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]
        assert found["Code"] == code and words in found["Message"], found
        return found["Message"]
    raise AssertionError(f"it was not refused with {code}")


def zipped(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def settled(cloud, stack):
    for _ in range(300):
        found = cloud.describe_stacks(StackName=stack)["Stacks"][0]
        if not found["StackStatus"].endswith("_IN_PROGRESS"):
            return found
        time.sleep(0.1)
    raise AssertionError(found)


def invoke(world, function, **what):
    told = world.client("lambda").invoke(FunctionName=function, Payload=b"{}", **what)
    return json.loads(told["Payload"].read())


def test_the_example(world):
    if not shutil.which("node"):
        print("   -- skipped: this machine has no Node.js for its second function")
        return
    folder = world.folder / "example"
    shutil.copytree(ROOT / "examples/sam", folder)
    template = folder / "template.yaml"
    template.write_text(template.read_text().replace("python3.11", RUNTIME))
    said = world.deploy(folder, "shop")
    assert "Successfully created/updated stack - shop" in said and "Events.Placed (Api)" in said, said
    order = world.node.post("/functions/shop-order-function", json.dumps({"lines": [{"price": 2.5, "count": 4}]})).json
    assert order == {"stage": "dev", "words": "words-dev", "function": "shop-order-function", "total": 10.0}, order
    world.deploy(folder, "shop", "--parameter-overrides", "Stage=prod")
    assert world.node.post("/functions/shop-order-function", json.dumps({"lines": []})).json["words"] == "words-prod"
    names = [f["FunctionName"] for f in world.client("lambda").list_functions()["Functions"]]
    assert "words-dev" not in names and "words-prod" in names, names
    world.sam(folder, "delete", "--stack-name", "shop", "--no-prompts", "--region", "us-east-1", "--s3-bucket", "deploys", "--s3-prefix", "none")
    assert world.client("lambda").list_functions()["Functions"] == []


def test_a_stack_from_deploy_to_delete(world):
    folder, cloud = world.project("whole"), world.client("cloudformation")
    said = world.deploy(folder, "whole")
    outputs = {o["OutputKey"]: o for o in cloud.describe_stacks(StackName="whole")["Stacks"][0]["Outputs"]}
    url = outputs["Address"]["OutputValue"]
    assert url in said and outputs["Arn"]["OutputValue"].endswith(":function:whole-front") and outputs["Arn"]["Description"] == "of the function"
    assert invoke(world, "whole-front", Qualifier="blue") == {"said": "hello", "version": "1"}
    assert world.node.send("GET", url.removeprefix(world.node.url)).json["said"] == "hello"
    again = world.deploy(folder, "whole", "--no-fail-on-empty-changeset")
    assert "No changes to deploy" in again, again
    (folder / "code/app.py").write_text(HANDLER.replace("'said'", "'told'"))
    world.deploy(folder, "whole", "--parameter-overrides", "Said=bye")
    assert invoke(world, "whole-front", Qualifier="blue")["told"] == "bye"
    kinds = {r["LogicalResourceId"]: r["ResourceType"] for r in cloud.list_stack_resources(StackName="whole")["StackResourceSummaries"]}
    assert kinds["FrontAliasblue"] == "AWS::Lambda::Alias" and kinds["Front"] == "AWS::Lambda::Function" and kinds["FrontRole"] == "AWS::IAM::Role", kinds
    assert "AWS::Serverless" in cloud.get_template(StackName="whole")["TemplateBody"]
    assert "AWS::Serverless" not in json.dumps(cloud.get_template(StackName="whole", TemplateStage="Processed")["TemplateBody"])
    tags = world.client("lambda").get_function(FunctionName="whole-front")["Tags"]
    assert tags["aws:cloudformation:stack-name"] == "whole", tags
    world.restart()
    cloud = world.client("cloudformation")
    kept_stack = cloud.describe_stacks(StackName="whole")["Stacks"][0]
    assert kept_stack["StackStatus"] == "UPDATE_COMPLETE" and invoke(world, "whole-front", Qualifier="blue")["told"] == "bye", kept_stack
    assert "No changes to deploy" in world.deploy(folder, "whole", "--parameter-overrides", "Said=bye", "--no-fail-on-empty-changeset")
    world.sam(folder, "delete", "--stack-name", "whole", "--no-prompts", "--region", "us-east-1")
    refused(lambda: cloud.describe_stacks(StackName="whole"), "ValidationError", "Stack with id whole does not exist")
    refused(lambda: world.client("lambda").get_function(FunctionName="whole-front"), "ResourceNotFoundException")


def test_resolve_s3(world):
    folder = world.project("managed")
    said = world.deploy(folder, "managed", bucket=("--resolve-s3",))
    assert "Successfully created/updated stack - managed" in said and "aws-sam-cli-managed-default-" in said, said
    assert invoke(world, "managed-front")["said"] == "hello"


def test_the_aws_command_line(world):
    packages = kept("awscli", AWSCLI, sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-t", ".", AWSCLI)
    folder = world.project("plain")

    def aws(*words):
        done = subprocess.run([sys.executable, str(packages / "bin/aws"), *words], cwd=folder, capture_output=True, text=True, timeout=120,
                              env={**world.environment(), "PYTHONPATH": str(packages)})
        assert done.returncode == 0, (words, done.stdout[-800:], done.stderr[-800:])
        return done.stdout

    aws("cloudformation", "package", "--template-file", "template.yaml", "--s3-bucket", "from-aws", "--output-template-file", "packaged.yaml")
    aws("cloudformation", "deploy", "--template-file", "packaged.yaml", "--stack-name", "plain", "--capabilities", "CAPABILITY_IAM")
    assert invoke(world, "plain-front")["said"] == "hello"
    told = aws("cloudformation", "deploy", "--template-file", "packaged.yaml", "--stack-name", "plain", "--capabilities", "CAPABILITY_IAM",
               "--no-fail-on-empty-changeset")
    assert "No changes to deploy" in told, told
    aws("cloudformation", "delete-stack", "--stack-name", "plain")
    aws("cloudformation", "wait", "stack-delete-complete", "--stack-name", "plain")
    assert "000000000000" in aws("sts", "get-caller-identity")


def test_a_failure_takes_everything_back(world):
    cloud, functions = world.client("cloudformation"), world.client("lambda")
    good, bad = world.project("good"), world.project("good", TEMPLATE.replace("Timeout: 5", "Timeout: 5000"))
    said = world.deploy(bad, "undone", fails=True)
    assert "ROLLBACK_COMPLETE" in said and "Timeout" in said, said
    refused(lambda: functions.get_function(FunctionName="undone-front"), "ResourceNotFoundException")
    refused(lambda: cloud.create_change_set(StackName="undone", ChangeSetName="c", TemplateBody="{}"), "ValidationError", "ROLLBACK_COMPLETE")
    cloud.delete_stack(StackName="undone")
    good = world.project("good")
    world.deploy(good, "kept")
    before = functions.get_function_configuration(FunctionName="kept-front")
    worse = TEMPLATE.replace(
        "Outputs:", "  Other:\n    Type: AWS::Serverless::Function\n    DependsOn: FrontAliasblue\n"
                    "    Properties: {CodeUri: code/, Handler: absent.handler, Runtime: RUNTIME}\nOutputs:")
    said = world.deploy(world.project("good", worse, HANDLER + "\n"), "kept", "--parameter-overrides", "Said=changed", fails=True)
    assert "UPDATE_ROLLBACK_COMPLETE" in said, said
    after = functions.get_function_configuration(FunctionName="kept-front")
    assert {k: after[k] for k in ("CodeSha256", "Environment", "Version")} == {k: before[k] for k in ("CodeSha256", "Environment", "Version")}
    assert invoke(world, "kept-front") == {"said": "hello", "version": "1"} and invoke(world, "kept-front", Qualifier="blue")["said"] == "hello"
    reasons = [e.get("ResourceStatusReason", "") for e in cloud.describe_stack_events(StackName="kept")["StackEvents"]]
    assert any("absent" in reason for reason in reasons) and any("failed to create: [Other]" in reason for reason in reasons), reasons
    assert settled(cloud, "kept")["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    world.deploy(world.project("good"), "kept", "--parameter-overrides", "Said=again")
    assert invoke(world, "kept-front")["said"] == "again"
    cloud.delete_stack(StackName="kept")


def test_what_can_not_be_made_is_named(world):
    cloud = world.client("cloudformation")

    def reason(template, **more):
        made = cloud.create_change_set(StackName="named", ChangeSetName=f"c{time.time_ns()}", ChangeSetType="CREATE", TemplateBody=template, **more)
        return cloud.describe_change_set(ChangeSetName=made["Id"]).get("StatusReason", "")

    assert "T (AWS::DynamoDB::Table)" in reason("Resources: {T: {Type: 'AWS::DynamoDB::Table'}}")
    assert "B (AWS::S3::Bucket)" in reason("Resources: {B: {Type: 'AWS::S3::Bucket'}}"), "of the SAM CLI's own stack alone"
    assert "[Absent]" in reason("Resources: {R: {Type: 'AWS::Lambda::Url', Properties: {TargetFunctionArn: !Ref Absent, AuthType: NONE}}}")
    assert "Circular" in reason("Resources: {A: {Type: 'AWS::Lambda::Url', DependsOn: B}, B: {Type: 'AWS::Lambda::Url', DependsOn: A}}")
    role = "Resources: {R: {Type: 'AWS::IAM::Role', Properties: {Path: '<&\">'}}}\nOutputs: {O: {Value: '<a>&amp;\"'}}"
    refused(lambda: reason(role), "InsufficientCapabilitiesException", "CAPABILITY_IAM")
    for template, words in (("- a", "no template"), ("Resources: {}", "At least one"), ("a: &a [*a]\nResources: {R: {Type: x}}", ""),
                            ("x: &x [1,1]\n" + "".join(f"{c}: &{c} [{','.join(['*' + b] * 9)}]\n" for b, c in zip("xabcdefgh", "abcdefghi")) +
                             "Resources: {R: {Type: x}}", "values"),
                            (json.dumps({"Resources": {f"R{i}": {"Type": "AWS::IAM::Role"} for i in range(501)}}), "500"),
                            ("Resources: {R: {Type: x}}\nx: '" + "a" * 1_100_000 + "'", "1048576"),
                            ('{"Resources":' + '{"a":' * 200 + "1" + "}" * 201, "deep"),
                            ("Transform: Other\nResources: {R: {Type: x}}", "Transform"), ("Parameters: {P: {Type: String}}\nResources: {R: {Type: x}}", "[P]")):
        refused(lambda: reason(template), "ValidationError", words)
    sub = "x"
    for _ in range(13):
        sub = {"Fn::Sub": ["${a}${a}${a}${a}", {"a": sub}]}
    begun = time.monotonic()
    assert "nested too deep" in reason(json.dumps({"Resources": {"R": {"Type": "AWS::IAM::Role", "Properties": {"Path": sub}}}}), Capabilities=["CAPABILITY_IAM"])
    assert time.monotonic() - begun < 5
    made = cloud.create_change_set(StackName="named", ChangeSetName="good", ChangeSetType="CREATE", TemplateBody=role, Capabilities=["CAPABILITY_IAM"],
                                   Tags=[{"Key": "a", "Value": "<b>&"}])
    cloud.execute_change_set(ChangeSetName=made["Id"])
    stack = settled(cloud, "named")
    assert stack["Outputs"][0]["OutputValue"] == '<a>&amp;"' and stack["Tags"] == [{"Key": "a", "Value": "<b>&"}], stack
    refused(lambda: cloud.describe_stacks(StackName="<x>&'\""), "ValidationError", "Stack with id <x>&'\" does not exist")
    refused(lambda: cloud.create_change_set(StackName="../x", ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=role), "ValidationError")
    refused(lambda: cloud.list_types(), "InvalidAction", "ListTypes")
    cloud.delete_stack(StackName="named")


def test_the_deploy_bucket(world):
    s3 = world.client("s3")
    body = os.urandom(20 << 20)
    s3.put_object(Bucket="deploys", Key="a/../../etc/<&>", Body=b"one", ContentType="text/x", Metadata={"from": "here"}, ChecksumAlgorithm="CRC32")
    got = s3.get_object(Bucket="deploys", Key="a/../../etc/<&>")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"one", "text/x", {"from": "here"}), got
    names = sorted(str(p.relative_to(world.data)) for p in Path(world.data).rglob("*") if "etc" in p.name)
    assert not names, names
    s3.upload_fileobj(io.BytesIO(body), "deploys", "large.bin")          # in parts, from 8 MiB on
    whole = io.BytesIO()
    s3.download_fileobj("deploys", "large.bin", whole)                   # in ranges
    assert whole.getvalue() == body and s3.head_object(Bucket="deploys", Key="large.bin")["ETag"].endswith('-3"')
    assert [o["Key"] for o in s3.list_objects_v2(Bucket="deploys", Prefix="a/")["Contents"]] == ["a/../../etc/<&>"]
    refused(lambda: s3.put_object(Bucket="deploys", Key="bad", Body=b"two", ChecksumCRC32="AAAAAA=="), "BadDigest")
    refused(lambda: s3.get_object(Bucket="deploys", Key="bad"), "NoSuchKey")
    refused(lambda: s3.get_object_acl(Bucket="deploys", Key="large.bin"), "NotImplemented")
    refused(lambda: s3.put_object_tagging(Bucket="deploys", Key="large.bin", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}), "NotImplemented")
    refused(lambda: s3.put_object(Bucket="deploys", Key="k" * 1025, Body=b"x"), "InvalidRequest")
    world.restart()
    s3 = world.client("s3")
    assert s3.head_object(Bucket="deploys", Key="large.bin")["ContentLength"] == len(body)
    s3.delete_objects(Bucket="deploys", Delete={"Objects": [{"Key": "large.bin"}, {"Key": "a/../../etc/<&>"}]})
    refused(lambda: s3.head_object(Bucket="deploys", Key="large.bin"), "404")
    s3.put_object(Bucket="deploys", Key="code.zip", Body=zipped(**{"app.py": HANDLER}))
    made = world.client("lambda").create_function(FunctionName="from-bucket", Runtime=RUNTIME, Handler="app.handler", Role="arn:aws:iam::000000000000:role/x",
                                                  Code={"S3Bucket": "deploys", "S3Key": "code.zip"})
    assert made["State"] == "Active" and invoke(world, "from-bucket")["version"] == "1"
    world.client("lambda").delete_function(FunctionName="from-bucket")


def test_aws_chunked(world):
    """As SDKs frame a body over TLS; here sent as it is."""
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
               "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "Content-Encoding": "aws-chunked", "x-amz-decoded-content-length": "9"}

    def put(body, key="framed", **more):
        return world.node.send("PUT", f"/deploys/{key}", body, {**headers, **more})

    assert put(b"5\r\n12345\r\n4;chunk-signature=0\r\n6789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n").status == 200
    assert world.client("s3").get_object(Bucket="deploys", Key="framed")["Body"].read() == b"123456789"
    for body in (b"9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", b"9\r\n123456789\r\n0\r\n", b"zz\r\n", b"3\r\n12345\r\n0\r\n\r\n",
                 b"8\r\n12345678\r\n0\r\n\r\n", b"f" * 600):
        told = put(body, key="broken")
        assert told.status == 400, (body, told)
    refused(lambda: world.client("s3").get_object(Bucket="deploys", Key="broken"), "NoSuchKey")
    assert world.node.send("PUT", "/deploys/unsigned", b"x", {}).status == 404, "what is not signed for S3 is none of its requests"
    assert world.node.send("GET", "/api/functions", None, {"Authorization": headers["Authorization"]}).status == 200, "the node's own paths are no buckets"


def test_signatures_and_limits(world):
    config = world.folder / "node.yaml"
    config.write_text(f"lambda: {{keys: '{KEY}:{SECRET}'}}\ndeploy_bucket: {{buckets: only-this, object_max: 1MiB, total_max: 2MiB}}\n")
    node = Node(world.binary, "--config", str(config))
    try:
        who = {"node": node, "key": KEY, "secret": SECRET}
        s3, cloud = world.client("s3", **who), world.client("cloudformation", **who)
        refused(lambda: world.client("cloudformation", node=node).describe_stacks(), "UnrecognizedClientException")
        refused(lambda: world.client("s3", node=node).list_objects_v2(Bucket="only-this"), "UnrecognizedClientException")
        refused(lambda: world.client("s3", node=node, key=KEY, secret="wrong").put_object(Bucket="only-this", Key="k", Body=b"x"), "InvalidSignatureException")
        assert node.send("POST", "/", b"Action=DescribeStacks&Version=2010-05-15", {}).status == 403
        refused(lambda: s3.put_object(Bucket="other", Key="k", Body=b"x"), "NoSuchBucket")
        s3.put_object(Bucket="only-this", Key="a b/ü+=&?", Body=b"x")
        assert s3.get_object(Bucket="only-this", Key="a b/ü+=&?")["Body"].read() == b"x"
        signed = s3.generate_presigned_url("get_object", {"Bucket": "only-this", "Key": "a b/ü+=&?"})
        assert node.send("GET", signed.removeprefix(node.url), None, {}).body == b"x"
        assert node.send("GET", signed.removeprefix(node.url).replace("Signature=", "Signature=0"), None, {}).status == 403
        for i in range(2):
            s3.put_object(Bucket="only-this", Key=f"full{i}", Body=os.urandom((1 << 20) - 100))
        refused(lambda: s3.put_object(Bucket="only-this", Key="more", Body=b"x" * 1000), "QuotaExceeded")
        refused(lambda: s3.put_object(Bucket="only-this", Key="large", Body=os.urandom(2 << 20)), "InvalidRequest", "at most")
        s3.delete_objects(Bucket="only-this", Delete={"Objects": [{"Key": "full0"}, {"Key": "full1"}]})
        said = world.deploy(world.project("signed"), "signed", bucket=("--s3-bucket", "only-this"), **who)
        assert "Successfully created/updated stack - signed" in said, said
        assert settled(cloud, "signed")["StackStatus"] == "CREATE_COMPLETE"
    finally:
        node.kill()


def test_a_node_that_dies_in_the_middle(world):
    """A change that was cut off is taken back when the next node starts; a stack that was complete stays."""
    s3, cloud = world.client("s3"), world.client("cloudformation")
    s3.put_object(Bucket="deploys", Key="slow.zip", Body=zipped(**{"app.py": HANDLER}))
    resources = {f"F{i}": {"Type": "AWS::Lambda::Function", "Properties": {
        "Code": {"S3Bucket": "deploys", "S3Key": "slow.zip"}, "Handler": "app.handler", "Runtime": RUNTIME, "Role": "arn:aws:iam::000000000000:role/x"}}
        for i in range(40)}
    made = cloud.create_change_set(StackName="cut", ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=json.dumps({"Resources": resources}))
    cloud.execute_change_set(ChangeSetName=made["Id"])
    while len(world.client("lambda").list_functions()["Functions"]) < 3:
        time.sleep(0.005)
    world.restart(hard=True)
    cloud = world.client("cloudformation")
    stack = settled(cloud, "cut")
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE", stack
    left = [f["FunctionName"] for f in world.client("lambda").list_functions()["Functions"] if f["FunctionName"].startswith("cut-")]
    assert left == [], left
    reasons = [e.get("ResourceStatusReason", "") for e in cloud.describe_stack_events(StackName="cut")["StackEvents"]]
    assert any("the node was stopped" in reason for reason in reasons), reasons
    cloud.delete_stack(StackName="cut")


if __name__ == "__main__":
    main(World, globals(), __doc__)
