#!/usr/bin/env python3
"""mayfly dev --debug with real debuggers: debugpy by its protocol (DAP), Node.js by `node inspect` and by the DevTools protocol's own
client for it, Java by jdb.

    tests/code/debug.py --mayfly build/mayfly [NAME …]

A language that this machine lacks is skipped, and said. debugpy is installed by the function's own requirements.txt, Java's client by Maven, DevTools' by npm.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import dev  # noqa: E402
import languages  # noqa: E402
from languages import without  # noqa: E402
from run import RUNTIME, World, check, main  # noqa: E402

DEBUGPY, DEVTOOLS = "debugpy==1.8.14", "chrome-remote-interface@0.33.2"
SECONDS = 120  # generous: a sanitizer, or a busy machine

APP = """\
def handler(event, context):
    doubled = event["n"] * 2
    answer = doubled + 1
    return {"answer": answer}
"""

SCRIPT = """\
exports.handler = async (event) => {
  const doubled = event.n * 2;
  debugger;
  const answer = doubled + 1;
  return { answer };
};
"""

FRAUD = """\
package example;

import java.util.Map;

public class Twice {
  public Map<String, Object> handle(Map<String, Object> event) {
    int doubled = ((Number) event.get("n")).intValue() * 2;
    int answer = doubled + 1;
    return Map.of("answer", answer);
  }
}
"""


class Adapter:
    """A client of the Debug Adapter Protocol, as an editor is one."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.file, self.number, self.waiting = self.socket.makefile("rb"), 0, []

    def read(self):
        size = 0
        while (line := self.file.readline().strip()):
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        if not size:
            raise AssertionError("the debugger hung up")
        return json.loads(self.file.read(size))

    def wait(self, good):
        for message in self.waiting:
            if good(message):
                self.waiting.remove(message)
                return message
        while True:
            message = self.read()
            if good(message):
                return message
            self.waiting.append(message)

    def send(self, command, **arguments):
        self.number += 1
        body = json.dumps({"seq": self.number, "type": "request", "command": command, "arguments": arguments}).encode()
        self.socket.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return self.number

    def answer(self, number):
        reply = self.wait(lambda message: message["type"] == "response" and message["request_seq"] == number)
        check(reply["success"], f"the debugger does {reply['command']}", reply)
        return reply.get("body", {})

    def ask(self, command, **arguments):
        return self.answer(self.send(command, **arguments))

    def event(self, name):
        return self.wait(lambda message: message["type"] == "event" and message["event"] == name).get("body", {})

    def close(self):
        self.file.close()  # which holds the connection open, too
        self.socket.close()


class Talk:
    """A debugger of the command line."""

    def __init__(self, *command, prompt):
        self.prompt, self.text, self.seen = prompt, "", 0
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while piece := os.read(self.process.stdout.fileno(), 4096):
            self.text += piece.decode(errors="replace")

    def say(self, line):
        self.seen = len(self.text)
        self.process.stdin.write(line.encode() + b"\n")

    def wait(self, words):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            if words in self.text[self.seen:]:
                return self.text[self.seen:]
            time.sleep(0.05)
        raise AssertionError(f"{words!r} was not said; there was: {self.text[-2000:]}")

    def close(self):
        self.process.kill()
        self.process.wait(30)


def begin(world, folder, runtime, *options):
    """A session, and the port that it says."""
    session = dev.Session(world, folder, "--debug", "0", *options, runtime=runtime)
    said = session.wait_for("debug it at 127.0.0.1:", seconds=SECONDS)
    return session, int(re.search(r"127\.0\.0\.1:(\d+)", said).group(1))


def call_behind(session, name, event):
    """A call that a breakpoint holds up: a thread, and where its answer will be."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(session.call(name, event, timeout=SECONDS)), daemon=True)
    thread.start()
    return thread, answers


def launch_of(session):
    """The part of launch.json that was printed."""
    text = "\n".join(session.lines)
    return json.JSONDecoder().raw_decode(text[text.index("{\n"):])[0]


def attach(port, launch, script):
    """A client that has done all that an editor does before the code runs, with a breakpoint in line 3."""
    debugger = Adapter(port)
    check(debugger.ask("initialize", clientID="test", adapterID="debugpy", pathFormat="path", linesStartAt1=True)["supportsConditionalBreakpoints"],
          "debugpy answers from inside the sandbox")
    attached = debugger.send("attach", **{key: launch[key] for key in ("connect", "pathMappings", "justMyCode")})
    debugger.event("initialized")
    placed = debugger.ask("setBreakpoints", source={"path": str(script)}, breakpoints=[{"line": 3}])["breakpoints"]
    check(placed[0]["verified"], "a breakpoint is set in a file of this machine", placed)
    debugger.ask("configurationDone")
    debugger.answer(attached)
    return debugger


def stop_at_breakpoint(debugger, script):
    """Its thread and its frame."""
    stopped = debugger.event("stopped")
    check(stopped["reason"] == "breakpoint", "it is hit", stopped)
    frame = debugger.ask("stackTrace", threadId=stopped["threadId"])["stackFrames"][0]
    check(frame["line"] == 3 and frame["source"]["path"] == str(script), "at its line, by the path of this machine", frame)
    check(debugger.ask("evaluate", expression="doubled", frameId=frame["id"], context="watch")["result"] == "40", "a variable is read")
    return stopped["threadId"], frame["id"]


def python_that_waits(world, name):
    """The folder of a function that debugpy is installed for, and its script."""
    folder = world.folder / name
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    (folder / "requirements.txt").write_text(DEBUGPY + "\n")
    (folder / "function.yaml").write_text("handler: app.handler\nscaling: {max: 5}\nresources: {timeout: 2s, memory: 512MiB}\n")
    return folder, folder / "app.py"


def test_python(world):
    folder, script = python_that_waits(world, "twice")
    session, port = begin(world, folder, RUNTIME)
    try:
        launch = launch_of(session)
        check(launch["type"] == "debugpy" and launch["connect"]["port"] == port and launch["pathMappings"][0]["remoteRoot"] == "/var/task",
              "what to put into launch.json is printed", launch)
        debugger = attach(port, launch, script)
        thread, answers = call_behind(session, "twice", {"n": 20})
        at, frame = stop_at_breakpoint(debugger, script)
        time.sleep(3)
        check(thread.is_alive(), "longer than the call's own time limit")
        debugger.ask("evaluate", expression="doubled = 100", frameId=frame, context="repl")
        debugger.ask("continue", threadId=at)
        thread.join(SECONDS)
        check(answers == [{"answer": 101}], "and written: the call goes on with it", answers)
        instances = world.node_of(session).get("/api/instances")["instances"]
        check(len([i for i in instances if i["role"] == "instance"]) == 1 and not [i for i in instances if i["role"] != "instance"],
              "there is one instance and no template", instances)
        debugger.close()
        # That it has left is heard within the instance, some milliseconds later; till then its breakpoint holds what comes.
        thread, answers = call_behind(session, "twice", {"n": 1})
        thread.join(SECONDS)
        check(answers == [{"answer": 3}], "a debugger that leaves leaves the function running", answers)
    finally:
        session.end()
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        check(False, "its port is closed with it")
    except ConnectionRefusedError:
        check(True, "its port is closed with it")


def test_python_that_debuggers_leave_and_come_back_to(world):
    folder, script = python_that_waits(world, "twice-again")
    session, port = begin(world, folder, RUNTIME)
    try:
        launch = launch_of(session)
        for how in ("at rest", "at a breakpoint", "at rest"):
            debugger = attach(port, launch, script)
            thread, answers = call_behind(session, "twice-again", {"n": 20})
            at, _ = stop_at_breakpoint(debugger, script)
            if how == "at rest":
                debugger.ask("continue", threadId=at)
                thread.join(SECONDS)
            debugger.ask("disconnect", restart=False, terminateDebuggee=False)
            debugger.close()
            thread.join(SECONDS)
            check(answers == [{"answer": 41}], f"it leaves {how}, and the call has its answer", answers)
            check(session.call("twice-again", {"n": 1}) == {"answer": 3}, "as has the next one")
    finally:
        session.end()


def test_python_without_debugpy(world):
    folder = world.folder / "bare"
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    session = dev.Session(world, folder, "--debug", "0", "--handler", "app.handler")
    try:
        told = session.wait_for("does not start", seconds=SECONDS)
        check("has no debugpy: add debugpy to requirements.txt" in told, "what is missing is said, and what to do", told)
    finally:
        session.end()


def test_node(world):
    if not (runtime := languages.node_here()):
        return without("node")
    folder = world.folder / "twice-node"
    folder.mkdir()
    (folder / "app.js").write_text(SCRIPT)
    session, port = begin(world, folder, runtime, "--handler", "app.handler")
    debugger = Talk("node", "inspect", f"127.0.0.1:{port}", prompt="debug>")
    try:
        debugger.wait("debug> ")                     # before, it is connected and has asked for nothing yet
        thread, answers = call_behind(session, "twice-node", {"n": 20})
        debugger.wait("break in")
        debugger.say("exec doubled")
        check("40" in debugger.wait("40"), "node inspect stops where the code says so and reads a variable")
        debugger.say("cont")
        thread.join(SECONDS)
        check(answers == [{"answer": 41}], "and the call goes on", answers)
    finally:
        debugger.close()
        session.end()


# Breaks in line 4 of app.js by DevTools' protocol, says "set", reads `doubled`, goes on, leaves.
DEVTOOLS_TALK = """\
const CDP = require("chrome-remote-interface");
const [port, how] = process.argv.slice(2);
(async () => {
  const client = await CDP({ host: "127.0.0.1", port: Number(port) });
  const { Debugger, Runtime } = client;
  await Runtime.enable();
  await Debugger.enable();
  const { locations } = await Debugger.setBreakpointByUrl({ urlRegex: "app\\\\.js$", lineNumber: 3 });
  const paused = Debugger.paused();
  console.log("set", locations.length);
  const { callFrames: [frame], hitBreakpoints } = await paused;
  const read = async (expression) => (await Debugger.evaluateOnCallFrame({ callFrameId: frame.callFrameId, expression })).result.value;
  console.log("hit", hitBreakpoints.length, frame.functionName, frame.location.lineNumber + 1, "doubled", await read("doubled"));
  if (how === "leaves") return client.close();
  await Debugger.resume();
  console.log("resumed");
  await client.close();
})().catch((error) => { console.error(error); process.exit(1); });
"""


def test_node_by_the_devtools_protocol(world):
    if not (runtime := languages.node_here()) or not shutil.which("npm"):
        return without("node and npm")
    folder, tools = world.folder / "devtools-node", world.folder / "devtools"
    folder.mkdir()
    tools.mkdir()
    (folder / "app.js").write_text(SCRIPT.replace("  debugger;\n", "  // nothing stops here by itself\n"))
    (tools / "talk.js").write_text(DEVTOOLS_TALK)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", DEVTOOLS], cwd=tools, check=True, timeout=240)
    session, port = begin(world, folder, runtime, "--handler", "app.handler")
    try:
        for how in ("goes on", "leaves", "goes on"):
            talk = Talk("node", str(tools / "talk.js"), str(port), how, prompt="")
            check("set 1" in talk.wait("set"), "a breakpoint finds its place in the handler", talk.text)
            thread, answers = call_behind(session, "devtools-node", {"n": 20})
            thread.join(SECONDS)
            check("hit 1 exports.handler 4 doubled 40" in talk.text, "it is hit, and a variable read", talk.text)
            check(answers == [{"answer": 41}], f"the debugger {how}, and the call has its answer", answers)
            check(talk.process.wait(SECONDS) == 0, "it leaves", talk.text)
            check(session.call("devtools-node", {"n": 1}) == {"answer": 3}, "the next call is held up by nobody")
    finally:
        session.end()


def test_java(world):
    if not (shutil.which("javac") and shutil.which("mvn") and shutil.which("jdb")):
        return without("JDK with Maven")
    folder, project = world.folder / "twice-java", world.folder / "java-project"
    folder.mkdir()
    project.mkdir()
    (project / "pom.xml").write_text(textwrap.dedent(languages.POM))
    (project / "Twice.java").write_text(FRAUD)
    subprocess.run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}"],
                   cwd=project, check=True, timeout=240)
    subprocess.run(["javac", "-g", "--release", "17", "-cp", f"{folder / 'lib'}/*", "-d", str(folder), str(project / "Twice.java")],
                   check=True, timeout=120)
    (folder / "function.yaml").write_text("resources: {memory: 512MiB}\n")
    session, port = begin(world, folder, "java17", "--handler", "example.Twice::handle")
    debugger = Talk("jdb", "-connect", f"com.sun.jdi.SocketAttach:hostname=127.0.0.1,port={port}", prompt="> ")
    try:
        debugger.wait(">")
        debugger.say("stop at example.Twice:8")
        debugger.wait("reakpoint")
        thread, answers = call_behind(session, "twice-java", {"n": 20})
        debugger.wait("Breakpoint hit")
        debugger.say("print doubled")
        check("doubled = 40" in debugger.wait("doubled = "), "jdb stops at a breakpoint and reads a variable", debugger.text[-500:])
        debugger.say("cont")
        thread.join(SECONDS)
        check(answers == [{"answer": 41}], "and the call goes on", answers)
    finally:
        debugger.close()
        session.end()


def test_nobody_else_opens_a_door(world):
    """Only a node that `mayfly dev --debug` has started has one: no manifest asks for it, and no environment."""
    folder = world.folder / "asks"
    folder.mkdir()
    (folder / "app.py").write_text("import os\ndef handler(event, context):\n    return os.environ.get('MAYFLY_DEBUG_PORT')\n")
    world.node.command("deploy", str(folder), "--runtime", RUNTIME, "--handler", "app.handler")
    check(world.call({}, "asks") is None, "other nodes start no debugger")
    (folder / "function.yaml").write_text("environment: {MAYFLY_DEBUG_PORT: '5678'}\n")
    try:
        world.node.command("deploy", str(folder), "--runtime", RUNTIME, "--handler", "app.handler")
        check(False, "MAYFLY_DEBUG_PORT is no variable of a manifest's")
    except Exception as failed:  # noqa: BLE001
        check("MAYFLY_DEBUG_PORT" in str(failed), "MAYFLY_DEBUG_PORT is no variable of a manifest's", failed)
    done = dev.run(world, "dev", str(folder), "--debug", "--node", world.node.url)
    check(done.returncode == 2, "nor is a node that runs made to", done)


class DebugWorld(World):
    def node_of(self, session):
        """The session's own node, to look at."""
        class Looks:
            @staticmethod
            def get(path):
                with dev.urllib.request.urlopen(session.url + path, timeout=20) as reply:
                    return json.load(reply)
        return Looks


if __name__ == "__main__":
    main(globals(), DebugWorld)
