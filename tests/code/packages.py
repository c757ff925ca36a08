#!/usr/bin/env python3
"""Packages of code on a real node: folders of many files, zips and tars, and archives that are not to be unpacked.

    tests/code/packages.py --mayfly build/mayfly [NAME …]

Like run.py: every test_… below runs against one node; NAME picks some. Exits 1 where one fails.
"""
import io
import json
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import run
from run import RUNTIME, Failed, Node, check

HANDLER = "def handler(event, context):\n    return {}\n"


class World(run.World):
    def __init__(self, binary):
        self.binary, self.folder = binary, Path(tempfile.mkdtemp(prefix="mayfly-packages-"))
        self.data = str(self.folder / "data")
        self.node = Node(binary, data=self.data)

    def make(self, name, write):
        path = self.folder / name
        write(path)
        return path

    def zip(self, name, entries):
        def write(path):
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for entry, text in entries.items():
                    archive.writestr(entry, text)
        return self.make(name, write)

    def tar(self, name, members, mode="w:gz"):
        def write(path):
            with tarfile.open(path, mode) as archive:
                for info, content in members:
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        return self.make(name, write)

    def deploys(self, path, *options, handler="app.handler"):
        try:
            return True, self.node.command("deploy", str(path), "--runtime", RUNTIME, "--handler", handler, *options)
        except Failed as failed:
            return False, str(failed)

    def restart(self, between=lambda: None):
        self.node.stop()
        between()
        self.node = Node(self.binary, data=self.data)


def member(name, kind=tarfile.REGTYPE, link="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def test_a_folder_of_many_files(world):
    folder = world.folder / "many"
    folder.mkdir()
    (folder / "app.py").write_text(
        "import importlib, os\n"
        "def handler(event, context):\n"
        "    values = [importlib.import_module(f'parts.part{i}').VALUE for i in range(1000)]\n"
        "    return {'sum': sum(values), 'text': open('däta/größe.txt', encoding='utf-8').read(), 'tool': os.access('tool.sh', os.X_OK)}\n")
    for i in range(1000):
        path = folder / "parts" / f"part{i}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"VALUE = {i}\n")
    (folder / "däta").mkdir()
    (folder / "däta" / "größe.txt").write_text("viel", encoding="utf-8")
    (folder / "tool.sh").write_text("#!/bin/sh\n")
    (folder / "tool.sh").chmod(0o755)
    (folder / "same").symlink_to("parts")
    fine, said = world.deploys(folder)
    check(fine, "a folder with more than a thousand files and a link is deployed", said)
    check(world.call({}, "many") == {"sum": 499500, "text": "viel", "tool": True}, "and all of it is there, names and modes too")
    fine, said = world.deploys(folder)
    check(fine and "nothing was new" in said, "deployed again it is the same version", said)


def test_a_zip(world):
    fine, said = world.deploys(world.zip("zipped.zip", {"app.py": "import lib.name\ndef handler(event, context):\n    return lib.name.NAME\n",
                                                        "lib/name.py": "NAME = 'from a zip'\n"}))
    check(fine, "a zip is deployed by its name", said)
    check(world.call({}, "zipped") == "from a zip", "and runs")
    manifest = f"name: with-manifest\nruntime: {RUNTIME}\nhandler: app.handler\nenvironment: {{WORD: said}}\n"
    path = world.zip("other.zip", {"function.yaml": manifest, "app.py": "import os\ndef handler(event, context):\n    return os.environ['WORD']\n"})
    world.node.command("deploy", str(path))
    check(world.call({}, "with-manifest") == "said", "a function.yaml in it is heeded")


def test_a_tar(world):
    for ending, mode in ((".tar", "w:"), (".tar.gz", "w:gz"), (".tar.xz", "w:xz"), (".tar.bz2", "w:bz2")):
        fine, said = world.deploys(world.tar("t" + mode[2:] + ending, [(member("./app.py"), HANDLER.encode())], mode))
        check(fine, f"a {ending} is deployed", said)
    check(world.call({}, "tgz") == {}, "and runs")


def test_what_leads_out_is_refused(world):
    app = (member("app.py"), HANDLER.encode())
    for name, entry, word in (("up", member("../up.py"), "leads out"), ("root", member("/etc/cron.d/x"), "leads out"),
                              ("middle", member("a/../../b"), "leads out"),
                              ("link", member("l", tarfile.SYMTYPE, "/etc/passwd"), "leads out"),
                              ("uplink", member("a/l", tarfile.SYMTYPE, "../../x"), "leads out"),
                              ("hard", member("h", tarfile.LNKTYPE, "../../x"), "leads out"),
                              ("device", member("null", tarfile.CHRTYPE), "device"), ("pipe", member("p", tarfile.FIFOTYPE), "device")):
        fine, said = world.deploys(world.tar(name + ".tar", [app, (entry, b"")], "w:"))
        check(not fine and word in said, f"{name}: {entry.name}", said)
    fine, said = world.deploys(world.tar("through.tar", [app, (member("d", tarfile.SYMTYPE, "e"), b""), (member("d/x"), b"")], "w:"))
    check(not fine, "a file through a link of the archive", said)
    fine, said = world.deploys(world.zip("zipup.zip", {"app.py": HANDLER, "../../up.py": ""}))
    check(not fine and "leads out" in said, "a zip that leads out", said)


def test_what_is_no_archive_is_refused(world):
    for name, content, word in (("text.zip", b"no zip", "neither a zip"), ("empty.zip", b"", ""), ("half.tar.gz", b"\x1f\x8b\x08\0\0", "")):
        fine, said = world.deploys(world.make(name, lambda path: path.write_bytes(content)))
        check(not fine and word in said, f"{name}: {said.strip()[:90]}", said)
    good = world.zip("cut.zip", {"app.py": HANDLER, "big": "x" * 100_000})
    good.write_bytes(good.read_bytes()[:-60])
    fine, said = world.deploys(good)
    check(not fine, "a zip that was cut", said)
    fine, said = world.deploys(world.zip("nothandler.zip", {"other.py": HANDLER}))
    check(not fine and "app.py" in said, "a zip without the handler's file", said)


def test_a_bomb(world):
    def write(path):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("app.py", HANDLER)
            with archive.open("zeros", "w", force_zip64=True) as out:
                for _ in range(3 * 1024):
                    out.write(bytes(1 << 20))
    fine, said = world.deploys(world.make("bomb.zip", write))
    check(not fine and "fill disks" in said, "three GiB in three MiB are not unpacked", said)
    left = [p.name for p in (Path(world.node.data) / "packages").iterdir() if p.name.startswith("work-")]
    check(left == [], "and leave nothing on the disk", left)


def test_setuid_is_nothing(world):
    source = (b"import os, stat\n"
              b"def handler(event, context):\n"
              b"    return {'mode': oct(stat.S_IMODE(os.stat('tool').st_mode)), 'write': os.access('.', os.W_OK)}\n")
    fine, said = world.deploys(world.tar("setuid.tar", [(member("app.py"), source), (member("tool", mode=0o6777), b"#!/bin/sh\n")], "w:"))
    check(fine, "an archive with a setuid file is deployed", said)
    check(world.call({}, "setuid") == {"mode": "0o755", "write": False}, "it is a plain program, and the code can't be written")


def test_they_survive_a_restart_and_go_with_their_function(world):
    world.deploys(world.zip("stays.zip", {"app.py": "def handler(event, context):\n    return 'still here'\n"}))
    sha = json.loads(world.node.command("versions", "stays", "--json"))["versions"][0]["files"][0]["sha256"]
    unpacked = Path(world.data) / "packages" / sha
    world.restart()
    check(world.call({}, "stays") == "still here", "after a restart it runs")
    world.restart(lambda: shutil.rmtree(unpacked))
    world.deploys(world.folder / "stays.zip")
    check(world.call({}, "stays") == "still here", "what was unpacked is a cache: deployed again, it is unpacked again")


if __name__ == "__main__":
    run.main(globals(), World)
