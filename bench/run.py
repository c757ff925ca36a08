#!/usr/bin/env python3
"""The numbers that Mayfly promises, each beside its floor on this machine: build/venv/bin/python bench/run.py [NAME…]   (make bench)

Core 0 has the node and its instances, core 1 the load, unless a measurement says otherwise. Ratios and CPU time say more
than wall time on a machine that others use too. Prints one line for each bar, and docs/measurements.md says what they mean.
"""
import asyncio
import json
import subprocess
import threading
import time
from pathlib import Path
from statistics import median

from measure import BENCH, ROOT, SIZE, Client, artifact, bare, cpu_seconds, deploy, main, node_on, private_memory, request_for, say, \
    to_zero, tree, v2_json, wait_ready, wrk
from node import rss, zygote_of


def tabular():
    with node_on(0) as node:
        deploy(node, "fraud")
        url, body = node.url + "/v2/models/fraud/infer", v2_json("fraud")
        client = Client(node)
        client.call(request_for("fraud"))
        wrk(1, 64, 1, url, body)
        ratios = []
        for _ in range(3):
            floor = bare(0, artifact(node, "fraud"), 1, 30, 1)["cpu_us"]
            before = cpu_seconds(tree(node))
            load = wrk(1, 64, 4, url, body)
            spent = (cpu_seconds(tree(node)) - before) / load["requests"] * 1e6
            ratios.append((spent / floor, spent, floor, load["requests"] / load["us"] * 1e6, load["bad"]))
        ratio, spent, floor, rate, bad = sorted(ratios)[1]
        say("tabular, V2 JSON, 64 connections: CPU of node and instance per request", f"{ratio:.1f} x Run", "7 x", ratio <= 7 and not bad,
            f"{spent:.1f} us, Run {floor:.2f} us, {rate:.0f} requests/s")
        size = client.size
        responder = subprocess.Popen(["taskset", "-c", "0", BENCH / "bench/epoll_floor", "0", str(size)],
                                     stdout=subprocess.PIPE, text=True)
        try:
            floor_url = "http://" + responder.stdout.readline().strip() + "/"
            pairs = [(wrk(1, 1, 2, floor_url, body)["p50"], wrk(1, 1, 2, url, body)["p50"]) for _ in range(3)]
        finally:
            responder.kill()
            responder.wait()
        round_trip, p50 = (median(side) for side in zip(*pairs))
        say("tabular, one client: p50", f"{p50:.0f} us", "2 x the epoll responder's round trip + Run", p50 <= 2 * round_trip + floor,
            f"responder {round_trip:.0f} us, Run {floor:.1f} us")


def sentences():
    with node_on(0) as node:
        deploy(node, "sentences")
        url, body = node.url + "/v2/models/sentences/infer", v2_json("sentences")
        wrk(1, 16, 3, url, body)
        shares = []
        for _ in range(3):
            loops = [bare(0, artifact(node, "sentences"), rows, 32, 2, pack)["rows_per_second"] for rows in (8, 16) for pack in (0, 1)]
            load = wrk(1, 16, 5, url, body)
            shares.append((load["requests"] / load["us"] * 1e6 / max(loops), load["requests"] / load["us"] * 1e6, max(loops), load["bad"]))
        share, rate, loop, bad = sorted(shares)[1]
        say("MiniLM seq 32, 16 connections, one core", f"{share:.1%} of the bare batch loop", "95 %", share >= 0.95 and not bad,
            f"{rate:.0f} rows/s, bare {loop:.0f}")


def cold():
    with node_on(0, 1) as node:
        for name in ("fraud", "detector", "sentences", "sentences-int8"):
            deploy(node, name)
            model, message = artifact(node, name), request_for(name)
            tuning = node.get(f"/api/functions/{name}/versions/1")["compiled"]["tuning"]
            size, pack = SIZE[name], int(tuning["pack_cold"])
            floors, ours = [], []
            for _ in range(5):  # turn by turn: both see the same neighbours
                floors.append(bare("0,1", model, "cold", 10, size, pack)["cold_us"] / 1e3)
                for _ in range(10):
                    client = Client(node)
                    to_zero(node, name)
                    time.sleep(0.05)
                    ours.append(client.call(message) * 1e3)
            phases = [s for s in node.get(f"/api/functions/{name}")["cold_starts"] if s["origin"] == "artifact"]
            shown = ", ".join(f"{key} {median(s[key + '_ms'] for s in phases):.2f}" for key in ("sandbox", "map", "load"))
            say(f"cold start, template evicted, {name}", f"{median(ours):.2f} ms", "bare fork-map-run + 3 ms", median(ours) <= median(floors) + 3,
                f"bare {median(floors):.2f} ms; ms by phase: {shown}")


def kept():
    with node_on(0, 1) as node:
        deploy(node, "sentences")
        run = bare(0, artifact(node, "sentences"), 1, 32, 2, 1)["run_us"] / 1e3
        message, kept = request_for("sentences"), []
        keep_template(node, "sentences")
        for _ in range(50):
            client = Client(node)
            to_zero(node, "sentences", evict=False)
            time.sleep(0.05)
            kept.append(client.call(message) * 1e3)
        say("cold start, template kept, MiniLM", f"{median(kept):.2f} ms", "Run + 4 ms", median(kept) <= run + 4, f"Run {run:.2f} ms")


def growth():
    with node_on(0, 1) as node:
        deploy(node, "sentences")
        order = {"name": "sentences", "files": node.get("/api/functions/sentences/versions/1")["files"], "alias": "live",
                 "manifest": "model: model.onnx\nscaling: {concurrency: 1, max: 2}"}  # a call that meets a busy instance waits for a new one
        node.send("POST", "/api/functions", json.dumps(order), {"Content-Type": "application/json"})
        keep_template(node, "sentences")
        run = bare(0, artifact(node, "sentences"), 1, 32, 2, 1)["run_us"] / 1e3
        load = threading.Thread(target=wrk, args=("0,1", 2, 12, node.url + "/v2/models/sentences/infer", v2_json("sentences")))
        load.start()
        seen = {}
        for _ in range(40):
            time.sleep(0.25)
            node.post("/api/functions/sentences/scale", '{"instances": 1}')  # it has work for two: the next decision adds one
            seen |= {start["at"]: start for start in node.get("/api/functions/sentences")["cold_starts"]}
        load.join()
        grown = [s["first_answer_ms"] for s in seen.values() if s["origin"] == "fork" and s["first_answer_ms"]]
        say("a busy MiniLM grows by one: decision to its first answer", f"{median(grown):.2f} ms", "Run + 4 ms", median(grown) <= run + 4,
            f"Run {run:.2f} ms; {len(grown)} times, half of them {sorted(grown)[len(grown) // 4]:.1f} to {sorted(grown)[len(grown) * 3 // 4]:.1f} ms")


def burst():
    with node_on(0, 1) as node:
        deploy(node, "fraud")
        to_zero(node, "fraud")
        out = json.loads(node.command("bench", "fraud", "--rate", "700", "--duration", "30s", "--warmup", "0s", "-c", "64", "--json", timeout=120))
        lost = out["sent"] - out["answered"] + out["unsent"]
        say("burst of 700 requests/s for 30 s at zero", f"{lost} lost, {out['errors']} not 2xx", "0, 0", lost == 0 and out["errors"] == 0,
            f"{out['answered']} answered, p50 {out['latency']['p50_ms']:.2f} ms, p99 {out['latency']['p99_ms']:.2f} ms")


async def all_at_once(node, messages):
    host, port = node.host.split(":")
    links = [await asyncio.open_connection(host, int(port)) for _ in messages]
    begun = time.perf_counter()

    async def one(link, message):
        link[1].write(message)
        line = await link[0].readline()
        return line.split()[1] == b"200", (time.perf_counter() - begun) * 1e3

    answers = await asyncio.gather(*(one(link, message) for link, message in zip(links, messages)))
    for link in links:
        link[1].close()
    return answers


def hundred():
    with node_on(0, 1) as node:
        for i in range(100):
            node.command("deploy", str(ROOT / "build/models/fraud"), "--name", f"f{i}")
        wait_ready(node)
        for i in range(100):
            to_zero(node, f"f{i}")
        floor = bare("0,1", artifact(node, "f0"), "cold", 50, 30)["cold_us"] / 1e3
        answers = asyncio.run(all_at_once(node, [request_for("fraud").replace(b"/fraud/", b"/f%d/" % i) for i in range(100)]))
        times = sorted(took for _, took in answers)
        errors = sum(not good for good, _ in answers)
        say("100 functions from zero at once", f"p95 {times[94]:.0f} ms, {errors} errors", "0 errors", errors == 0,
            f"p50 {times[49]:.0f} ms; their bare times on 2 cores: {floor * 50:.0f} ms")


def keep_template(node, name):
    """Calls once, waits for the template that this brings, and leaves nothing else."""
    Client(node).call(request_for(name))
    node.wait(lambda: node.processes(name), lambda seen: any(p["role"] == "template" and p["state"] == "ready" for p in seen), 10)
    to_zero(node, name, evict=False)


def maps_artifact(pid):
    try:
        return "/artifacts/" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False  # it ended


def shared():
    with node_on(0, 1) as node:
        deploy(node, "sentences")
        node.command("deploy", str(ROOT / "build/models/sentences"), "--min", "16", "--max", "16")  # compiled already
        Client(node).call(request_for("sentences"))
        node.wait(lambda: node.processes("sentences"), lambda seen: any(p["role"] == "template" and p["state"] == "ready" for p in seen), 60)
        node.command("scale", "sentences", "0")  # `min` brings them back, from the template
        node.wait(lambda: [p for p in node.processes("sentences") if p["role"] == "instance" and p["state"] == "ready"],
                  lambda seen: len(seen) == 16 and all(p["origin"] == "fork" for p in seen), 60)
        wrk("0,1", 16, 4, node.url + "/v2/models/sentences/infer", v2_json("sentences"))
        time.sleep(1.5)
        # Who has mapped the model; the template is the one with the packed weights.
        holders = [pid for pid in tree(node) if maps_artifact(pid)]
        *private, template = sorted(private_memory(pid) / 2**20 for pid in holders)
        answered = sum(p["answered"] > 0 for p in node.processes("sentences") if p["role"] == "instance")
        say("16 warm MiniLM instances: private memory", f"median {median(private):.1f} MiB, most {private[-1]:.1f} MiB", "3 MB each",
            len(private) == answered == 16 and private[-1] * 2**20 <= 3e6, f"{answered} of {len(private)} have answered; template {template:.1f} MiB")


def idle():
    with node_on(0, 1) as node:
        deploy(node, "fraud")
        version = node.get("/api/functions/fraud/versions/1")
        for i in range(9999):
            reply = node.send("POST", "/api/functions", json.dumps({"name": f"f{i}", "files": version["files"]}), {"Content-Type": "application/json"})
            if reply.status != 201:
                raise RuntimeError(repr(reply))
        wait_ready(node, 4 * 3600)  # each is compiled and measured
        time.sleep(5)
        before, begun = cpu_seconds(tree(node)), time.monotonic()
        time.sleep(10)
        share = (cpu_seconds(tree(node)) - before) / (time.monotonic() - begun)
        size = rss(node.process.pid) / 2**20
        say("10,000 functions at zero", f"{size:.0f} MiB RSS, {share:.2%} of a core", "200 MiB, 1 %", size <= 200 and share <= 0.01)


def cycles():
    with node_on(0, 1) as node:
        deploy(node, "fraud")
        message, sizes = request_for("fraud"), {}
        for i in range(1, 1001):
            Client(node).call(message)
            to_zero(node, "fraud")
            if i in (100, 1000):
                time.sleep(1)
                sizes[i] = (rss(node.process.pid) / 2**20, rss(zygote_of(node)) / 2**20)
        grown = [after - before for before, after in zip(sizes[100], sizes[1000])]
        say("1,000 cycles of load, infer, unload", f"node {grown[0]:+.2f} MiB, zygote {grown[1]:+.2f} MiB after cycle 100", "2 MiB",
            max(grown) <= 2, f"node {sizes[1000][0]:.1f} MiB, zygote {sizes[1000][1]:.1f} MiB")


def deploys():
    with node_on(0, 1) as node:
        for name in ("fraud", "sentences"):
            begun = time.perf_counter()
            node.command("deploy", str(ROOT / "build/models" / name), "--name", name, "--no-wait")
            took = time.perf_counter() - begun
            first = Client(node).call(request_for(name))
            say(f"deployed until it serves, {name}", f"{took * 1e3:.0f} ms", "1 s, upload included", took <= 1,
                f"first answer, by the model as uploaded while it is compiled: {first * 1e3:.0f} ms more")


if __name__ == "__main__":
    main((tabular, sentences, cold, kept, growth, burst, hundred, shared, idle, cycles, deploys))
