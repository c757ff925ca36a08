#!/usr/bin/env python3
"""Dependencies of code on a real node: installed at deploy by pip and npm from the real registries, shared, recorded, and what goes wrong.

    tests/code/dependencies.py --mayfly build/mayfly [NAME …]

Like run.py: every test_… below runs against one node; NAME picks some. Exits 1 where one fails. Needs the registries in reach.
"""
import base64
import io
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import run
from run import RUNTIME, Failed, Node, check

PYTHON = "import idna\ndef handler(event, context):\n    return {'idna': idna.__version__, 'from': idna.__file__}\n"
LIMIT = 25  # seconds of a build here

# A package with a build backend of its own, so that nothing else is fetched for it. ACT runs while it is built.
BACKEND = '''import os, sys, time, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    act()
    with zipfile.ZipFile(os.path.join(folder, "own-1.0-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("own.py", "WORD = 'from its source'\\n")
        wheel.writestr("own-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: own\\nVersion: 1.0\\n")
        wheel.writestr("own-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: own\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("own-1.0.dist-info/RECORD", "own.py,,\\n")
    return "own-1.0-py3-none-any.whl"
def act():
'''


class World(run.World):
    def __init__(self, binary):
        self.binary, self.folder = binary, Path(tempfile.mkdtemp(prefix="mayfly-dependencies-"))
        os.environ["SECRET_OF_THE_NODE"] = "not for builds"
        self.data = self.folder / "data"
        (self.folder / "node.yaml").write_text(f"build: {{time_max: {LIMIT}s, memory: 1GiB}}\n")
        self.node = self.start(self.data)

    def start(self, data):
        return Node(self.binary, "--config", str(self.folder / "node.yaml"), data=str(data))

    def package(self, name, files):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return folder

    def python(self, name, requirements, source=PYTHON, more=None):
        return self.package(name, {"app.py": source, "requirements.txt": requirements, **(more or {})})

    def own(self, name, act):
        """A function that requires a package of its own folder, whose build does `act`."""
        backend = BACKEND + "".join(f"    {line}\n" for line in act.splitlines())
        project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n[project]\nname = "own"\nversion = "1.0"\n'
        return self.python(name, "./own\n", "import own\ndef handler(event, context):\n    return own.WORD\n",
                           {"own/backend.py": backend, "own/pyproject.toml": project})

    def deploys(self, folder, *options, runtime=RUNTIME, handler="app.handler", node=None):
        try:
            return True, (node or self.node).command("deploy", str(folder), "--runtime", runtime, "--handler", handler, *options)
        except Failed as failed:
            return False, str(failed)

    def installed(self, name):
        return self.node.get(f"/api/functions/{name}/versions/1/dependencies")

    def trees(self):
        return sorted(path.name for path in (self.data / "dependencies").iterdir() if not path.name.startswith(("work-", "taken-")))

    def left(self):
        return [path.name for path in (self.data / "dependencies").iterdir() if path.name.startswith("work-")]


def test_requirements_are_installed(world):
    fine, said = world.deploys(world.python("first", "idna==3.10\n"))
    check(fine and "1 pip package" in said, "a folder with requirements.txt is deployed, and says what was installed", said)
    seen = world.call({}, "first")
    check(seen["idna"] == "3.10" and seen["from"].startswith("/var/dependencies/"), "and its code finds it", seen)
    had = world.installed("first")
    check(had["kind"] == "pip" and [(d["name"], d["version"]) for d in had["installed"]] == [("idna", "3.10")], "what was installed is recorded", had)
    check(had["installed"][0]["hash"].startswith("sha256:") and len(had["installed"][0]["hash"]) == 71, "with its hash", had)
    shown = world.node.command("describe", "first", "--dependencies")
    check("idna" in shown and "3.10" in shown and "sha256:" in shown, "describe --dependencies shows it", shown)
    check(not world.left(), "nothing else of the build is left", world.left())


def test_the_same_requirements_are_installed_once(world):
    world.deploys(world.python("one", "idna==3.9\n"))
    before = world.trees()
    started = time.monotonic()
    fine, said = world.deploys(world.python("other", "idna==3.9\n", PYTHON + "# another\n"))
    took = time.monotonic() - started
    check(fine and world.trees() == before, "another function with the same file shares what is there", (said, before, world.trees()))
    check(took < 3, "and does not wait for a registry", took)
    check(world.call({}, "other")["idna"] == "3.9" and world.installed("other") == {**world.installed("one"), "function": "other"}, "it runs")
    world.deploys(world.python("one", "idna==3.8\n"))
    check(world.call({}, "one")["idna"] == "3.8" and world.call({}, "other")["idna"] == "3.9", "a change of the file installs anew, for its own alone")


def test_two_deploys_at_once(world):
    folders = [world.python(f"twin{i}", "idna==3.7\n", PYTHON + f"# {i}\n") for i in range(3)]
    before, said = set(world.trees()), []
    threads = [threading.Thread(target=lambda folder=folder: said.append(world.deploys(folder))) for folder in folders]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, len(world.node.get("/api/builds")["builds"]))
        time.sleep(0.05)
    check(all(fine for fine, _ in said) and most == 1, "deploys of the same lock wait for one build", (said, most))
    check(len(set(world.trees()) - before) == 1 and all(world.call({}, f"twin{i}")["idna"] == "3.7" for i in range(3)), "and all run by it")


def test_what_is_not_built(world):
    folder = world.python("vendored", "idna==3.6\n", "import idna\ndef handler(event, context):\n    return idna.WORD\n",
                          {"idna/__init__.py": "WORD = 'vendored'\n", "idna-3.6.dist-info/METADATA": "Name: idna\n"})
    before = world.trees()
    fine, said = world.deploys(folder)
    check(fine and world.trees() == before and world.call({}, "vendored") == "vendored", "a package that holds them (a .dist-info) is left as it is", said)
    never = world.python("never", "idna==3.5\n")
    (never / "function.yaml").write_text(f"runtime: {RUNTIME}\nhandler: app.handler\nbuild: never\n")
    world.node.command("deploy", str(never))
    reply = world.send({}, "never")  # the machine's own Python may have it
    check("/var/dependencies" not in reply.body.decode() and world.trees() == before, "build: never builds nothing", reply)
    fine, said = world.deploys(world.python("comments", "# nothing yet\n\n", "def handler(event, context):\n    return 'fine'\n"))
    check(fine and world.trees() == before, "nor does a file without a requirement", said)


def test_lambdas_api_builds_nothing(world):
    before, memory = world.trees(), io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("app.py", PYTHON)
        archive.writestr("requirements.txt", "idna==3.4\n")
    body = {"FunctionName": "from-aws", "Runtime": RUNTIME, "Handler": "app.handler", "Role": "arn:aws:iam::000000000000:role/any",
            "Code": {"ZipFile": base64.b64encode(memory.getvalue()).decode()}}
    reply = world.node.send("POST", "/2015-03-31/functions", json.dumps(body))
    check(reply.status == 201 and world.trees() == before, "CreateFunction takes the zip as it is, as on Lambda", reply)
    reply = world.node.send("PUT", "/2015-03-31/functions/first/code", json.dumps({"ZipFile": body["Code"]["ZipFile"]}))
    check(reply.status in (200, 404) and world.trees() == before, "and so does UpdateFunctionCode", reply)


def test_a_requirement_that_does_not_exist(world):
    fine, said = world.deploys(world.python("nosuch", "idna==3.10\nmayfly-has-no-such-package==1.2.3\n"))
    check(not fine and "mayfly-has-no-such-package==1.2.3" in said and "requirements.txt" in said, "the error names it and the file", said)
    check(world.node.send("GET", "/api/functions/nosuch", None).status == 404 and not world.left(), "and nothing is left", said)


def test_code_that_runs_in_a_build(world):
    canary = world.folder / "canary"
    canary.write_text("here\n")
    look = (f"found = [path for path in ({str(canary)!r}, {str(world.data)!r}, '/root/.ssh', '/etc/shadow', '/home') if os.path.exists(path)]\n"
            "found += [name for name in os.environ if 'SECRET' in name]\n"
            "found += [pid for pid in os.listdir('/proc') if pid.isdigit() and int(pid) > 1 and 'mayfly serve' in open(f'/proc/{pid}/cmdline').read()]\n"
            "raise SystemExit(f'FOUND {found}')")
    fine, said = world.deploys(world.own("looks", look))
    check(not fine and "FOUND []" in said, "a build sees neither the node's data, nor its environment, nor others' files", said)
    wipe = "import subprocess\nsubprocess.run('rm -rf --no-preserve-root / 2>/dev/null', shell=True)"
    before = world.trees()
    world.deploys(world.own("wipes", wipe))
    check(canary.read_text() == "here\n" and set(before) <= set(world.trees()), "one that removes all that it can harms itself alone")
    fine, said = world.deploys(world.python("after", "idna==3.10\n", PYTHON + "# after\n"))
    check(fine and world.call({}, "after")["idna"] == "3.10", "the next one is as it should be", said)
    fine, said = world.deploys(world.own("sound", "pass"))
    check(fine and world.call({}, "sound") == "from its source", "a package of the folder is built, and found", said)


def test_a_build_that_never_ends(world):
    started = time.monotonic()
    said = []
    slow = threading.Thread(target=lambda: said.append(world.deploys(world.own("endless", "time.sleep(10000)"))))
    slow.start()
    seen = world.node.wait(lambda: world.node.get("/api/builds")["builds"], lambda builds: any(b["line"] for b in builds), 20)
    check(seen[0]["function"] == "endless" and seen[0]["kind"] == "pip", "a build tells how far it is", seen)
    fine, other = world.deploys(world.package("beside", {"app.py": "def handler(event, context):\n    return 'beside'\n"}))
    check(fine and world.call({}, "beside") == "beside" and slow.is_alive(), "others deploy meanwhile", other)
    slow.join()
    took = time.monotonic() - started
    check(not said[0][0] and f"{LIMIT}.0 s" in said[0][1] and took < LIMIT + 20, "it is ended at its limit, and its caller is told", (took, said))
    check(not world.left(), "nothing of it is left", world.left())


def test_a_client_that_goes_away(world):
    folder = world.python("left-alone", "idna==3.3\n")
    before = set(world.trees())
    client = subprocess.Popen([str(world.binary), "--url", world.node.url, "deploy", str(folder), "--runtime", RUNTIME, "--handler", "app.handler"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    world.node.wait(lambda: world.node.get("/api/builds")["builds"], lambda builds: builds, 20)
    client.kill()
    client.wait()
    world.node.wait(lambda: set(world.trees()) - before, lambda new: len(new) == 1, LIMIT)
    fine, said = world.deploys(folder)
    check(fine and world.call({}, "left-alone")["idna"] == "3.3", "its build goes on, and serves the next who asks", said)


def test_a_full_disk(world):
    small = world.folder / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], stderr=subprocess.DEVNULL).returncode != 0:
        print("   -- not tested: this machine lets no file system be mounted")
        return
    node = world.start(small / "data")
    try:
        fine, said = world.deploys(world.python("large", "numpy==2.2.6\n", "def handler(event, context):\n    return 1\n"), node=node)
        check(not fine and "disk" in said and "make room" in said, "a build that fills the disk says so", said)
        fine, said = world.deploys(world.package("small-one", {"app.py": "def handler(event, context):\n    return 1\n"}), node=node)
        check(fine, "and leaves the node room to go on", said)
    finally:
        node.kill()
        subprocess.run(["umount", str(small)], check=False)


def test_npm(world):
    manifest = json.dumps({"name": "x", "version": "1.0.0", "dependencies": {"ms": "2.1.3"}})
    source = "const ms = require('ms');\nexports.handler = async () => ({hours: ms('2h') / 1000, from: require.resolve('ms')});\n"
    fine, said = world.deploys(world.package("node-one", {"index.js": source, "package.json": manifest}), runtime="nodejs20.x", handler="index.handler")
    check(fine and "1 npm package" in said, "a folder with package.json is deployed", said)
    check(world.call({}, "node-one") == {"hours": 7200, "from": "/var/task/node_modules/ms/index.js"}, "its code finds its packages")
    had = world.installed("node-one")
    check([(d["name"], d["version"]) for d in had["installed"]] == [("ms", "2.1.3")] and had["installed"][0]["hash"].startswith("sha512:"),
          "what was installed is recorded", had)
    fine, said = world.deploys(world.package("node-bad", {"index.js": source,
                                             "package.json": manifest.replace('"ms"', '"@mayfly-none/none"')}), runtime="nodejs20.x", handler="index.handler")
    check(not fine and "@mayfly-none" in said, "a package that is not there is named", said)


def test_after_a_restart(world):
    world.node.stop()
    shutil.rmtree(world.data / "packages")
    world.node = world.start(world.data)
    seen = world.node.wait(lambda: world.send({}, "other"), lambda reply: reply.status == 200, 30)
    check(seen.json["idna"] == "3.9", "what was installed is there after a restart")
    for tree in world.trees():
        shutil.rmtree(world.data / "dependencies" / tree)
    world.node.stop()
    world.node = world.start(world.data)
    seen = world.node.wait(lambda: world.send({}, "other"), lambda reply: reply.status == 200, 60)
    check(seen.json["idna"] == "3.9", "and is installed again where somebody removed it")


if __name__ == "__main__":
    run.main(globals(), World)
