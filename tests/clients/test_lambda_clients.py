#!/usr/bin/env python3
"""Lambda's other clients against a node of ours: the aws command line, AWS's SDKs for JavaScript and Go, and a template of
AWS SAM.

    build/venv/bin/python tests/clients/test_lambda_clients.py --mayfly build/mayfly

pip, npm and go bring the first three, pinned, into build/lambda-clients, once. Without Node.js or Go what needs it is skipped, and said.
"""
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "examples"))
from node import Node  # noqa: E402
from runner import main  # noqa: E402

KEPT = ROOT / "build/lambda-clients"
AWSCLI, SDK = "awscli==1.46.3", "@aws-sdk/client-lambda@3.1164.0"
GO_SDK = ("github.com/aws/aws-sdk-go-v2 v1.48.0", "github.com/aws/aws-sdk-go-v2/credentials v1.21.0",
          "github.com/aws/aws-sdk-go-v2/service/lambda v1.114.3")
RUNTIME = f"python3.{sys.version_info.minor}"
HANDLER = "def handler(event, context):\n    return {'got': event, 'version': context.function_version}\n"
STREAMS = """
export const handler = awslambda.streamifyResponse(async (event, stream) => {
  for (const part of ["one;", "two;"]) stream.write(part);
  if (event.fails) throw new Error("it broke");
  stream.end("three");
});
"""
SCRIPT = """
import { LambdaClient, InvokeCommand, CreateFunctionCommand, ListFunctionsCommand, UpdateFunctionConfigurationCommand, PublishVersionCommand,
         CreateAliasCommand, GetFunctionCommand, DeleteFunctionCommand, InvokeWithResponseStreamCommand, waitUntilFunctionActiveV2 } from "@aws-sdk/client-lambda";
import fs from "node:fs";
const [endpoint, zip, Runtime, streams, nodejs] = process.argv.slice(2), FunctionName = "from-js";
const client = new LambdaClient({ endpoint, region: "us-east-1", credentials: { accessKeyId: "any", secretAccessKey: "any" }, maxAttempts: 1 });
const send = (Command, input = {}) => client.send(new Command({ FunctionName, ...input }));
const say = {};
say.created = (await send(CreateFunctionCommand, { Runtime, Handler: "app.handler", Role: "arn:aws:iam::000000000000:role/x",
                                                   Code: { ZipFile: fs.readFileSync(zip) } })).State;
await waitUntilFunctionActiveV2({ client, maxWaitTime: 30 }, { FunctionName });
const invoked = await send(InvokeCommand, { Payload: JSON.stringify({ a: 1 }) });
say.answer = JSON.parse(Buffer.from(invoked.Payload).toString());
say.event = (await send(InvokeCommand, { InvocationType: "Event", Payload: "{}" })).StatusCode;
await send(UpdateFunctionConfigurationCommand, { Timeout: 9 });
say.version = (await send(PublishVersionCommand)).Version;
say.alias = (await send(CreateAliasCommand, { Name: "blue", FunctionVersion: say.version })).AliasArn;
say.timeout = (await send(GetFunctionCommand)).Configuration.Timeout;
say.listed = (await client.send(new ListFunctionsCommand({}))).Functions.map((f) => f.FunctionName);
await send(CreateFunctionCommand, { FunctionName: "streams", Runtime: nodejs, Handler: "index.handler", Role: "arn:aws:iam::000000000000:role/x",
                                    Code: { ZipFile: fs.readFileSync(streams) } });
say.streamed = [];
for (const fails of [false, true]) {
  const { EventStream } = await send(InvokeWithResponseStreamCommand, { FunctionName: "streams", LogType: "Tail", Payload: JSON.stringify({ fails }) });
  let text = "";
  for await (const { PayloadChunk, InvokeComplete } of EventStream) {
    if (PayloadChunk) text += Buffer.from(PayloadChunk.Payload).toString();
    else say.streamed.push([text, InvokeComplete.ErrorCode ?? null, Buffer.from(InvokeComplete.LogResult, "base64").toString().includes("REPORT")]);
  }
}
await send(DeleteFunctionCommand, { FunctionName: "streams" });
await send(DeleteFunctionCommand);
try { await send(GetFunctionCommand); } catch (error) { say.gone = error.name; }
console.log(JSON.stringify(say));
"""


class World:
    def __init__(self, binary):
        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-clients-"))
        self.node = Node(binary)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("app.py", HANDLER)
        (self.folder / "code.zip").write_bytes(packed.getvalue())

    def close(self):
        self.node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def kept(name, what, *install):
    """Installed once: the folder."""
    folder = KEPT / name
    if not (folder / "stamp").is_file() or (folder / "stamp").read_text() != what:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        subprocess.run(install, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (folder / "stamp").write_text(what)
    return folder


def test_the_aws_command_line(world):
    packages = kept("awscli", AWSCLI, sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-t", ".", AWSCLI)

    def aws(*words):
        done = subprocess.run([sys.executable, str(packages / "bin/aws"), "--endpoint-url", world.node.url, "lambda", *words],
                              capture_output=True, text=True, timeout=60, cwd=world.folder, env={
                                  "PATH": os.environ["PATH"], "PYTHONPATH": str(packages), "HOME": str(world.folder), "AWS_ACCESS_KEY_ID": "any",
                                  "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": ""})
        assert done.returncode == 0, (words, done.stderr[-600:])
        return json.loads(done.stdout) if done.stdout.strip() else None

    of = ("--function-name", "from-cli")
    made = aws("create-function", *of, "--runtime", RUNTIME, "--handler", "app.handler", "--role", "arn:aws:iam::000000000000:role/x",
               "--zip-file", "fileb://code.zip", "--environment", "Variables={STAGE=dev}")
    assert made["State"] == "Active" and made["Environment"]["Variables"] == {"STAGE": "dev"}, made
    told = aws("invoke", *of, "--payload", '{"a": 1}', "answer.json")
    answer = json.loads((world.folder / "answer.json").read_text())
    assert told["StatusCode"] == 200 and answer["got"] == {"a": 1}, (told, answer)
    assert aws("invoke", *of, "--invocation-type", "Event", "--payload", "{}", "event.json")["StatusCode"] == 202
    aws("update-function-code", *of, "--zip-file", "fileb://code.zip", "--publish")
    aws("wait", "function-updated", *of)
    version = aws("publish-version", *of)["Version"]
    alias = aws("create-alias", *of, "--name", "blue", "--function-version", version)
    assert alias["FunctionVersion"] == version, alias
    assert aws("get-alias", *of, "--name", "blue")["Name"] == "blue"
    assert "from-cli" in [f["FunctionName"] for f in aws("list-functions")["Functions"]]
    aws("delete-function", *of)


def test_the_sdk_for_javascript(world):
    if not shutil.which("npm"):
        print("   -- skipped: this machine has no npm")
        return
    folder = kept("js", SDK, "npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", ".", SDK)
    (folder / "script.mjs").write_text(SCRIPT)
    with zipfile.ZipFile(world.folder / "streams.zip", "w") as archive:
        archive.writestr("index.mjs", STREAMS)
    major = int(subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout[1:].split(".")[0])
    nodejs = next(f"nodejs{n}.x" for n in (24, 22, 20, 18) if n <= major)
    done = subprocess.run(["node", "script.mjs", world.node.url, str(world.folder / "code.zip"), RUNTIME, str(world.folder / "streams.zip"), nodejs],
                          cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1500:]
    told = json.loads(done.stdout)
    assert told["created"] == "Active" and told["answer"] == {"got": {"a": 1}, "version": "1"} and told["event"] == 202, told
    assert told["timeout"] == 9 and told["alias"].endswith(":function:from-js:blue") and "from-js" in told["listed"], told
    assert told["streamed"] == [["one;two;three", None, True], ["one;two;", "Unhandled", True]], told
    assert told["gone"] == "ResourceNotFoundException", told


def test_the_calls_of_terraform(world):
    """terraform_calls/main.go; Terraform itself and its provider are not fetched here."""
    if not shutil.which("go"):
        print("   -- skipped: this machine has no Go")
        return
    source = (HERE / "terraform_calls/main.go").read_text()
    folder = KEPT / "go"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.go").write_text(source)
    (folder / "go.mod").write_text("module terraform_calls\n\ngo 1.21\n\nrequire (\n" + "".join(f"\t{line}\n" for line in GO_SDK) + ")\n")
    subprocess.run(["go", "build", "-o", "main", "."], cwd=folder, check=True, timeout=580,
                   env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"})
    with zipfile.ZipFile(world.folder / "layer.zip", "w") as archive:
        archive.writestr("python/tool.py", "TEXT = 'of a layer'\n")
    done = subprocess.run([str(folder / "main"), world.node.url, str(world.folder / "code.zip"), str(world.folder / "layer.zip"), RUNTIME],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.endswith("all was done\n"), (done.stdout[-400:], done.stderr[-1500:])


def test_a_template_of_sam(world):
    folder = world.folder / "sam"
    shutil.copytree(ROOT / "examples/sam", folder)
    template = (folder / "template.yaml").read_text()
    if not shutil.which("node"):
        print("   -- skipped: this machine has no Node.js for its second function")
        return
    (folder / "web").mkdir()
    (folder / "web/app.py").write_text("def handler(event, context):\n    return {'statusCode': 201, 'body': event['rawPath']}\n")
    web = ("\n  Web:\n    Type: AWS::Serverless::Function\n    Properties: {CodeUri: web/, Handler: app.handler, Runtime: python3.11, "
           "FunctionUrlConfig: {AuthType: NONE, Cors: {AllowOrigins: ['*'], MaxAge: 60}}}\n")
    (folder / "template.yaml").write_text((template + web).replace("python3.11", RUNTIME))
    said = world.node.command("deploy", str(folder), timeout=120)
    assert "order-function" in said and "words-dev" in said, said
    url = said.split("its URL: ")[1].split()[0]
    again = world.node.command("deploy", str(folder), timeout=120)
    assert url in again, (url, again)
    answer = world.node.send("GET", url.removeprefix(world.node.url) + "a/b", headers={"Origin": "http://page.example"})
    assert (answer.status, answer.body, answer.headers["Access-Control-Allow-Origin"]) == (201, b"/a/b", "*"), (answer, answer.headers)
    order = world.node.post("/functions/order-function", json.dumps({"lines": [{"price": 2.5, "count": 4}]})).json
    assert order == {"stage": "dev", "words": "words-dev", "function": "order-function", "total": 10.0}, order
    words = world.node.post(f"/functions/{order['words']}", json.dumps({"text": "A cat, a hat"})).json
    assert words["words"][0] == ["a", 2] and words["stage"] == "dev", words
    assert world.node.get("/api/functions/words-dev/versions/1")["manifest"]["resources"]["timeout"] == "10s"


if __name__ == "__main__":
    main(World, globals(), __doc__)
