#!/usr/bin/env python3
"""What a developer's day is made of: mayfly new, mayfly dev, mayfly invoke --tail, against real nodes.

    tests/code/dev.py --mayfly build/mayfly [NAME …]
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from run import RUNTIME, World, check, main  # noqa: E402


class Session:
    """`mayfly dev` on a folder, with what it prints."""

    def __init__(self, world, folder, *options, runtime=RUNTIME):
        self.lines = []
        self.process = subprocess.Popen([str(world.node.binary), "dev", str(folder), "--runtime", runtime, *options], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        threading.Thread(target=self.read, daemon=True).start()
        self.url = re.search(r"http://[0-9.:]+", self.wait_for("watching")).group(0)

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, text, since=0, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in self.lines[since:]:
                if text in line:
                    return line
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError(f"{text!r} was not printed; there was: {self.lines[since:]}")

    def call(self, name, event, timeout=20):
        with urllib.request.urlopen(f"{self.url}/functions/{name}", json.dumps(event).encode(), timeout=timeout) as reply:
            return json.load(reply)

    def end(self, how=signal.SIGINT):
        self.process.send_signal(how)
        return self.process.wait(30)


def run(world, *words, folder=None, seconds=60):
    return subprocess.run([str(world.node.binary), *words, "--url", world.node.url], capture_output=True, text=True, timeout=seconds, cwd=folder)


def new(world, template, name):
    folder = world.folder / name
    done = run(world, "new", "--template", template, str(folder))
    check(done.returncode == 0, f"a folder is made from {template}", done.stderr)
    return folder


def own_tests(folder):
    done = subprocess.run([sys.executable, "-B", "-m", "unittest"], cwd=folder, capture_output=True, text=True, timeout=60)
    check(done.returncode == 0 and "OK" in done.stderr, "its own tests pass", done.stderr)


def test_new_python(world):
    folder = new(world, "python", "fresh")
    own_tests(folder)
    world.node.command("deploy", str(folder), "--runtime", RUNTIME)
    done = run(world, "invoke", "fresh", "--data", f"@{folder}/event.json", "--tail")
    check(json.loads(done.stdout) == {"message": "Hello, you!"}, "it is deployed and answers", done.stdout)


def test_new_model(world):
    folder = new(world, "model", "doubles")
    world.node.command("deploy", str(folder), "--name", "doubles")
    done = run(world, "invoke", "doubles", "--data", f"@{folder}/row.json")
    check(json.loads(done.stdout) == {"y": [[2, 4], [6, 8]]}, "it is deployed and answers", done.stdout)


def test_new_image_classifier(world):
    folder = new(world, "python-image-classifier", "looks")
    own_tests(folder)
    world.node.command("deploy", str(folder / "model"))
    world.node.command("deploy", str(folder), "--runtime", RUNTIME)
    done = run(world, "invoke", "looks", "--data", f"@{folder}/event.json")
    check(done.returncode == 0, "it is deployed and answers", done)
    labels = json.loads(done.stdout)["labels"]
    check([label["label"] for label in labels] == ["blue", "green", "red"], "with the model's labels, best first", labels)
    check(abs(labels[0]["score"] - 230 / 255) < 0.01, "and its scores", labels)


def test_new_bootstrap(world):
    if not Path("/usr/bin/curl").exists():
        print("   -- skipped: this machine has no /usr/bin/curl")
        return
    folder = new(world, "bootstrap", "shell")
    check(os.access(folder / "bootstrap", os.X_OK), "bootstrap may be run")
    world.node.command("deploy", str(folder))
    for n in range(3):
        done = run(world, "invoke", "shell", "--data", json.dumps({"n": n}), "--tail")
        check(done.returncode == 0 and json.loads(done.stdout) == {"you sent": {"n": n}}, "it is deployed and answers", done)
    check("an event of" in done.stderr, "and what it says is told", done.stderr)


def test_new_nodejs(world):
    if not shutil.which("node"):
        print("   -- skipped: this machine has no node")
        return
    folder = new(world, "nodejs", "text")
    done = subprocess.run(["node", "--test"], cwd=folder, capture_output=True, text=True, timeout=60)
    check(done.returncode == 0, "its own tests pass", done)
    world.node.command("deploy", str(folder))
    done = run(world, "invoke", "text", "--data", f"@{folder}/event.json", "--tail")
    check(json.loads(done.stdout) == {"words": 14, "sentences": 2, "top": {"dog": 2, "amused": 1, "brown": 1, "fox": 1, "jumps": 1}},
          "it is deployed and answers", done)


def test_new_java(world):
    if not (shutil.which("javac") and shutil.which("mvn")):
        print("   -- skipped: this machine has no JDK with Maven")
        return
    folder = new(world, "java", "payments")
    done = run(world, "deploy", str(folder), seconds=500)
    check(done.returncode == 0 and "maven packages" in done.stdout, "it is built at deploy", done)
    done = run(world, "invoke", "payments", "--data", f"@{folder}/event.json", "--tail")
    seen = json.loads(done.stdout)
    check(abs(seen["score"] - 0.797) < 0.01 and seen["hold"] and "another country" in seen["reasons"], "and scores a payment", done)
    calm = json.loads(run(world, "invoke", "payments", "--data", '{"amount": 12, "country": "FR", "home": "FR"}').stdout)
    check(calm["score"] < 0.05 and not calm["hold"] and not calm["reasons"], "and a calm one", calm)
    done = run(world, "invoke", "payments", "--data", '{"amount": -1}')
    check(done.returncode != 0 and "an amount below nothing" in done.stdout + done.stderr, "an error is its own", done)


def test_new_go(world):
    if not shutil.which("go"):
        print("   -- skipped: this machine has no go")
        return
    folder = new(world, "go", "trip")
    done = run(world, "deploy", str(folder), seconds=500)
    check(done.returncode == 0 and "go packages" in done.stdout, "it is built at deploy", done)
    done = run(world, "invoke", "trip", "--data", f"@{folder}/event.json", "--tail")
    seen = json.loads(done.stdout)
    check(seen["legs"] == 2 and abs(seen["km"] - 1222) < 3, "and measures a trip", done)


def test_new_lists_and_refuses(world):
    done = run(world, "new", "--list")
    check([line.split()[0] for line in done.stdout.splitlines()] == ["TEMPLATE", "bootstrap", "go", "java", "model", "nodejs", "python",
                                                                      "python-image-classifier"],
          "the templates are listed", done.stdout)
    there = world.folder / "there"
    there.mkdir()
    (there / "app.py").write_text("mine")
    done = run(world, "new", "--template", "python", str(there))
    check(done.returncode == 1 and "overwritten" in done.stderr and (there / "app.py").read_text() == "mine", "what is there stays", done.stderr)
    done = run(world, "new", "--template", "pyhton", str(world.folder / "typo"))
    check(done.returncode == 2 and "did you mean 'python'" in done.stderr, "a misspelt template is answered with the nearest", done.stderr)
    done = run(world, "new", "--template", "python", str(world.folder / "No Name"))
    check(done.returncode == 2 and not (world.folder / "No Name").exists(), "a folder that can't name a function is refused", done.stderr)


def test_tail(world):
    world.deploy("talks", "def handler(event, context):\n    print('first word')\n    print('last word')\n    return event['n']\n")
    done = run(world, "invoke", "talks", "--data", '{"n": 1}', "--tail")
    lines = done.stderr.splitlines()
    check(done.stdout == "1\n", "the answer is on stdout alone", done.stdout)
    check(lines[0].startswith("START RequestId: ") and lines[1:3] == ["first word", "last word"], "what was printed is on stderr", lines)
    check(lines[3].startswith("END RequestId: ") and "billed" in lines[4], "between START and END, and what it took", lines)
    done = run(world, "invoke", "talks", "--data", '{"n": 2}', "--tail")
    check(done.stderr.count("first word") == 1, "of this call alone", done.stderr)
    done = run(world, "invoke", "talks", "--data", "{}", "--tail")
    check(done.returncode == 1 and "KeyError" in done.stderr.splitlines()[-1], "an error is named last", done.stderr)
    check('"errorType": "KeyError"' in done.stdout and "[ERROR] KeyError: 'n'" in done.stderr, "told on stdout, and in the log", done)
    world.deploy("never", "import nothing_of_this_name\n\ndef handler(event, context):\n    return 1\n")
    done = run(world, "invoke", "never", "--data", "{}", "--tail")
    check("nothing_of_this_name" in done.stderr.split("END")[0], "why nothing started is told", done.stderr)


def test_dev(world):
    folder = new(world, "python", "work")
    session = Session(world, folder)
    session.wait_for("version 1 serves")
    check(session.call("work", {"name": "you"}) == {"message": "Hello, you!"}, "a node of its own serves the folder")
    session.wait_for("greeting you")
    check(True, "what the function prints is shown")

    app = folder / "app.py"
    source = app.read_text()
    mark, begun = len(session.lines), time.monotonic()
    app.write_text(source.replace('"message"', '"words"'))
    session.wait_for("version 2 serves", mark)
    taken = time.monotonic() - begun
    check(session.call("work", {"name": "you"}) == {"words": "Hello, you!"}, f"a change is served, {taken:.2f} s later")
    sanitized = b"__asan_init" in Path(world.node.binary).read_bytes()
    check(taken < (10 if sanitized else 1), "within a second, where no sanitizer slows it down", taken)

    mark = len(session.lines)
    app.write_text(source + "\ndef broken(:\n")
    told = session.wait_for("does not start", mark)
    check("version 2 goes on serving" in told and "app.py, line 11" in told, "an error of syntax is told with its line", told)
    check(any("def broken(:" in line for line in session.lines[mark:]), "and the line itself", session.lines[mark:])
    check(session.call("work", {"name": "you"}) == {"words": "Hello, you!"}, "the version before goes on serving")

    mark = len(session.lines)
    app.write_text("import nothing_of_this_name\n" + source)
    check("nothing_of_this_name" in session.wait_for("does not start", mark), "so is what can't be imported")

    mark = len(session.lines)
    (folder / "more").mkdir()
    time.sleep(0.3)
    (folder / "more/words.py").write_text("MORE = 'more'\n")
    app.write_text(source.replace("import os", "import os\nfrom more.words import MORE").replace('{name}!"', '{name}, {MORE}!"'))
    session.wait_for("serves at", mark)
    check(session.call("work", {})["message"] == "Hello, world, more!", "once it is right it serves, new folders included")
    mark = len(session.lines)
    (folder / "more/words.py").write_text("MORE = 'yet more'\n")
    session.wait_for("serves at", mark)
    check(session.call("work", {})["message"] == "Hello, world, yet more!", "a file below is watched, too")

    mark = len(session.lines)
    (folder / "function.yaml").write_text("runtime: python3.11\nhandlr: app.handler\n")
    check("handler" in session.wait_for("goes on serving", mark), "a mistake in function.yaml is told")

    status = session.end()
    check(status == 0, "Ctrl-C ends it well", status)
    check(no_node_at(session.url), "and its node with it")


def no_node_at(url):
    try:
        urllib.request.urlopen(url, timeout=5).close()
        return False
    except OSError:
        return True


def test_dev_that_is_killed(world):
    folder = new(world, "python", "killed")
    session = Session(world, folder)
    session.wait_for("version 1 serves")
    session.end(signal.SIGKILL)
    end = time.monotonic() + 10
    while not no_node_at(session.url) and time.monotonic() < end:
        time.sleep(0.05)
    check(no_node_at(session.url), "its node does not outlive it")


def test_dev_with_a_node_that_runs(world):
    folder = new(world, "python", "shared")
    session = Session(world, folder, "--node", world.node.url)
    session.wait_for("version 1 serves")
    check(world.call({"name": "all"}, "shared") == {"message": "Hello, all!"}, "it deploys there")
    check(not (folder / ".mayfly-dev").exists(), "and has no data of its own")
    check(session.end(signal.SIGTERM) == 0, "SIGTERM ends it well")
    check(world.call({"name": "all"}, "shared") == {"message": "Hello, all!"}, "the node goes on")


def test_dev_of_nothing(world):
    done = run(world, "dev", str(world.folder / "absent"))
    check(done.returncode == 1 and "mayfly new" in done.stderr, "a folder that is not there is told so", done.stderr)


if __name__ == "__main__":
    main(globals(), World)
