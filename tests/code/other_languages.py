#!/usr/bin/env python3
"""Languages that have no name here, on a real node: C# by a bootstrap that speaks Lambda's Runtime API, custom handlers of Azure Functions
in C# and in Java.

    tests/code/other_languages.py --mayfly build/mayfly [NAME …]

C# is compiled and run by Debian's Mono: apt-get install mono-mcs mono-runtime libmono-system4.0-cil libmono-system-runtime-serialization4.0-cil.
What this machine lacks is skipped, and said.
"""
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import run
from run import HERE, check

FUNCTIONS = HERE / "functions"
ORDERS = {"bindings": [{"type": "httpTrigger", "direction": "in", "name": "req", "methods": ["post"], "route": "orders/{id}", "authLevel": "anonymous"},
                       {"type": "http", "direction": "out", "name": "res"}]}


class World(run.World):
    def __init__(self, binary):
        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-other-"))
        self.node = run.Node(binary)

    def app(self, name, program, arguments):
        """A function app with one function, `orders`, and a custom handler."""
        folder = self.folder / name
        (folder / "orders").mkdir(parents=True)
        (folder / "host.json").write_text(json.dumps({"version": "2.0", "customHandler": {"description": {
            "defaultExecutablePath": program, "arguments": arguments}}}))
        (folder / "orders/function.json").write_text(json.dumps(ORDERS))
        return folder

    def asks(self, name, language):
        for id_ in ("17", "18"):
            reply = self.node.send("POST", f"/functions/{name}/api/orders/{id_}", b"[]", {"Content-Type": "application/json"})
            check(reply.status == 201 and reply.body.decode().strip('"') == f"order {id_} by {language}", f"order {id_} is answered", reply)
        check("/orders took 17" in self.node.command("logs", name, "--json"), "and what it logs is in the function's log")


def compile_csharp(source, to):
    if not (shutil.which("mcs") and shutil.which("mono")):
        print("   -- skipped: this machine has no Mono (mcs, mono)")
        return False
    done = subprocess.run(["mcs", "-r:System.Runtime.Serialization.dll", f"-out:{to}", str(FUNCTIONS / "csharp" / source)],
                          capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise run.Failed(f"mcs: {done.stdout}{done.stderr}")
    return True


def test_a_lambda_function_in_csharp(world):
    folder = world.folder / "total"
    folder.mkdir()
    if not compile_csharp("Bootstrap.cs", folder / "Bootstrap.exe"):
        return
    (folder / "bootstrap").write_text('#!/bin/sh\nexec mono "$LAMBDA_TASK_ROOT/Bootstrap.exe"\n')
    os.chmod(folder / "bootstrap", 0o755)
    world.node.command("deploy", str(folder), "--runtime", "provided.al2023", "--memory", "256MiB")
    first = world.call({"prices": [1.5, 2]}, "total")
    check(first["total"] == 3.5 and first["function"] == "total" and first["runtime"].startswith("4."), "it answers, run by Mono", first)
    check(world.call({"prices": []}, "total")["calls"] == 2, "the same process answers again")
    reply = world.send({}, "total")
    check(reply.status == 500 and reply.json == {"errorMessage": "an order has prices", "errorType": "ArgumentException"}, "an error is its own", reply)
    check("summed 2" in world.node.command("logs", "total", "--json"), "its log has what it said")


def test_a_custom_handler_in_csharp(world):
    folder = world.app("orders-csharp", "mono", ["Orders.exe"])
    if compile_csharp("Orders.cs", folder / "Orders.exe"):
        world.node.command("deploy", str(folder), "--runtime", "azure", "--memory", "256MiB")
        world.asks("orders-csharp", "C#")


def test_a_custom_handler_in_java(world):
    if not shutil.which("javac"):
        return print("   -- skipped: this machine has no JDK")
    folder = world.app("orders-java", "java", ["-Xmx128m", "-cp", ".", "Orders"])
    subprocess.run(["javac", "--release", "17", "-d", str(folder), str(FUNCTIONS / "azure-java/Orders.java")], check=True, timeout=120)
    world.node.command("deploy", str(folder), "--runtime", "azure", "--memory", "384MiB")
    world.asks("orders-java", "Java")


if __name__ == "__main__":
    run.main(globals(), World)
