#!/usr/bin/env python3
"""The whole story on real input: deploy three real models, call them, watch them sleep and wake, read the bill; make one smaller; then run one
function of each of four other platforms as it is; stop.

    build/venv/bin/python examples/demo.py --mayfly build/mayfly        (make demo builds all that it needs)

Starts its own node on a free port with a data directory of its own, and stops it whatever happens. Each line that
begins with "ok" was checked; the first that does not hold ends the demo with exit status 1.
"""
import argparse
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from node import Failed, Node, check, elapsed
from tensors import binary_infer

EXAMPLES = Path(__file__).resolve().parent
MODELS = EXAMPLES.parent / "build" / "models"
NAMES = ("fraud", "photos", "sentences")
BURST = 200
WARM_CALLS = 20

sys.path.insert(0, str(EXAMPLES / "sentences"))
from wordpiece import WordPiece  # noqa: E402  (a file of one example, not a package)


def chapter(text):
    print(f"\n== {text}", flush=True)


def samples(name):
    path = MODELS / "samples" / name / "samples.json"
    if not path.exists():
        raise Failed(f"{path} is missing: run build/venv/bin/python examples/get_models.py {' '.join(NAMES)}")
    return json.loads(path.read_text())


def same(answer, other):
    """Equal but for the last digits: another batch size or packed weights add in another order."""
    return answer.keys() == other.keys() and all(
        np.shape(answer[key]) == np.shape(other[key]) and np.allclose(answer[key], other[key], rtol=1e-3, atol=1e-5) for key in answer)


class Demo:
    def __init__(self, node):
        self.node = node
        self.calls = dict.fromkeys(NAMES, 0)  # what this demo sent, to compare with the bill
        self.one = {}                         # name: a small request of one row
        self.answers = {}                     # name: the answer to it

    def call(self, name, inputs, connection=None):
        self.calls[name] += 1
        return self.node.post(f"/functions/{name}", json.dumps(inputs), connection=connection)

    def deploy(self):
        chapter("deploy: three folders, each a model and a function.yaml")
        for name in NAMES:
            size = (MODELS / name / "model.onnx").stat().st_size
            took, output = elapsed(lambda name=name: self.node.command("deploy", str(MODELS / name)))
            print("\n".join("   " + line for line in output.strip().splitlines()))
            check(True, f"{name}: {size / 1e6:.2f} MB deployed in {took * 1e3:.0f} ms")
        started = time.monotonic()
        for name in NAMES:
            stage = self.node.wait(lambda name=name: self.node.get(f"/api/functions/{name}/versions/1")["stage"],
                                   lambda stage: stage in ("ready", "failed"), 60)
            check(stage == "ready", f"{name}: version 1 is compiled and tuned for this CPU (stage {stage})")
        print(f"   waited {time.monotonic() - started:.1f} s for that; calls would not have to")

    def tables(self):
        chapter("rows: boosted trees on 171 rows that they were not trained on (scikit-learn's breast cancer data)")
        data = samples("fraud")
        reply = self.call("fraud", {"input": data["rows"]})
        right = sum(got == wanted for got, wanted in zip(reply.json["label"], data["labels"]))
        accuracy = right / len(data["labels"])
        check(len(reply.json["label"]) == len(data["labels"]) and accuracy > 0.93,
              f"{right} of {len(data['labels'])} rows right: accuracy {accuracy:.3f}, more than 0.93; {reply.milliseconds:.1f} ms for all")
        self.one["fraud"] = {"input": data["rows"][:1]}
        one = self.call("fraud", self.one["fraud"])
        self.calls["fraud"] += 1
        v2 = self.node.post("/v2/models/fraud/infer", json.dumps({"inputs": [
            {"name": "input", "shape": [1, 30], "datatype": "FP32", "data": data["rows"][0]}]}))
        outputs = {output["name"]: output["data"] for output in v2.json["outputs"]}
        check(outputs["label"] == one.json["label"] and outputs["probabilities"] == one.json["probabilities"][0],
              f"the Open Inference Protocol gives the same as the plain form: {data['classes'][outputs['label'][0]]}, "
              f"{max(outputs['probabilities']):.4f}")

    def pictures(self):
        chapter("pictures: EfficientNet-Lite0 on photographs from scikit-image, 1 x 3 x 224 x 224 as binary tensors")
        data, tensors = samples("photos"), np.load(MODELS / "samples" / "photos" / "tensors.npy")
        for photo, tensor in zip(data["photos"], tensors):
            self.calls["photos"] += 1
            outputs, milliseconds = binary_infer(self.node, "photos", {"image": tensor[None]})
            chances = outputs["probabilities"][0]
            best = np.argsort(chances)[::-1][:5]
            names = ", ".join(f"{data['classes'][i]} {chances[i]:.2f}" for i in best[:3])
            check(any(int(i) in photo["labels"] for i in best), f"{photo['name']:12} -> {names}; {milliseconds:.0f} ms")
        self.one["photos"] = {"image": [[[[float(str(v)) for v in row] for row in plane] for plane in tensors[0]]]}
        plain = np.array(self.call("photos", self.one["photos"]).json["probabilities"], np.float32)
        self.calls["photos"] += 1
        binary, _ = binary_infer(self.node, "photos", {"image": tensors[:1]})
        check(np.allclose(plain, binary["probabilities"], rtol=1e-4, atol=1e-6), "the cat as JSON (150,528 numbers) gives the same as in binary")

    def sentences(self):
        chapter("sentences: MiniLM embeddings; what means the same must be closer than what does not")
        data = samples("sentences")
        vocabulary = (MODELS / "samples" / "sentences" / "vocab.txt").read_text().split("\n")
        tokens = WordPiece(vocabulary)
        pairs = data["similar"] + data["different"]
        reply = self.call("sentences", tokens.batch([sentence for pair in pairs for sentence in pair]))
        vectors = np.array(reply.json["sentence_embedding"])
        check(vectors.shape == (2 * len(pairs), 384), f"{len(vectors)} sentences, each 384 numbers, in {reply.milliseconds:.0f} ms")
        closeness = [float(vectors[2 * i] @ vectors[2 * i + 1]) for i in range(len(pairs))]
        similar, different = closeness[:len(data["similar"])], closeness[len(data["similar"]):]
        for value, pair in ((similar[0], pairs[0]), (different[0], data["different"][0])):
            print(f"   {value:5.2f}  {pair[0]}  |  {pair[1]}")
        check(min(similar) > max(different) + 0.1,
              f"cosine of {len(similar)} similar pairs {min(similar):.2f} to {max(similar):.2f}, "
              f"of {len(different)} others {min(different):.2f} to {max(different):.2f}")
        self.one["sentences"] = tokens.batch([pairs[0][0]])

    def first_call(self, name, *flags):
        """Stops the function's processes, then calls it once. Returns the reply."""
        self.node.command("scale", name, "0", *flags)
        self.node.wait(lambda: self.node.processes(name), lambda found: not [p for p in found if flags or p["role"] == "instance"], 10)
        return self.call(name, self.one[name])

    def cold_and_warm(self):
        chapter("from zero: the first call against a warm one (client's clock, in ms)")
        print(f"   {'':10} {'no process':>12} {'template':>12} {'warm':>12}   the first call's own account")
        for name in NAMES:
            self.answers[name] = self.call(name, self.one[name]).json
            cold = self.first_call(name, "--evict")
            warm = [self.call(name, self.one[name]) for _ in range(WARM_CALLS)]
            self.node.wait(lambda name=name: self.node.processes(name), lambda found: any(p["role"] == "template" for p in found), 20)
            forked = self.first_call(name)
            milliseconds = statistics.median(reply.milliseconds for reply in warm)
            print(f"   {name:10} {cold.milliseconds:12.1f} {forked.milliseconds:12.1f} {milliseconds:12.1f}   {cold.timing}")
            check(cold.cold and forked.cold and not warm[-1].cold,
                  f"{name}: the replies say so themselves: X-Mayfly-Cold {cold.cold_header}, {forked.cold_header}, "
                  f"{warm[-1].cold_header or 'absent'}")
            check(all(same(reply.json, self.answers[name]) for reply in [cold, forked, *warm]), f"{name}: {WARM_CALLS + 2} answers, all the same")

    def burst(self):
        chapter(f"burst: {BURST} clients at once at a function that has no process")
        self.node.command("scale", "fraud", "0", "--evict")
        self.node.wait(lambda: self.node.processes("fraud"), lambda found: not found, 10)
        connections = [self.node.connect() for _ in range(BURST)]
        for connection in connections:
            connection.connect()
        gate, replies = threading.Barrier(BURST + 1), [None] * BURST
        body = json.dumps(self.one["fraud"])

        def client(index):
            gate.wait()
            try:
                replies[index] = self.node.post("/functions/fraud", body, connection=connections[index])
            except Exception as error:  # noqa: BLE001  (counted and shown below)
                replies[index] = error

        threads = [threading.Thread(target=client, args=(index,)) for index in range(BURST)]
        for thread in threads:
            thread.start()
        gate.wait()
        started = time.monotonic()
        for thread in threads:
            thread.join(60)
        took = time.monotonic() - started
        self.calls["fraud"] += BURST
        lost = [reply for reply in replies if isinstance(reply, Exception) or not same(reply.json, self.answers["fraud"])]
        check(not lost, f"all {BURST} answered, and right, {took * 1e3:.0f} ms after the first was sent" if not lost
              else f"{len(lost)} of {BURST} were not answered right; the first: {lost[0]!r}")
        times = sorted(reply.milliseconds for reply in replies)
        waited = sum(1 for reply in replies if reply.cold)
        print(f"   p50 {times[BURST // 2]:.0f} ms, p99 {times[BURST * 99 // 100]:.0f} ms (much of it this Python client); "
              f"{waited} waited for a start")

    def to_zero(self):
        chapter("to zero: nobody calls for a while (keep_alive is 2 s in these manifests)")
        started = time.monotonic()
        count = len([p for p in self.node.processes() if p["role"] == "instance"])
        self.node.wait(self.node.processes, lambda found: not [p for p in found if p["role"] == "instance"], 30)
        check(True, f"{count} instances before, none after {time.monotonic() - started:.1f} s")
        left = self.node.processes()
        print(f"   {len(left)} templates stay, {sum(p['memory'] for p in left) / 1e6:.0f} MB, and leave when memory is needed; calls do not notice:")
        for name in NAMES:
            reply = self.call(name, self.one[name])
            check(same(reply.json, self.answers[name]), f"{name}: the same answer from zero again, {reply.milliseconds:.1f} ms")

    def bill(self):
        chapter("usage: what it took and what it costs")
        print("\n".join("   " + line for line in self.node.command("usage").strip().splitlines()))

        def sums():
            found = dict.fromkeys(NAMES, 0)
            report = self.node.get("/api/usage?since=1h")
            for entry in report["sums"]:
                found[entry["function"]] = found.get(entry["function"], 0) + entry["invocations"]
            return found, report

        found, report = self.node.wait(sums, lambda got: got[0] == self.calls, 5, give_up=False)
        check(found == self.calls, f"every call is on the bill once: {', '.join(f'{name} {count}' for name, count in found.items())}"
              if found == self.calls else f"the bill says {found}, sent were {self.calls}")
        errors, starts = (sum(entry[key] for entry in report["sums"]) for key in ("errors", "cold_starts"))
        check(errors == 0 and starts > 0, f"{starts} cold starts, no error")
        cost, always_on = (sum(entry[key] for entry in report["sums"]) for key in ("cost", "always_on_cost"))
        check(0 < cost < always_on, f"cost {cost:.8f} {report['currency']}; servers of the same size, always on for that time: {always_on:.8f}")


    def answer(self, method, path, body=None, headers=None):
        reply = self.node.send(method, path, body, headers)
        if reply.status not in (200, 201):
            raise Failed(f"{method} {path}: {reply!r}")
        return reply

    def smaller(self):
        chapter("optimize: the sentence model made smaller and faster, and only taken where it still says the same")
        folder = Path(self.node.data) / "optimize"
        folder.mkdir()
        vocabulary = (MODELS / "samples" / "sentences" / "vocab.txt").read_text().split("\n")
        texts = [text for pair in sum((samples("sentences")[key] for key in ("similar", "different")), []) for text in pair]
        np.savez(folder / "sentences.npz", **{key: np.array(value) for key, value in WordPiece(vocabulary).batch(texts).items()})
        original, small = MODELS / "sentences" / "model.onnx", folder / "small.onnx"
        took, done = elapsed(lambda: subprocess.run(
            [self.node.binary, "optimize", original, "--recipe", "int8-dynamic,compile", "--data", folder / "sentences.npz", "--same-min", "98%",
             "-o", small], capture_output=True, text=True))
        print("\n".join("   " + line for line in done.stdout.strip().splitlines()))
        check(done.returncode == 0 and small.exists(), f"a candidate passed the gate in {took:.0f} s" if done.returncode == 0 else done.stderr)
        check(small.stat().st_size < 0.3 * original.stat().st_size,
              f"{original.stat().st_size / 1e6:.1f} MB became {small.stat().st_size / 1e6:.1f} MB")
        self.node.command("deploy", str(small), "--name", "sentences-small")
        inputs = json.dumps(self.one["sentences"])
        vectors = [np.array(self.node.post(f"/functions/{name}", inputs).json["sentence_embedding"][0]) for name in ("sentences", "sentences-small")]
        cosine = float(vectors[0] @ vectors[1] / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[1]))
        check(cosine > 0.95, f"deployed, it says of a sentence what the original says: cosine {cosine:.4f}")

    def clouds(self):
        chapter("code: one function of each of four other platforms, unchanged")
        python = f"python3.{sys.version_info.minor}"
        self.node.command("deploy", str(EXAMPLES / "hello"), "--runtime", python)
        path = "/2015-03-31/functions/hello/invocations"
        lambda_answer = self.answer("POST", path, '{"name": "Lambda"}').json
        check(lambda_answer["greeting"] == "Hello, Lambda!", f"AWS Lambda, a handler in Python by Invoke: {lambda_answer['greeting']}")
        folder = EXAMPLES.parent / "build" / "demo-gcf"
        if not (folder / "functions_framework").exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(EXAMPLES / "gcf-python", folder)
            subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-t", str(folder), "-r",
                            str(folder / "requirements.txt")], check=True)
        self.node.command("deploy", str(folder), "--runtime", f"functions-framework-{python}", "--target", "hello", "--name", "gcf")
        google = self.answer("PUT", "/functions/gcf/a/b?c=d", "12345").json
        check(google == {"method": "PUT", "path": "/a/b", "query": "c=d", "bytes": 5}, f"Google, by its Functions Framework: {google}")
        self.node.command("deploy", str(EXAMPLES / "azure-orders"))
        azure = self.answer("POST", "/functions/azure-orders/api/orders/7", '[{"price": 2.5, "count": 4}]')
        check(azure.status == 201 and azure.json["total"] == 10, f"Azure, a custom handler with its bindings: {azure.json}")
        self.node.command("deploy", str(EXAMPLES / "http-hello"))
        knative = self.answer("GET", "/functions/http-hello/you").json
        check(knative["greeting"] == "Hello, you!", f"Knative, a program that listens on $PORT: {knative}")


def tell(binary):
    started = time.monotonic()
    node = Node(binary)
    try:
        demo = Demo(node)
        chapter("start")
        check(True, f"a node at {node.url}, up in {node.start_seconds * 1e3:.0f} ms")
        for part in (demo.deploy, demo.tables, demo.pictures, demo.sentences, demo.cold_and_warm, demo.burst, demo.to_zero, demo.bill,
                     demo.smaller, demo.clouds):
            part()
        chapter("stop")
        took, status = elapsed(node.stop)
        check(status == 0, f"SIGTERM, exit status {status} after {took * 1e3:.0f} ms")
        check(not node.left_over(), "no process of it is left")
        print(f"\ndemo: all of it held, {sum(demo.calls.values())} calls, {time.monotonic() - started:.0f} s")
    except BaseException:
        node.show_log()
        raise
    finally:
        node.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mayfly", default="build/mayfly", help="the binary (default: build/mayfly)")
    try:
        tell(Path(parser.parse_args().mayfly).resolve())
    except Failed as error:
        print(f"\ndemo: this does not hold: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
