#!/usr/bin/env python3
"""Instances of code that are idle stop where they are, and go on when they are called.

    tests/code/freeze.py --mayfly build/mayfly [NAME …]
"""
import sys
import textwrap
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import run  # noqa: E402
from run import RUNTIME, check  # noqa: E402

# A thread counts while nobody calls; a child of the program does, too.
COUNTS = textwrap.dedent("""
    import os, pathlib, threading, time

    HEAP = bytearray(os.urandom(1 << 20)) * 40
    TICKS = [0]

    def count():
        while True:
            TICKS[0] += 1
            time.sleep(0.01)

    threading.Thread(target=count, daemon=True).start()
    FILE, NEXT = pathlib.Path("/tmp/child"), pathlib.Path("/tmp/next")
    FILE.write_text("0")  # a call may come before the child's first
    if os.fork() == 0:
        n = 0
        while True:
            n += 1
            NEXT.write_text(str(n))
            NEXT.rename(FILE)
            time.sleep(0.01)

    def handler(event, context):
        return {"ticks": TICKS[0], "child": int(FILE.read_text()), "whole": len(HEAP) == 40 << 20 and HEAP[:9] == HEAP[-(1 << 20):][:9],
                "pid": os.getpid()}
""")


class World(run.World):
    def deploy_counting(self, name, after):
        folder = self.folder / name
        folder.mkdir()
        (folder / "app.py").write_text(COUNTS)
        (folder / "function.yaml").write_text(
            f"runtime: {RUNTIME}\nhandler: app.handler\nresources: {{memory: 256MiB}}\nscaling: {{min: 1, max: 1, freeze_after: {after}}}\n")
        self.node.command("deploy", str(folder))

    def one(self, name, good, seconds=30):
        seen = self.node.wait(lambda: [p for p in self.node.processes(name) if p["role"] == "instance"],
                              lambda all_: len(all_) == 1 and good(all_[0]), seconds)
        return seen[0]


def is_frozen(process):
    return process["frozen"]


def can_freeze():
    return any(" - cgroup2 " in line for line in Path("/proc/self/mountinfo").read_text().splitlines())


def test_what_is_idle_stops_and_goes_on(world):
    world.deploy_counting("counts", "1s")
    first = world.call({}, "counts")
    if not can_freeze():
        return print("   -- no cgroup2 file system is mounted: nothing is frozen here")
    world.one("counts", is_frozen)
    shown = world.node.command("instances", "counts")
    check("frozen" in shown, "instances shows it", shown)
    metrics = world.node.send("GET", "/metrics").body.decode()
    check('state="frozen"} 1' in metrics, "and so do the metrics")
    time.sleep(2)                                      # 200 ticks, if it ran
    again = world.call({}, "counts")
    check(again["pid"] == first["pid"] and again["whole"], "the same process answers the next call, with what it had", again)
    check(again["ticks"] - first["ticks"] < 250, "its threads had stopped within the time that it was idle", (first, again))
    check(again["child"] - first["child"] < 250, "and what it had started", (first, again))
    time.sleep(0.3)
    later = world.call({}, "counts")
    check(later["ticks"] > again["ticks"] and later["child"] > again["child"], "all of it goes on", (again, later))


def test_what_is_frozen_can_be_stopped(world):
    world.deploy_counting("stops", "1s")
    world.call({}, "stops")
    if not can_freeze():
        return
    world.one("stops", is_frozen)
    world.node.command("delete", "stops", "--yes")
    world.node.wait(lambda: world.node.processes("stops"), lambda all_: not all_, 20)
    check(True, "one whose function is deleted ends")


def test_what_does_not_want_to(world):
    world.deploy_counting("runs", "never")
    first = world.call({}, "runs")
    time.sleep(3)
    again = world.call({}, "runs")
    check(again["ticks"] - first["ticks"] > 50, "freeze_after: never", (first, again))


if __name__ == "__main__":
    run.main(globals(), World)
