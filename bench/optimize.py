#!/usr/bin/env python3
"""The bars of mayfly optimize, beside what other quantisers make of the same models: build/venv/bin/python bench/optimize.py [NAME…]

NAME: resnet152, vit, imagenet, photos, sentences, digits, auto, turns. Prints a table of our recipes and the references for each model, then each bar with
"holds" or "MISSED"; turns: our candidate and the reference's of the same kind, run by run in turns by the same engine. "first" is from a new process until the
first answer; that of the original is the engine's own default in a fresh Python (all cores, packages imported before), three times, turn by turn with the
rest. Ours and p50 are of one thread, as an instance has.
The references are installed, pinned, into build/bench-optimize; what they made is kept there, --fresh makes it again. Bars are megabytes
of a million bytes.
"""
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import numpy as np

from measure import MAYFLY, ROOT, main, say
from optimize_models import made

PLACE = ROOT / "build/bench-optimize"
PYTHONS = {"references": PLACE / "references/bin/python", "neural-compressor": PLACE / "neural-compressor/bin/python"}
REFERENCES = {"resnet152": ["static", "nncf", "fp16"], "vit": ["dynamic", "fp16", "nncf"], "imagenet": ["static", "nncf", "fp16"],
              "photos": ["static", "dynamic", "nncf", "fp16"],
              "sentences": ["dynamic", "neural-compressor", "nncf", "fp16"], "digits": ["dynamic", "static", "nncf", "fp16"]}
SHOWN = {"dynamic": "onnxruntime.quantization, dynamic", "static": "onnxruntime.quantization, static", "fp16": "onnxconverter-common, float16",
         "nncf": "NNCF, quantize", "neural-compressor": "neural-compressor, dynamic"}
FRESH = "--fresh" in sys.argv


def python_of(kind):
    """The interpreter of these packages; made where it is not there yet, or where its pins are others now."""
    name = "neural-compressor" if kind == "neural-compressor" else "references"
    pins = ROOT / "bench" / ("optimize-requirements.txt" if name == "references" else "optimize-neural-compressor.txt")
    python, stamp = PYTHONS[name], PLACE / f"{name}.stamp"
    if not stamp.exists() or stamp.read_text() != pins.read_text():
        print(f"installing {pins.name}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", python.parents[1]], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check", "--only-binary=:all:", "-r", pins], check=True)
        stamp.write_text(pins.read_text())
    return python


def other(kind, *arguments):
    """What optimize_references.py prints; a string: why it could not."""
    try:
        command = [python_of(kind), ROOT / "bench/optimize_references.py", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as why:
        return str(why)[-200:]
    lines = (done.stderr or done.stdout).strip().splitlines() or ["it ended without a word"]
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else lines[-1][:200]


def measured(model, samples, answers="-", times=3):
    runs = [other("measure", "measure", model, samples, answers if i == 0 else "-") for i in range(times)]
    if wrong := [run for run in runs if isinstance(run, str)]:
        return wrong[0]
    return {key: median(run[key] for run in runs) for key in runs[0]}


def closeness(name, original, answers, samples):
    """value, its bounds at 95 %, and what it is of."""
    label, count = np.load(samples).get("label"), len(original)
    if name in ("imagenet", "photos", "digits"):
        same = (answers.argmax(1) == (label if label is not None else original.argmax(1)))
        share, z = float(same.mean()), 1.6449
        center, width = (share + z * z / 2 / count), z * (share * (1 - share) / count + z * z / 4 / count ** 2) ** 0.5
        return share, (center - width) / (1 + z * z / count), min(1.0, (center + width) / (1 + z * z / count)), "accuracy" if label is not None else "same class"
    a, b = original.reshape(count, -1).astype(np.float64), answers.reshape(count, -1).astype(np.float64)
    each = (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-30)
    half = 1.7 * float(each.std(ddof=1)) / count ** 0.5
    return float(each.mean()), float(each.mean()) - half, min(1.0, float(each.mean()) + half), "cosine"


def show(name, who, size, first, p50, seen, note=""):
    kept = f"{seen[3]} {seen[0]:.4f} [{seen[1]:.4f}, {seen[2]:.4f}]" if seen else ""
    numbers = [f"{value:>9.{digits}f}" if value is not None else " " * 9 for value, digits in ((size, 2), (first, 1), (p50, 2))]
    print(f"{name:10} {who:46} {' '.join(numbers)}  {kept:46} {note}", flush=True)


def references(name, model, samples):
    """The original's measurement by the engine's defaults, and a row for each reference that works here."""
    folder = PLACE / "made" / name
    folder.mkdir(parents=True, exist_ok=True)
    base = measured(model, samples, folder / "original.npy")
    if isinstance(base, str):
        sys.exit(f"bench: the original of {name} could not be measured: {base}")
    original = np.load(folder / "original.npy")
    first_seen = closeness(name, original, original, samples)
    show(name, "as it is, the engine's defaults", model.stat().st_size / 1e6, base["first_ms"], base["p50_ms"], first_seen)
    rows = []
    for kind in REFERENCES[name]:
        output = folder / f"{kind}.onnx"
        if FRESH or not output.exists():
            done = other(kind, "make", kind, model, samples, output)
            if isinstance(done, str):
                show(name, SHOWN[kind], None, None, None, None, "failed: " + done)
                continue
        run = measured(output, samples, folder / f"{kind}.npy", 1)
        if isinstance(run, str):
            show(name, SHOWN[kind], output.stat().st_size / 1e6, None, None, None, "does not run: " + run)
            continue
        seen = closeness(name, original, np.load(folder / f"{kind}.npy"), samples)
        rows.append({"kind": kind, "size": output.stat().st_size / 1e6, "p50": run["p50_ms"], "seen": seen})
        show(name, SHOWN[kind], rows[-1]["size"], run["first_ms"], run["p50_ms"], seen)
    return base, rows


def steps():
    """The steps that this build has, as its message about a wrong one names them."""
    asked = subprocess.run([MAYFLY, "optimize", made("digits")[0], "--recipe", "none"], capture_output=True, text=True).stderr
    return {word.strip() for word in asked.partition("there are")[2].split(";")[0].split(",")} | {"keep", "compile"}


def ours(name, model, samples, recipes, *more, minutes=5):
    """The report's rows by recipe; the original, measured by the same command with one thread, among them."""
    known = steps()
    recipes = [recipe for recipe in recipes if all(step.split(":")[0] in known for step in recipe.split(","))]
    command = [MAYFLY, "optimize", model, "--data", samples, "--json", "--time-max", f"{minutes}m", "-o", PLACE / "made" / f"{name}.onnx", *more]
    for recipe in recipes:
        command += ["--recipe", recipe]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if not done.stdout.startswith("{"):
        sys.exit(f"bench: mayfly optimize failed: {done.stderr[-500:]}")
    report, rows = json.loads(done.stdout), {}
    for recipe in report["not_tried"]:
        show(name, recipe, None, None, None, None, f"not tried within {minutes} minutes")
    for row in report["candidates"]:
        if row["gate"] in ("error", "no change"):
            show(name, row["recipe"], None, None, None, None, f"{row['gate']}: {row['why'][:160]}")
            continue
        found = row["comparisons"][0] if row["comparisons"] else None
        seen = None
        if found:
            what = {"accuracy": "lost accuracy", "agreement": "same class"}.get(found["measure"], found["measure"])
            seen = found["value"], found["low"] or 0.0, found["high"] if found["high"] is not None else 1.0, what
        rows[row["recipe"]] = row | {"mb": row["size"] / 1e6, "first": row["first_ns"] / 1e6, "p50": row["one"]["p50_ns"] / 1e6, "value": seen and seen[0]}
        if row["recipe"] != "original":
            show(name, row["recipe"], row["size"] / 1e6, row["first_ns"] / 1e6, row["one"]["p50_ns"] / 1e6, seen, row["gate"])
    return rows


def within(rows, limit, pruned):
    """The best cosine of those that are small enough."""
    fit = [row for recipe, row in rows.items() if row["mb"] <= limit and ("prune" in recipe) == pruned and recipe != "original"]
    return max(fit, key=lambda row: row["value"] or 0, default=None)


def large(name, recipes):
    model, samples = made(name)
    base, _ = references(name, model, samples)
    rows = ours(name, model, samples, recipes, "--compare", "values", "--same-min", "50%", minutes=30)
    for limit, pruned, what in ((60, False, "by int8"), (40, True, "by int8 with pruning")):
        best = within(rows, limit, pruned)
        smallest = min((row for recipe, row in rows.items() if ("prune" in recipe) == pruned), key=lambda row: row["mb"], default=None)
        shown = best or smallest
        say(f"{name}, {model.stat().st_size / 1e6:.0f} MB, {what}", f"{shown['mb']:.1f} MB" if shown else "none", f"{limit} MB", best is not None,
            f"{shown['recipe']}, cosine {shown['value']:.3f}" if shown else "")
    for pruned, what in ((False, "by int8"), (True, "with pruning")):
        found = [row for recipe, row in rows.items() if recipe != "original" and ("prune" in recipe) == pruned]
        if found:
            quickest = min(found, key=lambda row: row["first"])
            floor = min(base["first_ms"], rows["original"]["first"])
            say(f"{name}, cold start to the first answer, {what}", f"1/{floor / quickest['first']:.1f} of the original's", "1/10", quickest["first"] <= floor / 10,
                f"{quickest['recipe']}: {quickest['first']:.0f} ms, of which load {quickest['load_ns'] / 1e6:.0f}; original {base['first_ms']:.0f} ms by all cores, "
                f"{rows['original']['first']:.0f} by one")


def resnet152():
    recipes = ["int4-weights,int8-weights,compile"]  # the last layer in 4 bits, all others in 8
    for pruned in ("", "prune-channels:0.02,", "prune-channels:0.25,"):
        recipes += [pruned + "int8-static,compile", pruned + "int8-weights,compile"]
    large("resnet152", recipes)


def vit():
    # int8-weights behind int8-dynamic: the convolution that cuts the picture into patches, 2.4 MB of floats otherwise.
    large("vit", ["int8-dynamic,int8-weights,compile", "prune-heads:0.34,prune-neurons:0.4,int8-dynamic,int8-weights,compile",
                  "prune-heads:0.75,prune-neurons:0.75,int8-dynamic,int8-weights,compile"])


def small(name, recipes, *more):
    model, samples = made(name)
    references(name, model, samples)
    rows = ours(name, model, samples, recipes, *more)
    passed = [row for recipe, row in rows.items() if row["gate"] == "passed"]
    best = min(passed, key=lambda row: row["mb"], default=None)
    share = best["mb"] / (model.stat().st_size / 1e6) if best else 1
    say(f"{name}: smallest that loses no more than a point", f"{share:.1%} of the original" if best else "none passed", "30 %", bool(best) and share <= 0.3,
        f"{best['recipe']}, p50 {best['p50']:.2f} ms against {rows['original']['p50']:.2f}" if best else "")


CLASSIFIERS = ["int8-static,compile", "int8-static:fit,compile", "int8-weights,compile", "int8-weights:fit,fp16,compile"]


def imagenet():
    small("imagenet", CLASSIFIERS + ["fp16,compile"], "--accuracy-drop-max", "1%")


def photos():
    small("photos", CLASSIFIERS + ["int8-weights:fit,fp16,keep,compile", "fp16,compile"])


def sentences():
    small("sentences", ["int8-dynamic,compile", "int8-weights,compile", "int4-weights,int8-dynamic,compile", "prune-heads:0.1,int8-dynamic,compile"],
          "--same-min", "99%")


def digits():
    small("digits", ["int8-static,compile", "int8-weights,compile", "int8-dynamic,compile", "int4-weights,compile"], "--accuracy-drop-max", "1%")


def auto():
    model, samples = made("sentences")
    _, others = references("sentences", model, samples)
    rows = ours("auto", model, samples, [], "--goal", "size")
    taken = next((row for row in rows.values() if row["chosen"]), None)
    fit = [row for row in others if row["seen"][1] >= 0.99]
    near = min(fit or others, key=lambda row: row["size"])
    holds = taken is not None and taken["mb"] <= near["size"] * 1.03 and (not fit or taken["value"] >= 0.99)
    say("auto on MiniLM: no reference that keeps 0.99 of the cosine is smaller by 3 %", f"{taken['mb']:.2f} MB ({taken['recipe']})" if taken else "none",
        f"{near['size']:.2f} MB ({SHOWN[near['kind']]}{'' if fit else ', which fails 0.99'})", holds,
        f"cosine {taken['value']:.4f} against {near['seen'][0]:.4f}, p50 {taken['p50']:.2f} ms" if taken else "")


TURNS = {"vit": ("int8-dynamic", ["dynamic"]), "sentences": ("int8-dynamic", ["dynamic", "neural-compressor"]), "resnet152": ("int8-static", ["static", "nncf"]),
         "photos": ("int8-static", ["static", "nncf"]), "digits": ("int8-static", ["static"])}


def turns():
    """The same kernels, in turns, differ by up to 3 % here; of a run of 20 µs, as digits', the engine's own steps are most."""
    for name, (recipe, kinds) in TURNS.items():
        model, samples = made(name)
        folder = PLACE / "made" / name
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / "ours.onnx"] + [folder / f"{kind}.onnx" for kind in kinds]
        command = [MAYFLY, "optimize", model, "--data", samples, "--recipe", recipe, "--same-min", "1%", "--accuracy-drop-max", "99%", "-o", files[0]]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"bench: mayfly optimize failed: {done.stderr[-500:]}")
        for kind, file in zip(kinds, files[1:]):
            if FRESH or not file.exists():
                other(kind, "make", kind, model, samples, file)
        files = [file for file in files if file.exists()]
        found = other("measure", "turns", samples, *files)
        if isinstance(found, str):
            sys.exit(f"bench: the engine could not run one of {files}: {found}")
        ours = found[0]["p50_ms"]
        for file, one in zip(files[1:], found[1:]):
            say(f"{name}, a run of {recipe} beside {SHOWN[file.stem]}", f"{ours / one['p50_ms']:.3f} of its time", "1.05", ours <= one["p50_ms"] * 1.05,
                f"p50 {ours:.2f} and {one['p50_ms']:.2f} ms, p10 {found[0]['p10_ms']:.2f} and {one['p10_ms']:.2f}")


if __name__ == "__main__":
    sys.argv = [each for each in sys.argv if each != "--fresh"]
    print(f"{'MODEL':10} {'RECIPE OR REFERENCE':46} {'MB':>9} {'FIRST ms':>9} {'P50 ms':>9}  ANSWERS [95 %]", flush=True)
    main([resnet152, vit, imagenet, photos, sentences, digits, auto, turns])
