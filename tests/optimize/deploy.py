#!/usr/bin/env python3
"""mayfly deploy --optimize from outside: the original serves while its node makes it smaller in the background, what passes the gate is a version
beside it that the alias moves to, one command goes back, what fails moves nothing, and a node that ends goes on. The real binary, a node on loopback.

    build/venv/bin/python tests/optimize/deploy.py --mayfly build/mayfly [NAME …]
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
from node import Node  # noqa: E402
from run import PATIENCE, Skip, World as Digits, check, main  # noqa: E402

import onnx  # noqa: E402


def patiently(holds, what):
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            check(False, what + " in time")
        time.sleep(0.1)
    print(f"   ok {what}", flush=True)


class World(Digits):
    def __init__(self, binary):
        super().__init__(binary)
        self.data_folder = tempfile.mkdtemp(prefix="mayfly-deploy-optimized-")
        self.scratch = self.folder / "scratch"
        self.scratch.mkdir()
        self.node = Node(binary, data=self.data_folder)

    def __del__(self):
        if hasattr(self, "node"):
            self.node.kill()
            shutil.rmtree(self.data_folder, ignore_errors=True)

    def deploy(self, path, *options, status=0):
        done = subprocess.run([self.binary, "deploy", str(path), *map(str, options), "--url", self.node.url, "--json"], capture_output=True,
                              text=True, timeout=PATIENCE, env={"TMPDIR": str(self.scratch), "PATH": "/usr/bin:/bin"})
        check(done.returncode == status, f"deploy {' '.join(map(str, options))} ends with {status}", done.stdout[-500:] + done.stderr[-1000:])
        check(not list(self.scratch.iterdir()), "and leaves nothing behind")
        return json.loads(done.stdout) if status == 0 else done.stderr

    def alias(self, name):
        view = self.node.get(f"/api/functions/{name}")
        return {alias["name"]: alias["weights"] for alias in view["aliases"]}["live"], [version["version"] for version in view["versions"]]

    def versions(self, name):
        return self.node.get(f"/api/functions/{name}")["versions"]

    def history(self, name):
        return self.node.get(f"/api/functions/{name}/optimizations")["optimizations"]

    def ended(self, name):
        """The newest search, once it has ended."""
        patiently(lambda: self.history(name) and self.history(name)[0]["state"] not in ("waiting", "running"), f"the search for {name} ends")
        return self.history(name)[0]

    def right(self, name):
        rows = self.node.post(f"/functions/{name}", json.dumps({"pixels": self.x[:200].tolist()})).json
        answers = rows["probabilities"] if "probabilities" in rows else rows["outputs"][0]
        return sum(row.index(max(row)) == label for row, label in zip(answers, self.y.tolist())) / 200


def test_the_smaller_one_serves_and_one_command_goes_back(world):
    told = world.deploy(world.digits, "--name", "digits", "--optimize", "int8-dynamic,compile", "--goal", "size", "--data", world.data, "--wait")
    found = told["optimization"]
    check(found["state"] == "done" and (told["original"]["version"], found["optimized"]) == (1, 2), "what passed is a version beside the original", found)
    first, second = world.versions("digits")
    check(second["size"] < 0.35 * first["size"], f"{first['size']} bytes became {second['size']}: under 35 %")
    check(world.alias("digits") == ([{"version": 2, "share": 1.0}], [1, 2]), "the alias names the smaller one, the original stays", world.alias("digits"))
    check(world.right("digits") > 0.9, "it answers right")
    history = world.history("digits")
    check([one["version"] for one in history] == [1] and history[0]["optimized"] == 2, "the node keeps what was found", history)
    shown = world.node.command("optimize", "history", "digits")
    check("int8-dynamic,compile" in shown and "passed, taken" in shown and "optimised as version 2" in shown, "and shows every candidate", shown)
    again = world.deploy(world.digits, "--name", "digits", "--optimize", "int8-dynamic,compile", "--data", world.data)
    check(again["original"]["unchanged"] and again["optimization"] == found, "the same once more is nothing new", again["original"])
    check(world.alias("digits") == ([{"version": 2, "share": 1.0}], [1, 2]), "and moves no alias back")
    world.node.command("rollback", "digits")
    check(world.alias("digits")[0] == [{"version": 1, "share": 1.0}], "one command goes back")
    check(world.right("digits") > 0.9, "and the original answers")
    check(not list(Path(world.data_folder, "optimizations").iterdir()), "nothing of the search stays on the disk")


def test_the_command_does_not_wait(world):
    told = world.deploy(world.digits, "--name", "behind", "--optimize", "int8-dynamic", "--data", world.data)
    check(told["optimization"]["state"] in ("waiting", "running"), "the command comes back while the node searches", told["optimization"])
    check(world.right("behind") > 0.9, "the original answers meanwhile")
    world.ended("behind")
    check(world.alias("behind")[0] == [{"version": 2, "share": 1.0}], "the alias moves by itself")
    lines = world.node.command("logs", "behind")
    check("optimised as version 2" in lines, "the log says so", lines)


def test_a_manifest_wants_it(world):
    folder = world.folder / "wants"
    folder.mkdir()
    shutil.copy(world.digits, folder / "digits.onnx")
    shutil.copy(world.data, folder / "samples.npz")
    manifest = "name: wants\noptimize:\n  recipe: [int8-dynamic]\n  goal: size\n  accuracy_drop_max: 2%\n  data: samples.npz\n"
    (folder / "function.yaml").write_text(manifest)
    world.deploy(folder)
    found = world.ended("wants")
    check(found["optimized"] == 2 and found["labelled"], "a deploy begins it, with the samples of the package", found)
    check(world.alias("wants") == ([{"version": 2, "share": 1.0}], [1, 2]), "and what was made begins no other", world.alias("wants"))
    check(world.deploy(folder)["unchanged"], "the same folder once more is nothing new")
    for line, holds in (("  goal: beauty", "latency, size, cost"), ("  data: none.npz", "none.npz"), ("  recipe: int9", "int9"),
                        ("  alias: live", "line 3"), ("  gaol: size", "goal"), ("  canary: 0", "above 0")):
        (folder / "function.yaml").write_text("name: wants\noptimize:\n" + line + "\n")
        told = world.deploy(folder, status=1)
        check(holds in told, f"optimize: {line.strip()}: {told.strip()[:150]}", told)


def test_a_node_that_ends_goes_on_at_its_next_start(world):
    recipes = ["int8-dynamic", "int8-weights", "fp16", "bf16", "int4-weights"]
    options = [word for recipe in recipes for word in ("--optimize", recipe)]
    world.deploy(world.digits, "--name", "long", *options, "--goal", "size", "--data", world.data)
    state = Path(world.data_folder, "optimizations")
    patiently(lambda: any('"fp16"' in file.read_text() for file in state.rglob("state.json")), "it has measured some candidates")
    world.node.kill()
    kept = json.loads(next(state.rglob("state.json")).read_text())
    world.node = Node(world.binary, data=world.data_folder)
    found = world.ended("long")
    measured = {row["recipe"]: row for row in found["candidates"]}
    check(list(measured) == ["original", *recipes], "a node that was killed ends the search after its next start", list(measured))
    before = {row["recipe"]: row["one"]["p50_ns"] for row in kept["rows"]}
    check(all(measured[recipe]["one"]["p50_ns"] == p50 for recipe, p50 in before.items() if recipe != "original"),
          f"what was measured before is not measured again: {sorted(before)}", before)
    check(found["optimized"] == 2 and world.right("long") > 0.9, "the smaller one serves", found["became"])


def test_stop(world):
    options = [word for share in range(1, 30) for word in ("--optimize", f"prune:0.{share:02},int8-dynamic,compile")]
    world.deploy(world.digits, "--name", "stopped", *options, "--data", world.data)
    world.deploy(world.digits, "--name", "second", "--optimize", "int8-dynamic", "--data", world.data)
    patiently(lambda: world.history("stopped")[0]["state"] == "running", "it runs")
    check(world.history("second")[0]["state"] == "waiting", "one is searched at a time", world.history("second"))
    reply = world.node.send("POST", "/api/functions/stopped/optimizations", "{}", {"Content-Type": "application/json"})
    check(reply.status == 409, "the same twice is a conflict", reply)
    world.node.command("optimize", "stop", "stopped")
    found = world.ended("stopped")
    check(found["state"] == "stopped" and world.alias("stopped") == ([{"version": 1, "share": 1.0}], [1]), "stopped, the original serves", found)
    check(world.ended("second")["optimized"] == 2, "the next one has its turn")
    reply = world.node.send("DELETE", "/api/functions/stopped/optimizations/1")
    check(reply.status == 404, "what is not under way can't be stopped", reply)


def test_a_function_that_is_deleted_meanwhile(world):
    options = [word for share in range(1, 30) for word in ("--optimize", f"prune:0.{share:02},int8-dynamic,compile")]
    world.deploy(world.digits, "--name", "gone", *options, "--data", world.data)
    patiently(lambda: world.history("gone")[0]["state"] == "running", "it runs")
    world.node.command("delete", "gone", "--yes")
    check(world.node.send("GET", "/api/functions/gone").status == 404, "it is gone")
    patiently(lambda: not list(Path(world.data_folder, "optimizations").iterdir()), "with what was being searched")
    world.deploy(world.digits, "--name", "after", "--optimize", "int8-dynamic", "--data", world.data, "--wait")
    check(world.node.send("GET", "/api/functions/gone").status == 404, "and does not come back")


def test_a_canary_gets_its_share(world):
    told = world.deploy(world.digits, "--name", "canary", "--optimize", "int8-dynamic,compile", "--goal", "size", "--data", world.data,
                        "--canary", "10%", "--wait")
    check(told["optimization"]["optimized"] == 2, "it passes", told["optimization"]["became"])
    weights = {weight["version"]: round(weight["share"], 6) for weight in world.alias("canary")[0]}
    check(weights == {1: 0.9, 2: 0.1}, "a tenth of the calls go to the smaller one", weights)
    check(world.right("canary") > 0.9, "whoever answers is right")
    world.node.command("rollback", "canary")
    check(world.alias("canary")[0] == [{"version": 1, "share": 1.0}], "one command goes back")


def test_history_is_of_a_version_and_outlives_a_restart(world):
    world.deploy(world.digits, "--name", "kept", "--optimize", "prune:0.99,compile", "--data", world.data, "--wait")
    before = world.history("kept")
    check([row["gate"] for row in before[0]["candidates"]] == ["original", "failed"], "what failed is there, too", before)
    check("no candidate passed" in before[0]["became"], "and that the alias stays", before[0]["became"])
    world.node.stop()
    world.node = Node(world.binary, data=world.data_folder)
    check(world.history("kept") == before, "a node that starts again has it")
    for body, status in (({"version": 9}, 404), ({"version": "x"}, 400), ({"goal": "beauty"}, 400), ({"recipe": "int9"}, 400), ({"canary": 2}, 400),
                         ({"samples": "0" * 64}, 404), ({"samples": "x"}, 400), ({"time_max": "0s"}, 400), ({"alias": "other"}, 404), ({"colour": 1}, 400)):
        reply = world.node.send("POST", "/api/functions/kept/optimizations", json.dumps(body), {"Content-Type": "application/json"})
        check(reply.status == status, f"{body}: {status}", reply)
    check(world.node.send("POST", "/api/functions/nobody/optimizations", "{}", {"Content-Type": "application/json"}).status == 404, "of no function: 404")


def test_what_fails_the_gate_moves_nothing(world):
    found = world.deploy(world.digits, "--name", "failing", "--optimize", "prune:0.98", "--data", world.data, "--wait")["optimization"]
    check(found["optimized"] == 0 and "gate" in found["became"], "zeros do not pass", found["became"])
    check(world.alias("failing") == ([{"version": 1, "share": 1.0}], [1]), "no version was made, the alias stays")
    row = found["candidates"][1]
    check(row["gate"] == "failed" and row["why"], "the reason is told", row)


def test_nothing_to_do_makes_no_version(world):
    found = world.deploy(world.digits, "--name", "same", "--optimize", "compile", "--data", world.data, "--wait")["optimization"]
    check("already" in found["became"] and world.alias("same")[1] == [1], "what a node does anyway is no new version", found["became"])


def test_without_samples_they_are_made_up(world):
    found = world.deploy(world.digits, "--name", "noise", "--optimize", "fp16", "--same-min", "90%", "--wait")["optimization"]
    check(found["data"] == "made up" and found["optimized"] == 2, "the search makes its own", found["became"])


def test_an_alias_that_was_moved_meanwhile_stays(world):
    world.deploy(world.digits, "--name", "moved")
    other = world.folder / "other.onnx"
    model = onnx.load(world.digits)
    model.doc_string = "another"
    onnx.save(model, other)
    world.deploy(other, "--name", "moved", "--no-alias")
    reply = world.node.send("POST", "/api/functions/moved/optimizations", json.dumps({"recipe": "int8-dynamic", "same_min": 0.5}),
                            {"Content-Type": "application/json"})
    check(reply.status == 202 and reply.json["version"] == 1, "the version that the alias names is searched", reply)
    world.node.command("alias", "moved", "live", "2")
    found = world.ended("moved")
    check("moved meanwhile" in found["became"] and world.alias("moved")[0] == [{"version": 2, "share": 1.0}], "it is whose moved it", found["became"])


def test_a_folder_with_external_weights_and_a_manifest(world):
    folder = world.folder / "package"
    (folder / "net").mkdir(parents=True)
    onnx.save_model(onnx.load(world.digits), folder / "net/digits.onnx", save_as_external_data=True, location="digits.weights")
    (folder / "function.yaml").write_text("name: packed\nmodel: net/digits.onnx\nscaling:\n  max: 3\n")
    (folder / "classes.txt").write_text("0\n1\n")
    told = world.deploy(folder, "--optimize", "int8-dynamic", "--data", world.data, "--wait")
    check(told["optimization"]["optimized"] == 2, "it passed", told["optimization"]["became"])
    first, version = world.versions("packed")
    files = {file["path"] for file in version["files"]} if "files" in version else set()
    check(not files or files == {"classes.txt", "net/digits.onnx"}, "the weights are in the model now, the rest goes along", files)
    check(version["size"] < 0.35 * first["size"], f"{first['size']} -> {version['size']} bytes")
    check(version["manifest"] == first["manifest"], "the manifest is the same", version["manifest"])
    check(world.right("packed") > 0.9, "it answers right")


def test_a_search_leaves_the_node_its_disk(world):
    place = world.folder / "small-disk"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", place]).returncode != 0:
        raise Skip("a small disk takes root to mount")
    node = Node(world.binary, data=str(place / "data"))
    try:
        node.command("deploy", str(world.digits), "--name", "digits")
        left = os.statvfs(place)
        with open(place / "filler", "wb") as filler:  # 15 MB of 300 are the node's
            os.posix_fallocate(filler.fileno(), 0, left.f_bavail * left.f_frsize - (8 << 20))
        reply = node.send("POST", "/api/functions/digits/optimizations", json.dumps({"recipe": "int8-dynamic"}), {"Content-Type": "application/json"})
        check(reply.status == 202, "it is ordered", reply)
        look = lambda: node.get("/api/functions/digits/optimizations")["optimizations"][0]
        patiently(lambda: look()["state"] not in ("waiting", "running"), "the search ends")
        check(look()["state"] == "failed" and "nearly full" in look()["became"], "for want of room, and says so", look()["became"])
        check(len(node.get("/api/functions/digits")["versions"]) == 1, "the original serves")
    finally:
        node.kill()
        subprocess.run(["umount", place], check=True)


def test_wrong_usage(world):
    for options, holds in ((["--optimize", "int9"], "int9"), (["--optimize", "auto", "--goal", "beauty"], "latency"), (["--goal", "size"], "--optimize"),
                           (["--optimize", "auto", "--accuracy-drop-max", "ten"], "no share"), (["--optimize", "auto", "--no-alias"], "--no-alias"),
                           (["--optimize", "auto", "--time-max", "0s"], "--time-max")):
        told = world.deploy(world.digits, "--name", "wrong", *options, status=2)
        check(holds in told, f"{' '.join(options)}: {told.strip()[:150]}", told)
    code = world.folder / "code"
    code.mkdir(exist_ok=True)
    (code / "app.py").write_text("def handler(event, context):\n    return event\n")
    (code / "function.yaml").write_text("name: wrong\nruntime: python3.11\nhandler: app.handler\n")
    check("is code" in world.deploy(code, "--optimize", "auto", status=2), "code is no model")
    check(world.node.send("GET", "/api/functions/wrong").status == 404, "nothing was deployed")


if __name__ == "__main__":
    main(World, globals())
