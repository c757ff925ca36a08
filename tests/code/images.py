"""Images for tests/code/containers.py, written by hand: as an OCI layout, as an archive of one, or as `docker save` wrote them. Each is
a list of layers, which are lists of (tarfile.TarInfo, bytes), and a configuration."""
import functools
import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

LAYER, CONFIG = "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.config.v1+json"
MANIFEST, INDEX = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
MACHINE = "amd64"


def entry(name, content=b"", mode=0o644, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.mode, info.type, info.linkname, info.size = mode, kind, link, len(content)
    return info, content


def folder(name):
    return entry(name, mode=0o755, kind=tarfile.DIRTYPE)


def link(name, to):
    return entry(name, kind=tarfile.SYMTYPE, link=to)


def tar_of(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:") as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zstd_of(data):
    """A frame of zstd with the bytes as they are (RFC 8878, 3.1.1): any machine can write it."""
    blocks = [data[at:at + (1 << 17)] for at in range(0, len(data), 1 << 17)] or [b""]
    frame = bytearray(b"\x28\xb5\x2f\xfd\x00\x58")  # no size, no checksum, a window of 2 MiB
    for number, block in enumerate(blocks):
        frame += (len(block) << 3 | (number == len(blocks) - 1)).to_bytes(3, "little") + block
    return bytes(frame)


@functools.lru_cache(maxsize=4)
def zipped_once(data):
    """Of a base that many images stand on it takes its time."""
    return gzip.compress(data, 1, mtime=0)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def configuration(layers, architecture=MACHINE, system="linux", **config):
    return {"architecture": architecture, "os": system, "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(layer)}" for layer in layers]}}


class Layout:
    """Blobs by name, an index; `wrong` spoils one thing before it is written."""

    def __init__(self, layers, config, zipped=True, compressed=None):
        self.blobs = {}
        blobs = compressed or [zipped_once(layer) if zipped else layer for layer in layers]
        kind = LAYER + ("+zstd" if compressed else "+gzip" if zipped else "")
        self.layers = [self.add(blob, kind) for blob in blobs]
        self.manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": self.add(json.dumps(config).encode(), CONFIG), "layers": self.layers}
        self.platform, self.annotations = None, {}

    def add(self, blob, kind):
        self.blobs[sha(blob)] = blob
        return {"mediaType": kind, "digest": f"sha256:{sha(blob)}", "size": len(blob)}

    def described(self):
        manifest = self.add(json.dumps(self.manifest).encode(), self.manifest["mediaType"])
        if self.platform:
            manifest["platform"] = self.platform
        if self.annotations:
            manifest["annotations"] = self.annotations
        return manifest

    def files(self, *others):
        manifests = [self.described()]
        for other in others:
            manifests.append(other.described())
            self.blobs.update(other.blobs)
        return {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
                "index.json": json.dumps({"schemaVersion": 2, "manifests": manifests}).encode(),
                **{f"blobs/sha256/{name}": blob for name, blob in self.blobs.items()}}


def docker_files(layers, config, tag="test:latest"):
    text = json.dumps(config).encode()
    files, paths = {}, []
    for layer in layers:
        paths.append(f"{sha(layer)[:12]}/layer.tar")
        files[paths[-1]] = layer
    files[f"{sha(text)}.json"] = text
    files["manifest.json"] = json.dumps([{"Config": f"{sha(text)}.json", "RepoTags": [tag], "Layers": paths}]).encode()
    return files


def write_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_archive(path, files, mode="w:"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info, data = entry(name, content)
            archive.addfile(info, io.BytesIO(data))
    return path


def python_layer():
    """The Python that runs this, and the libraries that it wants, as a root: a layer that any machine can make, from nothing else."""
    prefix, version = Path(sys.base_prefix), f"python3.{sys.version_info.minor}"
    binary, library = Path(sys.executable).resolve(), prefix / "lib" / version
    entries = [folder("opt"), folder("opt/python"), entry(f"opt/python/bin/{version}", binary.read_bytes(), 0o755),
               folder("usr"), folder("usr/local"), folder("usr/local/bin"), link("usr/local/bin/python3", f"/opt/python/bin/{version}")]
    unwanted = {"test", "tests", "site-packages", "idlelib", "tkinter", "ensurepip", "lib2to3", "__pycache__", "turtledemo", "distutils"}
    extensions = []
    for path in sorted(library.rglob("*")):
        inside = path.relative_to(library)
        if unwanted & set(inside.parts) or inside.parts[0].startswith("config-") or not path.is_file():
            continue
        entries.append(entry(f"opt/python/lib/{version}/{inside}", path.read_bytes()))
        extensions += [str(path)] if path.suffix == ".so" else []
    needed = subprocess.run(["ldd", str(binary), *extensions], capture_output=True, text=True, check=True).stdout
    for name in sorted(set(re.findall(r"(/\S+) \(0x", needed))):
        entries.append(entry(name.lstrip("/"), Path(name).read_bytes(), 0o755))
    return tar_of(entries)
