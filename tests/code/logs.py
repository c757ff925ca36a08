#!/usr/bin/env python3
"""Whose a printed line is, and what is told of a function that ended, on a real node: the log, Invoke's LogType, mayfly's commands.

    tests/code/logs.py --mayfly build/mayfly [NAME …]
"""
import base64
import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import languages  # noqa: E402
import run  # noqa: E402
from run import check, main  # noqa: E402

TALKS = """\
import logging, os, signal, sys, time

def handler(event, context):
    do = event.get("do")
    print("event", event.get("n", 0), "of", context.aws_request_id)
    if do == "err":
        print("to stderr", file=sys.stderr)
    if do == "exit":
        sys.stdout.flush()
        os._exit(3)
    if do == "signal":
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGSEGV)
    if do == "sleep":
        time.sleep(60)
    if do == "fill":
        all_ = []
        while True:
            all_.append(bytearray(16 << 20))
    if do == "fork":
        while True:
            try:
                if os.fork() == 0:
                    time.sleep(60)
            except OSError:
                os._exit(5)
    if do == "raise":
        raise ValueError("no such thing")
    if do == "many":
        for n in range(event["lines"]):
            print("line", n)
    return event.get("n", 0)
"""

SHARED = """\
import http.server, os, sys, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        size = int(self.headers.get("Content-Length") or 0)
        secret = self.rfile.read(size).decode()
        print("secret", secret, flush=True)
        if secret == "end":
            time.sleep(0.5)
            os._exit(4)
        if secret == "wait":
            time.sleep(10)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"done")
    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""


class World(run.World):
    def __init__(self, binary):
        super().__init__(binary)
        self.deploy("talks", TALKS, "--timeout", "3s", "--memory", "128MiB")

    def lines(self, name, *options):
        return [json.loads(line) for line in self.node.command("logs", name, "--json", *options).splitlines()]

    def messages(self, name, *options):
        return [line.get("message", "") for line in self.lines(name, *options) if "outcome" not in line]

    def invoke(self, name, event, tail=True):
        """Lambda's: the reply, and its log."""
        reply = self.send(event, path=f"/2015-03-31/functions/{name}/invocations", headers={"X-Amz-Log-Type": "Tail"} if tail else {})
        return reply, base64.b64decode(reply.headers.get("X-Amz-Log-Result", "")).decode()

    def cli(self, *words):
        return subprocess.run([str(self.node.binary), *words, "--url", self.node.url], capture_output=True, text=True, timeout=60)


def test_a_line_knows_its_call(world):
    ids = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(1, 4)]
    for n, request in enumerate(ids, 1):
        reply = world.send({"n": n, "do": "err"}, "talks", headers={"X-Request-Id": request})
        check(reply.status == 200, f"call {n} is answered", reply)
    said = world.node.wait(lambda: world.lines("talks", "--request", ids[1]), lambda lines: len(lines) == 3, 10)
    printed = [line for line in said if "outcome" not in line]
    check({line["message"] for line in printed} == {f"event 2 of {ids[1]}", "to stderr"}, "the lines of one call alone", said)
    check({line["stream"] for line in printed} == {"stdout", "stderr"}, "with their streams", printed)
    check(all(line["version"] == 1 and line["instance"] > 0 and line["request_id"] == ids[1] for line in printed), "version, instance and call", printed)
    check(any(line.get("outcome") == "ok" for line in said), "beside its record", said)
    check(world.messages("talks", "--version", "2") == [], "--version names one")
    check(world.messages("talks", "--since", "1h") != [] and world.messages("talks", "--since", "2099-01-01T00:00:00Z") == [], "--since a time")
    bad = world.cli("logs", "talks", "--level", "loud")
    check(bad.returncode == 2 and "trace, debug, info" in bad.stderr, "a level that is none is refused", bad)


def test_a_followed_log_of_one_call(world):
    request = "00000000-0000-4000-8000-0000000000f1"
    with subprocess.Popen([str(world.node.binary), "logs", "talks", "--follow", "--json", "--request", request, "--url", world.node.url],
                          stdout=subprocess.PIPE, text=True) as follower:
        try:
            world.send({"n": 5}, "talks")
            world.send({"n": 6}, "talks", headers={"X-Request-Id": request})
            world.send({"n": 7}, "talks")
            seen = [json.loads(follower.stdout.readline()) for _ in range(2)]
            check(all(line["request_id"] == request for line in seen), "new lines of that call are shown, and no others", seen)
        finally:
            follower.kill()


def test_lambdas_log_tail(world):
    reply, log = world.invoke("talks", {"n": 8})
    request = reply.headers["x-amzn-RequestId"]
    lines = log.splitlines()
    check(reply.status == 200 and reply.body == b"8", "it answers", reply)
    check(lines[0] == f"START RequestId: {request} Version: 1" and lines[1] == f"event 8 of {request}", "START, and what the call printed", lines)
    check(lines[2] == f"END RequestId: {request}" and lines[3].startswith(f"REPORT RequestId: {request}\tDuration: "), "END and REPORT", lines)
    check("Memory Size: 128 MB\tMax Memory Used: " in lines[3] and len(lines) == 4, "with its memory, and nothing else", lines)
    check("X-Amz-Log-Result" not in world.invoke("talks", {}, tail=False)[0].headers, "who does not ask is told nothing")
    _, log = world.invoke("talks", {"do": "many", "lines": 5000})
    check(len(log.encode()) <= 4096 and "\nline 4999\nEND" in log and "\nline 1\n" not in log, "of much its last 4 KiB", log[-300:])


def test_calls_side_by_side(world):
    """Instances of one function at a time: each call gets its own lines, whichever instance it had."""
    wrong, threads = [], []

    def call(n):
        for _ in range(5):
            connection = world.node.connect()
            reply = world.node.send("POST", "/2015-03-31/functions/talks/invocations", json.dumps({"n": n}), {"X-Amz-Log-Type": "Tail"}, connection)
            log = base64.b64decode(reply.headers.get("X-Amz-Log-Result", "")).decode()
            if log.count("event ") != 1 or f"event {n} of {reply.headers['x-amzn-RequestId']}" not in log:
                wrong.append(log)
            connection.close()

    for n in range(8):
        threads.append(threading.Thread(target=call, args=(n,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    check(not wrong, "40 calls by 8 clients have their own lines", wrong[:2])


def test_a_crash_says_how_and_what_was_last(world):
    for do, how in (("exit", "exit status 3"), ("signal", "signal 11 (Segmentation fault)")):
        reply = world.send({"do": do, "n": 1}, "talks")
        error = reply.json["error"]
        check(reply.status == 503 and error["message"] == f"Runtime.ExitError: {how}", f"{do}: the reason", reply)
        check(len(error["details"]["log"]) == 1 and error["details"]["log"][0].startswith("event 1 of "), "and the call's last lines", reply)
    reply, log = world.invoke("talks", {"do": "signal"})
    request = reply.headers["x-amzn-RequestId"]
    check(reply.status == 200 and reply.headers["X-Amz-Function-Error"] == "Unhandled", "to Lambda's clients it is the function's error", reply)
    check(reply.json == {"errorType": "Runtime.ExitError",
                         "errorMessage": f"RequestId: {request} Error: Runtime exited with error: signal: segmentation fault"}, "in Lambda's words", reply)
    check(f"event 0 of {request}\n" in log and "Error Type: Runtime.ExitError" in log, "with the lines in its log", log)
    reply = world.send({"do": "sleep"}, "talks")
    check(reply.status == 504 and "Task timed out after " in reply.json["error"]["message"], "a time limit", reply)
    check("event 0" in reply.json["error"]["details"]["log"][0], "has them, too", reply)
    reply, log = world.invoke("talks", {"do": "sleep"})
    check(reply.json["errorType"] == "Sandbox.Timedout" and "Status: timeout" in log and "event 0" in log, "in Lambda's words", (reply, log))


def test_a_crash_by_a_limit(world):
    reply = world.send({"do": "fill"}, "talks")
    message = reply.json["error"]["message"]
    check("exceeded its memory limit of 134 MB (resources.memory)" in message, "memory: which limit, and how much", reply)
    check(reply.status == 503 and "signal 9 (Killed)" in message, "with the status of any end: to come again later would not help", reply)
    check("event 0" in str(reply.json["error"].get("details")), "and the last lines", reply)
    reply, _ = world.invoke("talks", {"do": "fill"})
    check("Runtime exited with error: signal: killed" in reply.json["errorMessage"], "in Lambda's words", reply)
    check(reply.status == 200 and reply.json["errorType"] == "Runtime.ExitError" and reply.headers["X-Amz-Function-Error"] == "Unhandled",
          "as an error of the function's", reply)
    world.deploy("forks", TALKS, "--timeout", "20s", "--memory", "2GiB")
    reply = world.send({"do": "fork"}, "forks")
    message = reply.json["error"]["message"]
    check("exit status 5" in message and "processes and threads, as many as it may" in message, "processes: it says so", reply)


def test_a_start_that_fails(world):
    for name, source, kind, said in (
            ("imports", "print('before it')\nimport nothing_of_this_name\n", "Runtime.ImportModuleError", "nothing_of_this_name"),
            ("syntax", "def handler(:\n", "Runtime.UserCodeSyntaxError", "app.py"),
            ("lacks", "print('nearly')\n", "Runtime.HandlerNotFound", "Handler 'handler' missing"),
            ("ends", "import sys\nprint('good bye', flush=True)\nsys.exit(7)\n", "Runtime.ExitError", "exit status 7")):
        world.deploy(name, source)
        reply = world.send({}, name)
        error = reply.json["error"]
        check(reply.status == 503 and kind in error["message"] and said in error["message"], f"{name}: the reason", reply)
        check(error["details"]["log"], "and the last lines", reply)
        reply, log = world.invoke(name, {})
        check(reply.status == 200 and reply.json["errorType"] == kind and said in reply.json["errorMessage"], "in Lambda's words", (reply, log))
    shown = world.node.command("describe", "ends")
    check("latest failures" in shown and "exit status 7" in shown and "good bye" in shown, "describe shows it", shown)
    done = world.cli("invoke", "ends", "--data", "{}")
    check(done.returncode == 1 and "  good bye" in done.stderr and "exit status 7" in done.stderr, "and so does invoke", done)


def test_describe_shows_crashes(world):
    world.send({"do": "exit", "n": 77}, "talks")
    failures = world.node.wait(lambda: world.node.get("/api/functions/talks")["failures"],
                               lambda all_: any("event 77" in failure["log"] for failure in all_), 10)
    (crash,) = [failure for failure in failures if "event 77" in failure["log"]]
    check(crash["reason"] == "Runtime.ExitError: exit status 3" and crash["process"] > 0 and crash["version"] == 1, "with reason, instance and version", crash)
    check("event 77 of" in world.node.command("describe", "talks"), "and its last lines")


def test_the_commands(world):
    done = world.cli("invoke", "talks", "--data", '{"n": 9, "do": "err"}', "--tail")
    lines = done.stderr.splitlines()
    check(done.stdout == "9\n" and lines[0].startswith("START") and set(lines[1:3]) >= {"to stderr"} and lines[3].startswith("END"), "--tail", done)
    check(sum("event 9 of" in line for line in lines) == 1 and "REPORT" in lines[4] and len(lines) == 5, "shows this call's lines, and no others", lines)
    done = world.cli("invoke", "talks", "--data", '{"do": "exit"}', "--tail")
    check(done.returncode == 1 and "event 0 of" in done.stderr and "exit status 3" in done.stderr.splitlines()[-1], "of a crash, too", done)
    done = world.cli("invoke", "talks", "--data", '{"do": "raise"}', "--tail")
    check("[ERROR] ValueError: no such thing" in done.stderr, "and of an error", done)


LEVELS = """\
import json, logging, sys
logging.getLogger().setLevel(logging.DEBUG)

def handler(event, context):
    print("plain")
    print(json.dumps({"level": "WARN", "message": "in json", "timestamp": "2026-01-01T00:00:00Z"}))
    print(json.dumps({"severity": "CRITICAL", "message": "by google"}))
    logging.error("by logging")
    logging.debug("a detail")
    print(json.dumps({"level": "error", "text": "x" * 5000}))
    return 1
"""


def test_levels(world):
    world.deploy("levels", LEVELS)
    world.send({}, "levels")
    lines = world.node.wait(lambda: [line for line in world.lines("levels") if "stream" in line], lambda lines: len(lines) >= 8, 20)
    levels = {words: next(line["level"] for line in lines if words in line["message"])
              for words in ("plain", "in json", "by google", "by logging", "a detail")}
    check(levels["plain"] == "info" and levels["in json"] == "warn", "JSON's level", levels)
    check(levels["by google"] == "fatal", "Google's severity", levels)
    check(levels["by logging"] == "error" and levels["a detail"] == "debug", "a level in the text", levels)
    long = [line for line in lines if "xxx" in line["message"]]
    check(len(long) == 3 and {line["level"] for line in long} == {"error"} and sum(len(line["message"]) for line in long) > 5000,
          "a long line is kept in pieces of one level", [len(line["message"]) for line in long])
    warned = world.messages("levels", "--level", "warn")
    check("plain" not in warned and "a detail" not in str(warned) and len(warned) == 6, "--level shows what is at least as grave", warned)
    check(all(line["time"] > "2026-01-01T01" for line in lines), "a time that can't be true is not believed", lines)


LOGGING = """\
import logging
logging.basicConfig(format="not heeded: there is a handler", level=logging.DEBUG)
logging.getLogger().setLevel(logging.INFO if not __import__("os").environ.get("AWS_LAMBDA_LOG_LEVEL") else logging.root.level)
log = logging.getLogger("shop")

def handler(event, context):
    log.info("sold %d", event["n"], extra={"place": "here"})
    log.debug("a detail")
    log.warning({"left": 3})
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("broken")
    print("by hand")
    if event["n"] < 0:
        raise ValueError("not sold")
    return 1
"""
CALL = "00000000-0000-4000-8000-0000000000a1"


def configure(world, name, **logging):
    """By Lambda's own call; the configuration that it answers."""
    return world.node.send("PUT", f"/2015-03-31/functions/{name}/configuration", json.dumps({"LoggingConfig": logging}), {})


def printed_by(world, name, event, version, *words):
    """What one call of a version has printed, once all the words are there: the node's lines."""
    def lines():
        every = [json.loads(line) for line in world.node.command("logs", name, "--json", "--request", CALL).splitlines()]
        return [line for line in every if "outcome" not in line and line["version"] == version]
    world.send(event, name, headers={"X-Request-Id": CALL})
    return world.node.wait(lines, lambda found: all(word in str(found) for word in words), 20)


def check_python_logging(world, name, left):
    """What AWS's client for Python does with `logging`, by text and by JSON: of ours, and of AWS's own (containers.py)."""
    text = printed_by(world, name, {"n": 2}, 1, "by hand")
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    said = [line["message"] for line in text]
    check(re.fullmatch(rf"\[INFO\]\t{stamp}\t{CALL}\tsold 2", said[0]), "text: level, time, call and words", said)
    check(re.fullmatch(rf"\[WARNING\]\t{stamp}\t{CALL}\t{{'left': 3}}", said[1]) and text[1]["level"] == "warn", "with the level", text)
    # AWS's client ends no line behind a trace.
    check(said[2].endswith("\tbroken") and "ZeroDivisionError: division by zero" in str(said), "an exception and its trace", said)
    check("a detail" not in str(said), "and nothing below the level that the code sets")

    reply = configure(world, name, LogFormat="JSON", ApplicationLogLevel="WARN", SystemLogLevel="WARN")
    check(reply.status == 200 and reply.json["LoggingConfig"]["ApplicationLogLevel"] == "WARN", "LoggingConfig is kept", reply)
    lines = printed_by(world, name, {"n": -1}, 2, "by hand", "not sold")
    said = [line["message"] for line in lines if "LAMBDA_WARNING" not in line["message"]]  # of theirs: that an update of theirs may be the cause
    objects = [json.loads(text) for text in said if text.startswith("{")]
    check(len(objects) == 3, "one object each", objects)
    warned, failed, broken = sorted(objects, key=lambda told: told.get("errorType", ""))
    check({"level": "WARNING", "message": left, "logger": "shop", "requestId": CALL}.items() <= warned.items()
          and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", warned["timestamp"]) and set(warned) == {"timestamp", "level", "message", "logger",
          "requestId"}, "JSON: the same as an object, at least as grave as was asked", warned)
    check(broken["message"] == "broken" and broken["errorType"] == "ZeroDivisionError" and broken["errorMessage"] == "division by zero"
          and broken["stackTrace"] and ":handler:" in broken["location"], "an exception with its type, words, trace and place", broken)
    check("ERROR" in (failed.get("level"), failed.get("log_level")) and failed["errorType"] == "ValueError" and failed["errorMessage"] == "not sold"
          and failed["requestId"] == CALL, "what the handler raised, too", failed)
    check("by hand" in [line["message"] for line in lines], "what is printed stays as it is", lines)
    check({line["level"] for line in lines if line["message"].startswith("{")} >= {"warn", "error"}, "and the log has their levels", lines)

    configure(world, name, ApplicationLogLevel="TRACE")
    lines = printed_by(world, name, {"n": 3}, 3, "by hand")
    sold = json.loads(lines[0]["message"])
    check(sold["message"] == "sold 3" and sold["place"] == "here" and "a detail" in str(lines), "TRACE lets all through, with what was given beside",
          lines)
    reply = configure(world, name, LogFormat="Text")
    check(reply.json["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}, "and back to text", reply)


def test_pythons_logging(world):
    world.deploy("logging", LOGGING)
    check_python_logging(world, "logging", {"left": 3})


def test_pythons_logging_in_forks(world):
    """A template has logging set up; its forks say their own calls."""
    world.deploy("forked-logging", LOGGING, "--max", "1")
    for _ in range(3):
        world.send({"n": 1}, "forked-logging")
        world.node.command("scale", "forked-logging", "0")
        world.node.wait(lambda: [p for p in world.node.processes("forked-logging") if p["role"] == "instance"], lambda all_: not all_, 30)
        world.node.command("scale", "forked-logging", "1")
    said = [line["message"] for line in printed_by(world, "forked-logging", {"n": 5}, 1, "by hand")]
    check(f"\t{CALL}\tsold 5" in said[0], "a fork says its own call", said)


CONSOLE = """\
exports.handler = async (event) => {
  console.log("sold %d", event.n);
  console.debug("a detail");
  console.warn({ left: 3 });
  console.error("broken", new RangeError("too far"));
  const round = {};
  round.round = round;
  console.info(round);
  process.stdout.write("by hand\\n");
  if (event.n < 0) throw new TypeError("not sold");
  return 1;
};
"""


def test_nodes_console(world):
    if not (runtime := languages.node_here()):
        return languages.without("node")
    folder = world.folder / "console"
    folder.mkdir()
    (folder / "app.js").write_text(CONSOLE)
    (folder / "function.yaml").write_text(f"runtime: {runtime}\nhandler: app.handler\nlogging: {{format: json}}\n")
    world.node.command("deploy", str(folder))
    lines = printed_by(world, "console", {"n": 2}, 1, "by hand", "too far")
    objects = [json.loads(line["message"]) for line in lines if line["message"].startswith("{")]
    at = {str(told["message"]): told for told in objects}
    sold, broken = at["sold 2"], next(told for told in objects if "errorType" in told)
    check(sold["level"] == "INFO" and sold["requestId"] == CALL and re.fullmatch(r"[-0-9T:]{19}\.\d{3}Z", sold["timestamp"]), "console.log", sold)
    check(any(told["message"] == {"left": 3} and told["level"] == "WARN" for told in objects), "an object stays one", objects)
    check(broken["level"] == "ERROR" and broken["errorType"] == "RangeError" and broken["errorMessage"] == "too far" and broken["stackTrace"],
          "an error with its type, words and trace", broken)
    check("a detail" not in str(lines) and "<ref *1>" in str(objects), "INFO is the level where none is said; a circle is told as text", lines)
    check("by hand" in [line["message"] for line in lines], "what is written by hand stays as it is", lines)
    configure(world, "console", ApplicationLogLevel="ERROR")
    lines = printed_by(world, "console", {"n": -1}, 2, "by hand", "not sold")
    objects = [json.loads(line["message"]) for line in lines if line["message"].startswith("{")]
    check([told["level"] for told in objects] == ["ERROR", "ERROR"] and objects[1]["errorType"] == "TypeError" and objects[1]["requestId"] == CALL,
          "what is less grave is not said, and what the handler throws is", lines)


def test_what_logging_can_not_be(world):
    for config, words in (({"LogFormat": "XML"}, "Text, JSON"), ({"LogFormat": "Text", "ApplicationLogLevel": "INFO"}, "LogFormat JSON"),
                          ({"LogFormat": "JSON", "ApplicationLogLevel": "LOUD"}, "TRACE, DEBUG"),
                          ({"LogFormat": "JSON", "SystemLogLevel": "ERROR"}, "DEBUG, INFO, WARN")):
        reply = configure(world, "talks", **config)
        check(reply.status == 400 and words in reply.json.get("message", reply.json.get("Message", "")), f"{config} is refused", reply)
    folder = world.folder / "odd"
    folder.mkdir()
    (folder / "app.py").write_text("def handler(event, context):\n    return 1\n")
    for yaml, words in (("{format: jsn}", "json"), ("{level: warn}", "format json"), ("{format: json, level: wrn}", "warn")):
        (folder / "function.yaml").write_text(f"runtime: {run.RUNTIME}\nhandler: app.handler\nlogging: {yaml}\n")
        done = world.cli("deploy", str(folder))
        check(done.returncode == 1 and words in done.stderr, f"logging: {yaml} is refused", done)


def test_nobody_sees_another_callers_lines(world):
    """A program that takes several calls at a time: whose a line is can't be known, so no caller is shown any."""
    folder = world.folder / "shared"
    folder.mkdir()
    (folder / "server.py").write_text(SHARED)
    (folder / "function.yaml").write_text("runtime: http\nhandler: python3 server.py\nscaling: {max: 1}\n")
    world.node.command("deploy", str(folder))
    world.node.send("POST", "/functions/shared/", "first")

    def wait():
        connection = world.node.connect()
        world.node.send("POST", "/functions/shared/", "wait", {}, connection)
        connection.close()

    other = threading.Thread(target=wait)
    other.start()
    world.node.wait(lambda: world.messages("shared"), lambda all_: "secret wait" in all_, 20)
    reply = world.node.send("POST", "/functions/shared/", "end", {"X-Mayfly-Log": "tail"})
    other.join()
    check(reply.status == 503 and "status 4" in reply.json["error"]["message"], "its end is told", reply)
    check(b"secret" not in reply.body and "secret" not in str(reply.headers), "and nobody's lines", (reply, reply.headers))
    failures = world.node.wait(lambda: world.node.get("/api/functions/shared")["failures"], len, 10)
    check("secret wait" in failures[0]["log"], "its owner sees them all", failures)
    check(all("request_id" not in line for line in world.lines("shared") if "outcome" not in line), "the log says of no line whose call it was")


def test_words_that_look_like_the_platforms(world):
    """What marks a line in the pipe is no more than text in a program's mouth."""
    world.deploy("forges", "def handler(event, context):\n"
                           "    print('\\x1e16' + 'f' * 32 + '0' * 16 + '0' * 7 + '1' + 'forged')\n"
                           "    return 1\n")
    reply = world.send({}, "forges")
    line = world.node.wait(lambda: [line for line in world.lines("forges") if "forged" in line.get("message", "")], len, 10)[0]
    check(line["request_id"] == reply.headers["X-Request-Id"] and line["level"] == "info", "the line is its own call's all the same", line)


if __name__ == "__main__":
    main(globals(), World)
