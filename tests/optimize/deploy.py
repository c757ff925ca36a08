#!/usr/bin/env python3
"""mayfly deploy --optimize from outside: the original serves while it is made smaller, what passes the gate is a version beside it that the
alias moves to, one command goes back, and what fails moves nothing. The real binary, a node on loopback.

    build/venv/bin/python tests/optimize/deploy.py --mayfly build/mayfly [NAME …]
"""
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
from node import Node  # noqa: E402
from run import PATIENCE, World as Digits, check, main  # noqa: E402

import onnx  # noqa: E402


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

    def right(self, name):
        rows = self.node.post(f"/functions/{name}", json.dumps({"pixels": self.x[:200].tolist()})).json
        answers = rows["probabilities"] if "probabilities" in rows else rows["outputs"][0]
        return sum(row.index(max(row)) == label for row, label in zip(answers, self.y.tolist())) / 200


def test_the_smaller_one_serves_and_one_command_goes_back(world):
    told = world.deploy(world.digits, "--name", "digits", "--optimize", "int8-dynamic,compile", "--goal", "size", "--data", world.data)
    first, second = told["original"], told["optimized"]
    check(told["moved"] and (first["version"], second["version"]) == (1, 2), "what passed is a version beside the original", told["why"])
    check(second["size"] < 0.35 * first["size"], f"{first['size']} bytes became {second['size']}: under 35 %")
    check(world.alias("digits") == ([{"version": 2, "share": 1.0}], [1, 2]), "the alias names the smaller one, the original stays", world.alias("digits"))
    check(world.right("digits") > 0.9, "it answers right")
    history = world.node.get("/api/functions/digits/optimizations")["optimizations"]
    check([one["version"] for one in history] == [1] and history[0]["optimized"] == 2, "the node keeps what was found", history)
    shown = world.node.command("optimize", "history", "digits")
    check("int8-dynamic,compile" in shown and "passed, taken" in shown and "optimised as version 2" in shown, "and shows every candidate", shown)
    world.node.command("rollback", "digits")
    check(world.alias("digits")[0] == [{"version": 1, "share": 1.0}], "one command goes back")
    check(world.right("digits") > 0.9, "and the original answers")


def test_a_canary_gets_its_share(world):
    told = world.deploy(world.digits, "--name", "canary", "--optimize", "int8-dynamic,compile", "--goal", "size", "--data", world.data,
                        "--canary", "10%")
    check(told["moved"], "it passes", told["why"])
    weights = {weight["version"]: round(weight["share"], 6) for weight in world.alias("canary")[0]}
    check(weights == {1: 0.9, 2: 0.1}, "a tenth of the calls go to the smaller one", weights)
    check(world.right("canary") > 0.9, "whoever answers is right")
    world.node.command("rollback", "canary")
    check(world.alias("canary")[0] == [{"version": 1, "share": 1.0}], "one command goes back")


def test_history_is_of_a_version_and_outlives_a_restart(world):
    world.deploy(world.digits, "--name", "kept", "--optimize", "prune:0.99,compile", "--data", world.data)
    before = world.node.get("/api/functions/kept/optimizations")
    check([row["gate"] for row in before["optimizations"][0]["candidates"]] == ["original", "failed"], "what failed is there, too", before)
    check("no candidate passed" in before["optimizations"][0]["became"], "and that the alias stays", before["optimizations"][0]["became"])
    world.node.stop()
    world.node = Node(world.binary, data=world.data_folder)
    check(world.node.get("/api/functions/kept/optimizations") == before, "a node that starts again has it")
    for path, body, status in (("/api/functions/kept/optimizations/9", {"candidates": []}, 404),
                               ("/api/functions/kept/optimizations/x", {"candidates": []}, 400),
                               ("/api/functions/kept/optimizations/1", {"rows": []}, 400),
                               ("/api/functions/kept/optimizations/1", {"candidates": ["x" * 70000]}, 400),
                               ("/api/functions/nobody/optimizations/1", {"candidates": []}, 404)):
        reply = world.node.send("PUT", path, json.dumps(body), {"Content-Type": "application/json"})
        check(reply.status == status, f"{path} {str(body)[:30]}: {status}", reply)


def test_what_fails_the_gate_moves_nothing(world):
    told = world.deploy(world.digits, "--name", "failing", "--optimize", "prune:0.98", "--data", world.data)
    check(not told["moved"] and told["optimized"] is None and "gate" in told["why"], "zeros do not pass", told["why"])
    check(world.alias("failing") == ([{"version": 1, "share": 1.0}], [1]), "no version was made, the alias stays")
    row = told["optimize"]["candidates"][1]
    check(row["gate"] == "failed" and row["why"], "the reason is told", row)


def test_nothing_to_do_makes_no_version(world):
    told = world.deploy(world.digits, "--name", "same", "--optimize", "compile", "--data", world.data)
    check(not told["moved"] and "already" in told["why"] and world.alias("same")[1] == [1], "what a node does anyway is no new version", told["why"])


def test_a_folder_with_external_weights_and_a_manifest(world):
    folder = world.folder / "package"
    (folder / "net").mkdir(parents=True)
    onnx.save_model(onnx.load(world.digits), folder / "net/digits.onnx", save_as_external_data=True, location="digits.weights")
    (folder / "function.yaml").write_text("name: packed\nmodel: net/digits.onnx\nscaling:\n  max: 3\n")
    (folder / "classes.txt").write_text("0\n1\n")
    told = world.deploy(folder, "--optimize", "int8-dynamic", "--data", world.data)
    version = told["optimized"]
    check(told["moved"], "it passed", told["why"])
    files = {file["path"] for file in version["files"]} if "files" in version else set()
    check(not files or files == {"classes.txt", "net/digits.onnx"}, "the weights are in the model now, the rest goes along", files)
    check(version["size"] < 0.35 * told["original"]["size"], f"{told['original']['size']} -> {version['size']} bytes")
    check(version["manifest"] == told["original"]["manifest"], "the manifest is the same", version["manifest"])
    check(world.right("packed") > 0.9, "it answers right")


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
