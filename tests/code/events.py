#!/usr/bin/env python3
"""Events on a real node: calls that nobody waits for, which outlive failures, restarts and kills.

    tests/code/events.py --mayfly build/mayfly [NAME …]
"""
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from run import Failed, Node, RUNTIME, check, main  # noqa: E402

APP = """
import json, os, time

def handler(event, context):
    print("EVENT", json.dumps(event), "id", context.aws_request_id, "client", context.client_context and context.client_context.custom, flush=True)
    if event.get("do") == "raise":
        raise ValueError("no such thing")
    if event.get("do") == "sleep":
        time.sleep(event["seconds"])
    print("DONE", event.get("mark"), flush=True)
    return {"was": event}
"""


class World:
    def __init__(self, binary):
        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-events-"))
        (self.folder / "config.yaml").write_text("events: {retry_wait: 200ms}\n")
        self.binary = binary
        self.start()
        for name in ("worker", "outcomes"):
            (self.folder / name).mkdir()
            (self.folder / name / "app.py").write_text(APP)
            self.node.command("deploy", str(self.folder / name), "--runtime", RUNTIME, "--handler", "app.handler", "--timeout", "20s")

    def start(self):
        self.node = Node(self.binary, "--config", str(self.folder / "config.yaml"), data=str(self.folder / "data"))

    def kill(self):
        self.node.process.kill()
        self.node.process.wait()
        self.start()

    def send(self, event, name="worker", headers=None):
        return self.node.send("POST", f"/2015-03-31/functions/{name}/invocations", json.dumps(event),
                              {"X-Amz-Invocation-Type": "Event", **(headers or {})})

    def log(self, name="worker"):
        return self.node.command("logs", name, "--count", "10000")

    def told(self, text, times=1, name="worker"):
        """The log once it says so often enough."""
        return self.node.wait(lambda: self.log(name), lambda log: log.count(text) >= times, 20)

    def waiting(self):
        text = self.node.send("GET", "/metrics").body.decode()
        return int(re.search(r"^mayfly_events_waiting (\d+)$", text, re.M).group(1))

    def close(self):
        self.node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def test_nobody_waits(world):
    reply = world.send({"mark": "one"}, headers={"X-Request-Id": "0f7f8b5e-7d0f-4c55-8d4f-0b6f2f0c6d01",
                                                "X-Amz-Client-Context": "eyJjdXN0b20iOiB7ImsiOiAidiJ9fQ=="})
    check(reply.status == 202 and reply.body == b"", "an event is kept: 202 and nothing else", reply)
    log = world.told("DONE one")
    check("id 0f7f8b5e-7d0f-4c55-8d4f-0b6f2f0c6d01" in log and "client {'k': 'v'}" in log, "it runs under its own id, with its context", log)
    reply = world.node.send("POST", "/functions/worker", '{"mark": "two"}', {"Prefer": "wait=5, respond-async"})
    check(reply.status == 202 and reply.headers["X-Request-Id"], "any call may be one: Prefer: respond-async", reply)
    check("kept as event" in world.node.command("invoke", "worker", "--event", "--data", '{"mark": "three"}'), "as the command line's")
    reply = world.node.send("POST", "/2014-11-13/functions/worker/invoke-async/", '{"mark": "four"}')
    check(reply.status == 202, "InvokeAsync is one, too", reply)
    for mark in ("two", "three", "four"):
        world.told(f"DONE {mark}")
    world.node.wait(world.waiting, lambda count: count == 0, 10)
    check(True, "all of them ran, and none is left")


def test_what_is_refused(world):
    check(world.send({}, "nobody").status == 404, "an event for a function that is not there")
    reply = world.send({"text": "x" * (1 << 20)})
    check(reply.status in (400, 413) and "1.0" in str(reply.body), "one of more than 1 MiB", reply)
    reply = world.node.send("POST", "/2015-03-31/functions/worker/invocations", "{}", {"X-Amz-Invocation-Type": "Later"})
    check(reply.status == 400 and "Event" in str(reply.body), "an unknown type, with those that are there", reply)


def test_what_fails_is_tried_twice_more(world):
    before = world.log().count("ValueError: no such thing")
    world.send({"do": "raise", "mark": "fails"})
    log = world.told("ValueError: no such thing", before + 3)
    world.node.wait(world.waiting, lambda count: count == 0, 10)
    check(world.log().count("ValueError: no such thing") == before + 3, "three times in all", log[-600:])
    text = world.node.send("GET", "/metrics").body.decode()
    check('mayfly_events_total{outcome="failed"} 1' in text and 'mayfly_events_total{outcome="retried"} 2' in text, "and counted", text[-600:])


def test_outcomes(world):
    of = "arn:aws:lambda:us-east-1:000000000000:function:outcomes"
    reply = world.node.send("PUT", "/2019-09-25/functions/worker/event-invoke-config", json.dumps(
        {"MaximumRetryAttempts": 0, "DestinationConfig": {"OnFailure": {"Destination": of}, "OnSuccess": {"Destination": of}}}))
    check(reply.status == 200, "a function may be named for outcomes", reply)
    reply = world.node.send("PUT", "/2019-09-25/functions/outcomes/event-invoke-config", json.dumps(
        {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:q"}}}))
    check(reply.status == 400 and "functions of this node" in str(reply.body), "others are refused by name", reply)
    world.send({"mark": "told"})
    world.send({"do": "raise", "mark": "told, too"})
    log = world.told("DONE", 2, "outcomes")
    check('"condition": "Success"' in log and '"responsePayload": {"was": {"mark": "told"}}' in log, "what came of one", log)
    check('"condition": "RetriesExhausted"' in log and '"errorType": "ValueError"' in log and '"mark": "told, too"' in log,
          "what another failed at, with the event", log)
    world.node.send("DELETE", "/2019-09-25/functions/worker/event-invoke-config")


def test_a_node_that_is_killed_forgets_none(world):
    def ran():
        return world.node.get("/api/usage?function=worker")["sums"][0]["invocations"]

    before = ran()
    for i in range(40):
        reply = world.send({"do": "sleep", "seconds": 0.05, "mark": f"kept-{i}-"})
        if reply.status != 202:
            raise Failed(repr(reply))
    world.kill()
    left = world.waiting()
    world.node.wait(world.waiting, lambda count: count == 0, 60)
    log = world.log()
    done = sum(f"DONE kept-{i}-" in log for i in range(40))
    check(left > 0 and done >= left, f"{left} had no outcome when it was killed, and run", (left, done))
    check(ran() >= before + 40, "each has run at least once", (before, ran()))


if __name__ == "__main__":
    main(globals(), World)
