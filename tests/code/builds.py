#!/usr/bin/env python3
"""Programs that are built at deploy on a real node: a Maven project, a Go module for Lambda and for Google's framework, what a
pyproject.toml lists; from the real registries, with what goes wrong.

    tests/code/builds.py --mayfly build/mayfly [NAME …]

Like run.py: every test_… below runs against one node; NAME picks some. A language that this machine lacks is skipped, and said.
"""
import json
import os
import shutil
import subprocess
import tempfile
import textwrap
import time
from pathlib import Path

import dependencies
import run
from run import RUNTIME, Node, check

ROOT = Path(__file__).resolve().parents[2]


class World(dependencies.World):
    def __init__(self, binary):
        self.binary, self.folder = binary, Path(tempfile.mkdtemp(prefix="mayfly-builds-"))
        os.environ["SECRET_OF_THE_NODE"] = "not for builds"
        self.data = self.folder / "data"
        (self.folder / "node.yaml").write_text("build: {time_max: 9m, memory: 2GiB}\n")
        self.node = self.start(self.data)

    def start(self, data):
        return Node(self.binary, "--config", str(self.folder / "node.yaml"), data=str(data))

    def package(self, name, files):
        return super().package(name, {path: textwrap.dedent(text) for path, text in files.items()})

    def deploys(self, folder, *options, runtime=RUNTIME, handler="app.handler", node=None):
        """A fresh build takes half a minute on a quiet machine, and minutes on a busy one."""
        try:
            return True, (node or self.node).command("deploy", str(folder), "--runtime", runtime, "--handler", handler, *options, timeout=600)
        except run.Failed as failed:
            return False, str(failed)


def without(what):
    print(f"   -- skipped: this machine has no {what}")


def has_maven():
    return shutil.which("javac") and shutil.which("mvn")


POM = """\
    <project xmlns="http://maven.apache.org/POM/4.0.0">
      <modelVersion>4.0.0</modelVersion>
      <groupId>example</groupId> <artifactId>NAME</artifactId> <version>1.0</version>
      <properties>
        <maven.compiler.source>17</maven.compiler.source> <maven.compiler.target>17</maven.compiler.target>
        <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
      </properties>
      <dependencies>DEPENDENCIES</dependencies>
      <build><plugins>PLUGINS</plugins></build>
    </project>
"""
DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version><scope>{}</scope></dependency>"
CORE = DEPENDENCY.format("com.amazonaws", "aws-lambda-java-core", "1.2.3", "provided")
GSON = DEPENDENCY.format("com.google.code.gson", "gson", "2.11.0", "compile")


def pom(name, *wanted, plugins=""):
    return POM.replace("NAME", name).replace("DEPENDENCIES", "".join(wanted)).replace("PLUGINS", plugins)


ORDERS = """\
    package example;

    import com.amazonaws.services.lambda.runtime.Context;
    import com.google.gson.JsonParser;
    import java.util.Map;

    public class Orders {
      public Map<String, Object> total(Map<String, Object> event, Context context) {
        double total = 0;
        for (var line : JsonParser.parseString((String) event.get("lines")).getAsJsonArray())
          total += line.getAsJsonObject().get("price").getAsDouble();
        return Map.of("total", total, "function", context.getFunctionName(), "from", JsonParser.class.getProtectionDomain().getCodeSource().getLocation().getPath());
      }
    }
"""


def test_maven(world):
    if not has_maven():
        return without("JDK with Maven")
    files = {"pom.xml": pom("orders", CORE, GSON), "src/main/java/example/Orders.java": ORDERS, "target/classes/stale.txt": "of another machine\n"}
    folder = world.package("orders", files)
    options = ("--memory", "512MiB")
    fine, said = world.deploys(folder, *options, runtime="java17", handler="example.Orders::total")
    check(fine and "maven packages" in said, "a folder with pom.xml is built and deployed as it is", said)
    seen = world.call({"lines": json.dumps([{"price": 2.5}, {"price": 4}])}, "orders")
    check(seen["total"] == 6.5 and seen["function"] == "orders", "its handler is called by AWS's own client, which the project does not name", seen)
    check(seen["from"] == "/var/dependencies/lib/gson-2.11.0.jar", "with the jars of its runtime scope", seen)
    had = world.installed("orders")
    found = {each["name"]: each for each in had["installed"]}
    check(had["kind"] == "maven" and found["com.google.code.gson:gson"]["version"] == "2.11.0", "what was installed is recorded", had)
    check(found["com.amazonaws:aws-lambda-java-runtime-interface-client"]["version"] == "2.9.0"
          and all(each["hash"].startswith("sha256:") and len(each["hash"]) == 71 for each in found.values()), "the client too, all with their hashes", had)
    jar = next((world.data / "dependencies").glob("*/tree/lib/gson-2.11.0.jar"))
    hashed = subprocess.run(["sha256sum", str(jar)], capture_output=True, text=True, check=True).stdout.split()[0]
    check(found["com.google.code.gson:gson"]["hash"] == f"sha256:{hashed}", "which are those of the files", (hashed, had))
    shown = world.node.command("describe", "orders", "--dependencies")
    check("com.google.code.gson:gson" in shown and "2.11.0" in shown, "describe --dependencies shows it", shown)
    left = {path.name for path in next((world.data / "dependencies").glob("*/tree")).parent.iterdir()}
    check(left == {"tree", "dependencies.json"} and not world.left(), "nothing else of the build is left", left)
    before, started = world.trees(), time.monotonic()
    fine, said = world.deploys(folder, *options, "--name", "orders-again", runtime="java17", handler="example.Orders::total")
    check(fine and world.trees() == before and time.monotonic() - started < 10, "the same sources are built once", (said, before, world.trees()))


def test_maven_says_what_is_wrong(world):
    if not has_maven():
        return without("JDK with Maven")
    missing = DEPENDENCY.format("com.mayfly.none", "no-such-thing", "9.9", "compile")
    fine, said = world.deploys(world.package("nosuch", {"pom.xml": pom("nosuch", missing), "src/main/java/A.java": "class A {}\n"}),
                               runtime="java17", handler="example.A::a")
    check(not fine and "com.mayfly.none:no-such-thing" in said and "maven" in said, "a dependency that is not there is named", said)
    fine, said = world.deploys(world.package("wrong", {"pom.xml": pom("wrong"), "src/main/java/Wrong.java": "class Wrong { int a = true; }\n"}),
                               runtime="java17", handler="Wrong::a")
    check(not fine and "Wrong.java" in said and "incompatible types" in said, "and so is an error of the compiler", said)
    fine, said = world.deploys(world.package("not-xml", {"pom.xml": "<project"}), runtime="java17", handler="A::a")
    check(not fine and "pom.xml" in said, "and a pom.xml that is none", said)
    check(not world.left() and world.node.send("GET", "/api/functions/wrong", None).status == 404, "nothing is left of them", world.left())


ANT = """\
    <plugin><groupId>org.apache.maven.plugins</groupId><artifactId>maven-antrun-plugin</artifactId><version>3.1.0</version>
      <executions><execution><phase>validate</phase><goals><goal>run</goal></goals><configuration><target>
        <exec executable="/bin/sh"><arg value="-c"/><arg value="SCRIPT"/></exec>
        <fail message="and that was all"/>
      </target></configuration></execution></executions></plugin>
"""


def test_what_a_maven_plugin_reaches(world):
    if not has_maven():
        return without("JDK with Maven")
    script = (f"for at in {world.data} {world.folder} /root /home /etc/shadow; do test -e $at &amp;&amp; echo FOUND $at; done; "
              "env | grep SECRET &amp;&amp; echo FOUND it; touch /package/x /usr/x 2&gt;/dev/null &amp;&amp; echo FOUND a place; "
              "rm -rf /build /package 2&gt;/dev/null; echo LOOKED $(id -u)")
    fine, said = world.deploys(world.package("looks", {"pom.xml": pom("looks", plugins=ANT.replace("SCRIPT", script)), "src/main/java/A.java": "class A {}\n"}),
                               runtime="java17", handler="A::a")
    check(not fine and "LOOKED" in said and "FOUND" not in said, "a plugin runs in the build's sandbox: no other files, no environment", said)
    check(not world.left(), "and nothing of it is left", world.left())


GO = """\
    package main

    import (
      "context"
      "os"

      "github.com/aws/aws-lambda-go/lambda"
    )

    type Answer struct {
      Sum  int
      Text string
      From string
    }

    func handle(ctx context.Context, numbers []int) (Answer, error) {
      text, err := os.ReadFile("words.txt")
      answer := Answer{Text: string(text), From: os.Args[0]}
      for _, number := range numbers {
        answer.Sum += number
      }
      return answer, err
    }

    func main() { lambda.Start(handle) }
"""


def tidy(folder):
    """go.sum, as whoever writes a module has it."""
    subprocess.run(["go", "mod", "tidy"], cwd=folder, check=True, timeout=300, capture_output=True)
    return folder


def test_go(world):
    if not shutil.which("go"):
        return without("go")
    folder = tidy(world.package("sums", {"go.mod": "module example.com/sums\n\ngo 1.21\n\nrequire github.com/aws/aws-lambda-go v1.47.0\n",
                                         "main.go": GO, "words.txt": "of the package\n"}))
    fine, said = world.deploys(folder, runtime="provided.al2023", handler="bootstrap")
    check(fine and "go packages" in said, "a folder with go.mod is built and deployed", said)
    seen = world.call([1, 2, 3], "sums")
    check(seen["Sum"] == 6 and seen["Text"] == "of the package\n", "its program answers, with the package's other files", seen)
    had = world.installed("sums")
    found = {each["name"]: each for each in had["installed"]}
    check(had["kind"] == "go" and found["github.com/aws/aws-lambda-go"]["version"] == "v1.47.0"
          and found["github.com/aws/aws-lambda-go"]["hash"].startswith("h1:"), "its modules are recorded, as go.sum has them", had)
    check(found["stdlib"]["version"][0].isdigit(), "and Go's own version", had)
    sums = (folder / "go.sum").read_text()
    line = next(line for line in sums.splitlines() if line.startswith("github.com/aws/aws-lambda-go v1.47.0 "))
    (folder / "go.sum").write_text(sums.replace(line, line.split(" h1:")[0] + " h1:" + "A" * 43 + "="))
    fine, said = world.deploys(folder, runtime="provided.al2023", handler="bootstrap")
    check(not fine and "checksum mismatch" in said, "a module that is not what go.sum says is refused", said)
    (folder / "go.sum").unlink()
    fine, said = world.deploys(folder, runtime="provided.al2023", handler="bootstrap")
    check(not fine and "go.sum" in said, "and so is one of which it says nothing", said)
    check(world.call([4], "sums")["Sum"] == 4 and not world.left(), "the version before goes on", world.left())


def test_go_says_what_is_wrong(world):
    if not shutil.which("go"):
        return without("go")
    module = "module example.com/wrong\n\ngo 1.21\n"
    fine, said = world.deploys(world.package("go-wrong", {"go.mod": module, "main.go": "package main\n\nfunc main() { nothing() }\n"}),
                               runtime="provided.al2023", handler="bootstrap")
    check(not fine and "main.go" in said and "undefined: nothing" in said, "the compiler's error is told", said)
    fine, said = world.deploys(world.package("go-library", {"go.mod": module, "lib.go": "package lib\n"}), runtime="provided.al2023", handler="bootstrap")
    check(not fine and "'lib'" in said and "package main" in said, "a module without a program is told so", said)
    # What cgo would hand to a compiler, and a toolchain of the module's choice, are not for a build.
    cgo = "package main\n\n// #include <stdlib.h>\nimport \"C\"\n\nfunc main() { C.abort() }\n"
    fine, said = world.deploys(world.package("go-c", {"go.mod": module, "main.go": cgo}), runtime="provided.al2023", handler="bootstrap")
    check(not fine, "C is not compiled", said)
    fine, said = world.deploys(world.package("go-newer", {"go.mod": "module example.com/newer\n\ngo 1.99\n", "main.go": "package main\n\nfunc main() {}\n"}),
                               runtime="provided.al2023", handler="bootstrap")
    check(not fine and "1.99" in said and "GOTOOLCHAIN=local" in said, "no other Go is fetched: the machine's is named", said)


HELLO = """\
    // Package hello is a function as Google's own documentation has it: no main.
    package hello

    import (
      "fmt"
      "net/http"

      "github.com/GoogleCloudPlatform/functions-framework-go/functions"
    )

    func init() { functions.HTTP("Hello", hello) }

    func hello(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello, %s", r.URL.Query().Get("name")) }
"""


OWN_MAIN = """\
    package main

    import (
      "net/http"
      "os"
    )

    func main() {
      http.ListenAndServe(":"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(r.URL.Path)) }))
    }
"""


def test_googles_framework_for_go(world):
    if not shutil.which("go"):
        return without("go")
    version = next(line.split()[1] for line in (ROOT / "examples/gcf-go/go.mod").read_text().splitlines() if "functions-framework-go" in line)
    folder = tidy(world.package("hello-go", {"go.mod": f"module example.com/hello\n\ngo 1.22\n\nrequire github.com/GoogleCloudPlatform/functions-framework-go {version}\n",
                                             "hello.go": HELLO}))
    fine, said = world.deploys(folder, runtime="functions-framework-go", handler="Hello")
    check(fine, "a package function is built with a program of the framework's", said)
    reply = world.node.send("GET", "/functions/hello-go/?name=you", None)
    check(reply.status == 200 and reply.body == b"hello, you", "and answers", reply)
    own = world.package("own-main", {"go.mod": "module example.com/own\n\ngo 1.22\n", "main.go": OWN_MAIN})
    fine, said = world.deploys(own, runtime="functions-framework-go", handler="Hello")
    reply = world.node.send("GET", "/functions/own-main/there", None)
    check(fine and reply.status == 200 and reply.body == b"/there", "one with a main of its own by that", (said, reply))


def test_pyproject(world):
    project = '[project]\nname = "x"\nversion = "1"\ndependencies = ["idna==3.10", "sniffio>=1.3; python_version >= \'3.8\'"]\n'
    source = "import idna, sniffio\ndef handler(event, context):\n    return idna.__version__\n"
    fine, said = world.deploys(world.package("project", {"app.py": source, "pyproject.toml": project}))
    check(fine and "2 pip packages" in said and world.call({}, "project") == "3.10", "what pyproject.toml lists is installed", said)
    poetry = '[tool.poetry.dependencies]\npython = "^3.8"\nidna = "^3.6"\nsniffio = {version = "~1.3", markers = "python_version >= \'3.8\'"}\n'
    fine, said = world.deploys(world.package("poetry", {"app.py": source, "pyproject.toml": poetry}))
    check(fine and "2 pip packages" in said, "and poetry's table", said)
    found = {each["name"]: each["version"] for each in world.installed("poetry")["installed"]}
    check(found["idna"].startswith("3.") and found["sniffio"].startswith("1.3"), "by its own signs for versions", found)
    before = world.trees()
    fine, said = world.deploys(world.package("tools", {"app.py": "def handler(event, context):\n    return 1\n", "pyproject.toml": "[tool.black]\nline-length = 99\n"}))
    check(fine and world.trees() == before, "one that lists nothing installs nothing", said)
    both = {"app.py": source, "pyproject.toml": project.replace("3.10", "3.9"), "requirements.txt": "idna==3.8\nsniffio\n"}
    fine, said = world.deploys(world.package("both", both))
    check(fine and world.call({}, "both") == "3.8", "requirements.txt, where it is there, alone counts", said)
    for name, text, words in (("dynamic", '[project]\nname = "x"\ndynamic = ["dependencies"]\n', "dynamic"),
                              ("broken", '[project\ndependencies = [\n[project]', "pyproject.toml"),
                              ("path", '[tool.poetry.dependencies]\nown = {path = "../own"}\n', "own"),
                              ("option", '[project]\nname = "x"\ndependencies = ["--index-url=http://127.0.0.1:9/"]\n', "no requirement")):
        fine, said = world.deploys(world.package(f"project-{name}", {"app.py": source, "pyproject.toml": text}))
        check(not fine and words in said and "not installed" in said, f"what can't be: {name}", said)


if __name__ == "__main__":
    run.main(globals(), World)
