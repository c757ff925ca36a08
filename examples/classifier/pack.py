#!/usr/bin/env python3
"""A folder to deploy: this one with the model and its classes, which examples/get_models.py photos has made.

    examples/classifier/pack.py FOLDER
"""
import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "build/models"


def pack(folder):
    folder = Path(folder)
    if not (MODELS / "photos/model.onnx").exists():
        raise SystemExit("build/models/photos is missing: run build/venv/bin/python examples/get_models.py photos")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("app.py", "requirements.txt", "function.yaml"):
        shutil.copy(HERE / name, folder)
    shutil.copy(MODELS / "photos/model.onnx", folder)
    classes = json.loads((MODELS / "samples/photos/samples.json").read_text())["classes"]
    (folder / "classes.txt").write_text("\n".join(classes[str(i)] if isinstance(classes, dict) else classes[i] for i in range(len(classes))) + "\n")
    return folder


if __name__ == "__main__":
    print(pack(*sys.argv[1:]))
