#!/usr/bin/env python3
"""Start caches on a real node: Java's class-data archive and Node.js's compile cache, made behind a deploy from a start that is watched.

    tests/code/start_cache.py --mayfly build/mayfly [NAME …]

Java's client is fetched by Maven, a Node.js that has the cache by npm; what this machine lacks is skipped, and said.
"""
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import builds  # noqa: E402
import languages  # noqa: E402
import run  # noqa: E402
from run import check  # noqa: E402

SLOW = 240  # seconds, for what a busy machine does behind a deploy

PROBE = """\
    package example;

    import com.amazonaws.services.lambda.runtime.Context;
    import java.io.IOException;
    import java.nio.file.Files;
    import java.nio.file.Path;
    import java.util.List;
    import java.util.Map;

    /** Says where its classes came from. At its start it leaves in the folder of the cache what has no business there. */
    public class Probe {
      static final boolean MAY_WRITE = leave();

      static boolean leave() {
        Path place = Path.of("/var/start-cache");
        try {
          Files.writeString(place.resolve("junk"), "junk");
          Files.createDirectories(place.resolve("folder/deep"));
          Files.createSymbolicLink(place.resolve("classes.jsa"), Path.of("/etc/passwd"));
          return true;
        } catch (IOException none) {
          return false;
        }
      }

      public Map<String, Object> handle(Map<String, Object> event, Context context) throws IOException {
        context.getLogger().log("was called\\n");
        List<String> loaded = Files.readAllLines(Path.of("/tmp/loaded"));
        return Map.of("client", loaded.stream().filter(line -> line.contains(" com.amazonaws.") && line.contains("shared objects file")).count(),
                      "jdk", loaded.stream().filter(line -> line.contains("shared objects file")).count(), "wrote", MAY_WRITE,
                      "heap", Runtime.getRuntime().maxMemory(), "got", event);
      }
    }
"""


def describe(world, name):
    return world.node.get(f"/api/functions/{name}")["versions"][-1].get("start_cache")


def settled(world, name):
    return world.node.wait(lambda: describe(world, name), lambda cache: cache and cache["state"] != "making", SLOW)


def cold(world, name, event):
    world.node.command("scale", name, "0")
    world.node.wait(lambda: world.node.processes(name), lambda all_: not all_, 60)
    return world.call(event, name)


def caches(world):
    folder = Path(world.node.data) / "start-caches"
    return {each.name: each for each in folder.iterdir() if not each.name.startswith(("work-", "taken-"))}


def java_package(world, name, manifest):
    """A folder with AWS's client in lib/ and Probe beside it; None where this machine can't make one."""
    if not (shutil.which("javac") and shutil.which("mvn")):
        return languages.without("JDK with Maven")
    made = world.folder / "made"
    if not made.exists():
        project = world.folder / "project"
        project.mkdir()
        (project / "pom.xml").write_text(textwrap.dedent(languages.POM))
        (project / "Probe.java").write_text(textwrap.dedent(PROBE))
        subprocess.run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={made / 'lib'}"],
                       cwd=project, check=True, timeout=SLOW)
        subprocess.run(["javac", "--release", "17", "-cp", f"{made / 'lib'}/*", "-d", str(made), str(project / "Probe.java")],
                       check=True, timeout=SLOW)
    folder = world.folder / name
    shutil.copytree(made, folder)
    (folder / "function.yaml").write_text(json.dumps({"runtime": "java17", "handler": "example.Probe::handle",
                                                      "resources": {"memory": "512MiB"}, **manifest}))
    return folder


LOADED = {"JAVA_TOOL_OPTIONS": "-Xlog:class+load:file=/tmp/loaded"}


def test_java_archive(world):
    if not (folder := java_package(world, "probe", {"environment": LOADED})):
        return
    world.node.command("deploy", str(folder))
    first = world.call({"n": 1}, "probe")
    check(first["got"] == {"n": 1}, "it answers, whether there is an archive by then or not", first)
    cache = settled(world, "probe")
    check(cache["kind"] == "class-data" and cache["state"] == "ready" and cache["size"] > 1 << 20, "an archive of its classes is made", cache)
    calls = str(world.node.command("logs", "probe", "--json")).count("was called")
    check(calls == 1, "from a start that is watched: no call is made up", calls)
    again = cold(world, "probe", {"n": 2})
    check(again["client"] > 30 and again["got"] == {"n": 2}, "its next start takes the client's classes from it", again)
    check(again["wrote"] is False, "and may not write to it", again)
    (kept,) = caches(world).values()
    files = sorted(str(each.relative_to(kept)) for each in kept.rglob("*"))
    check(files == ["classes.jsa", "classes.size"] and not (kept / "classes.jsa").is_symlink(), "what the code left beside it is gone", files)
    shown = world.node.command("describe", "probe")
    check("class-data archive" in shown, "describe shows it", shown)


def test_java_archive_that_is_no_good(world):
    if not describe_or_none(world, "probe"):
        return languages.without("archive to spoil")
    (kept,) = caches(world).values()
    archive = kept / "classes.jsa"
    whole = archive.read_bytes()
    for what, text in {"empty": b"", "cut": whole[:len(whole) // 2], "another file": b"PK\x03\x04" + bytes(100_000)}.items():
        archive.unlink()
        archive.write_bytes(text)
        seen = cold(world, "probe", {"what": what})
        check(seen["got"] == {"what": what} and seen["client"] == 0, f"one that is {what} is no obstacle", seen)
    shutil.rmtree(kept)
    check(cold(world, "probe", {})["client"] == 0, "nor one that is gone from the disk")


def describe_or_none(world, name):
    return describe(world, name) if any(each["name"] == name for each in world.node.get("/api/functions")["functions"]) else None


def test_java_that_would_find_another(world):
    if not (folder := java_package(world, "shadowed", {"environment": LOADED})):
        return
    (folder / "settings.properties").write_text("from = folder\n")
    with run.tempfile.TemporaryDirectory() as inner:
        Path(inner, "settings.properties").write_text("from = jar\n")
        subprocess.run(["jar", "cf", str(folder / "lib/settings.jar"), "-C", inner, "settings.properties"], check=True, timeout=SLOW)
    world.node.command("deploy", str(folder))
    cache = settled(world, "shadowed")
    check(cache["state"] == "failed" and "settings.properties" in cache["error"], "what a jar would hide has no archive, and it is said", cache)
    said = world.node.command("logs", "shadowed", "--json").count("without a start cache")
    check(said == 1, "once, in the log", said)
    check(cold(world, "shadowed", {"n": 3})["got"] == {"n": 3}, "it runs as before")


def test_java_that_does_not_start(world):
    if not (folder := java_package(world, "broken", {"handler": "example.Missing::handle"})):
        return
    world.node.command("deploy", str(folder))
    cache = settled(world, "broken")
    check(cache["state"] in ("ready", "failed"), "a start that fails is an end, too", cache)
    check(world.send({}, "broken").status >= 400, "and its calls say why")


def test_java_that_is_built(world):
    """Its jars are not in the package."""
    if not builds.has_maven():
        return languages.without("JDK with Maven")
    files = {"pom.xml": builds.pom("orders", builds.CORE, builds.GSON), "src/main/java/example/Orders.java": builds.ORDERS}
    for path, text in files.items():
        (world.folder / "orders" / path).parent.mkdir(parents=True, exist_ok=True)
        (world.folder / "orders" / path).write_text(textwrap.dedent(text))
    world.node.command("deploy", str(world.folder / "orders"), "--runtime", "java17", "--handler", "example.Orders::total", "--memory", "512MiB",
                       timeout=SLOW)
    event = {"lines": json.dumps([{"price": 2.5}, {"price": 4}])}
    check(world.call(event, "orders")["total"] == 6.5, "a project of Maven answers")
    cache = settled(world, "orders")
    check(cache["state"] == "ready" and cache["size"] > 1 << 20, "it has an archive", cache)
    again = cold(world, "orders", event)
    check(again["total"] == 6.5 and again["from"] == "/var/dependencies/lib/gson-2.11.0.jar", "and starts with it", again)


def test_what_the_user_says_of_the_jvm(world):
    options = "-Xmx100m -XX:+UseParallelGC " + LOADED["JAVA_TOOL_OPTIONS"]
    if not (folder := java_package(world, "tuned", {"environment": {"JAVA_TOOL_OPTIONS": options}})):
        return
    world.node.command("deploy", str(folder))
    first = world.call({}, "tuned")
    check(80 << 20 < first["heap"] <= 100 << 20, "JAVA_TOOL_OPTIONS says how large the heap is, and which collector", first)
    cache = settled(world, "tuned")
    check(cache["state"] == "ready", "an archive is made for these", cache)
    again = cold(world, "tuned", {})
    check(again["client"] > 30 and again["heap"] == first["heap"], "and used", again)


def test_deleted_while_it_is_made(world):
    if not (folder := java_package(world, "brief", {"environment": {**LOADED, "WHOSE": "brief"}})):
        return
    before = set(caches(world))
    world.node.command("deploy", str(folder))
    world.node.wait(lambda: describe(world, "brief"), lambda cache: cache, SLOW)
    world.node.command("delete", "brief", "--yes")
    folder = Path(world.node.data) / "start-caches"  # what is taken- there is removed by the next delete
    left = world.node.wait(lambda: {each.name for each in folder.iterdir() if not each.name.startswith("taken-")}, lambda left: left == before, SLOW)
    check(left == before, "one whose version is deleted meanwhile leaves nothing", left)


def test_deleted_with_its_versions(world):
    if not (folder := java_package(world, "gone", {"environment": {**LOADED, "WHOSE": "gone"}})):
        return
    before = set(caches(world))
    world.node.command("deploy", str(folder))
    settled(world, "gone")
    mine = set(caches(world)) - before
    check(len(mine) == 1, "each environment has its own", mine)
    world.node.command("delete", "gone", "--yes")
    world.node.wait(lambda: set(caches(world)) & mine, lambda left: not left, 60)
    check(not set(caches(world)) & mine, "it goes with the last version that uses it")


MODULES = 300


def test_node_compile_cache(world):
    """By a Node.js that has it, which main() puts in front of the node's PATH."""
    if not shutil.which("npm"):
        return languages.without("npm")
    files = {f"lib/m{n}.js": f"exports.f{n} = (x) => {{ {'let y = x; ' + 'y += x * 3; ' * 40} return y; }};\n" for n in range(MODULES)}
    files["index.js"] = ("const fs = require('node:fs');\n" + "".join(f"require('./lib/m{n}.js');\n" for n in range(MODULES)) +
                         "exports.handler = async () => { let wrote = true; try { fs.writeFileSync('/var/start-cache/x', 'x'); } "
                         "catch { wrote = false; } return { version: process.version, cache: process.env.NODE_COMPILE_CACHE, wrote }; };\n")
    world.deploy("modules", files, "nodejs22.x", "index.handler", "--memory", "256MiB")
    first = world.call({}, "modules")
    check(first["version"].startswith("v22."), "it runs by Node.js 22", first)
    cache = settled(world, "modules")
    check(cache["kind"] == "compile-cache" and cache["state"] == "ready" and cache["size"] > 10_000, "its modules' byte code is kept", cache)
    again = cold(world, "modules", {})
    check(again["cache"] == "/var/start-cache" and again["wrote"] is False, "the next start has it, read-only", again)


def main():
    if shutil.which("npm"):
        os.environ["PATH"] = f"{languages.node_22().parent}:{os.environ['PATH']}"
    run.main(globals(), languages.World)


if __name__ == "__main__":
    main()
