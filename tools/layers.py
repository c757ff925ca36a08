#!/usr/bin/env python3
"""Checks the include graph of src/ against src/LAYERS. Exits 1 and prints every offence.

Rules: (1) an include between modules must be listed in LAYERS; (2) LAYERS itself has no cycle;
(3) <module>/detail/ is private to its module; (4) includes are written from src/ ("serve/batch.h");
(5) some third-party headers belong to one module (ONLY_IN), so a dependency has one door;
(6) every module folder is in LAYERS, and the other way round.
"""
import pathlib, re, sys

ONLY_IN = {  # a prefix of a system include -> the modules that may name it
    "onnxruntime": {"worker"}, "boost/asio": {"os"}, "grpcpp/": {"gateway"}, "nghttp2/": {"worker"},
    "sqlite3.h": {"store"}, "sys/": {"os", "worker"}, "linux/": {"os", "worker"}, "thread": {"os"},
    "google/protobuf": {"optimize"}, "onnx-ml.pb.h": {"optimize"}, "Eigen/": {"optimize"},
    "png.h": {"worker"}, "turbojpeg.h": {"worker"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def read_layers(path):
    layers = {}
    for line in path.read_text().splitlines():
        line = line.split("#")[0].strip()
        if line:
            module, _, allowed = line.partition(":")
            layers[module.strip()] = set(allowed.split())
    return layers


def cycle(layers):
    done, path = set(), []
    def visit(m):
        if m in path: return path[path.index(m):] + [m]
        if m in done: return None
        path.append(m)
        found = next((c for n in sorted(layers.get(m, ())) if (c := visit(n))), None)
        path.pop(); done.add(m)
        return found
    return next((c for m in layers if (c := visit(m))), None)


def check(src):
    layers, errors, used = read_layers(src / "LAYERS"), [], {}
    if c := cycle(layers): errors.append(f"LAYERS: cycle {' -> '.join(c)}")
    folders = {p.name for p in src.iterdir() if p.is_dir()}
    errors += [f"src/{m}: not in LAYERS" for m in sorted(folders - layers.keys())]
    errors += [f"LAYERS: no folder src/{m}" for m in sorted(layers.keys() - folders)]
    for file in sorted(p for p in src.rglob("*") if p.suffix in {".h", ".cpp"}):
        module = file.relative_to(src).parts[0]
        text = file.read_text()
        for match in INCLUDE.finditer(text):
            quote, name = match.groups()
            at = f"{file}:{text.count(chr(10), 0, match.start()) + 1}"
            if quote == "<":
                errors += [f"{at}: <{name}> belongs to {sorted(only)}" for prefix, only in ONLY_IN.items()
                           if (name == prefix or name.startswith(prefix) and prefix != "thread") and module not in only]
                continue
            target = name.split("/")[0]
            if "/" not in name or not (src / name).is_file():
                errors.append(f'{at}: write the include from src/: "{module}/{name}"')
            elif target != module and target not in layers.get(module, ()):
                errors.append(f"{at}: {module} may not include {target}")
            elif target != module and "/detail/" in name:
                errors.append(f"{at}: {name} is private to {target}")
            else:
                used.setdefault(module, set()).add(target)
    return errors, used, layers


if __name__ == "__main__":
    errors, used, layers = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "src"))
    print("\n".join(errors) or f"layers: {len(layers)} modules, {sum(len(v - {k}) for k, v in used.items())} edges in use, clean")
    sys.exit(bool(errors))
