#!/usr/bin/env python3
"""Containers on a real node: images as layouts and archives, both contracts, shared layers, and images that are not to be run.

    tests/code/containers.py --mayfly build/mayfly [NAME …]

Like run.py: every test_… below runs against one node; NAME picks some. The images are written here (images.py), out of the Python that
runs this; buildah makes one more where it is installed, and AWS's runtime client for Python comes by pip.
"""
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import images
import logs
import run
from images import Layout, configuration, entry, folder, link, tar_of
from run import HERE, ROOT, RUNTIME, Failed, Node, check

SOURCE = HERE / "functions/container"
PYTHON = "/usr/local/bin/python3"


class World(run.World):
    def __init__(self, binary):
        self.binary, self.folder = binary, Path(tempfile.mkdtemp(prefix="mayfly-containers-"))
        self.data = str(self.folder / "data")
        self.node = Node(binary, data=self.data)
        self.python = images.python_layer()
        self.server = tar_of([folder("app"), entry("app/server.py", (SOURCE / "server.py").read_bytes())])
        self.config = {"Entrypoint": ["python3", "/app/server.py"], "Cmd": ["first", "second"], "WorkingDir": "/app", "User": "root",
                       "Env": ["PATH=/usr/local/bin:/usr/bin", "WORD=image", "OTHER=kept"]}
        self.made = 0

    def image(self, *layers, **config):
        """Of the server's image with these on top."""
        layers = [self.python, self.server, *layers]
        return layers, configuration(layers, **{**self.config, **config})

    def deploys(self, path, *options, name=""):
        try:
            return True, self.node.command("deploy", f"oci:{path}", *(("--name", name) if name else ()), *options)
        except Failed as failed:
            return False, str(failed)

    def deploy_layout(self, layout, *options, name="", **archive):
        self.made += 1
        path = self.folder / f"image{self.made}"
        files = layout if isinstance(layout, dict) else layout.files()
        if archive:
            images.write_archive(path, files, **archive)
        else:
            images.write_folder(path, files)
        return self.deploys(path, *options, name=name)

    def runs(self, layout, *options, name, **archive):
        fine, said = self.deploy_layout(layout, *options, name=name, **archive)
        if not fine:
            raise Failed(said)

    def ask(self, name, **asked):
        reply = self.node.send("POST", f"/functions/{name}/a/b", json.dumps(asked), {}, self.node.connect())  # deploys take their time
        if reply.status != 200:
            raise Failed(f"{name}: {reply!r}")
        return reply.json

    def packages(self, kind):
        return sorted(path.name for path in (Path(self.data) / "packages").iterdir() if path.name.startswith(kind))

    def restart(self, between=lambda: None):
        self.node.stop()
        between()
        self.node = Node(self.binary, data=self.data)


def test_what_docker_save_writes(world):
    layers, config = world.image()
    path = images.write_archive(world.folder / "Saved.tar", images.docker_files(layers, config))
    fine, said = world.deploys(path)
    check(fine and "saved" in said, "an archive is deployed, by its name", said)
    seen = world.ask("saved", see=["/", "/app", "/usr", "/etc/hosts", "/etc/resolv.conf", "/home", world.data, "/usr/bin/python3", str(ROOT), "/dev"],
                     write=["/app/x", "/etc/x", "/x", "/tmp/x", "/opt/python/x", "/dev/x", "/dev/shm/x"])
    check(seen["arguments"] == ["first", "second"] and seen["path"] == "/a/b", "ENTRYPOINT with CMD, found in its PATH; paths below the function", seen)
    check(seen["folder"] == "/app" and seen["uid"] == 1000, "in its WORKDIR, as the sandbox's user", seen)
    variables = seen["environment"]
    check(variables["WORD"] == "image" and variables["OTHER"] == "kept" and variables["PATH"] == "/usr/local/bin:/usr/bin"
          and variables["PORT"] == "8080" and variables["K_SERVICE"] == "saved", "with its ENV and Knative's", variables)
    check(seen["see"]["/usr"] == ["local"] and seen["see"]["/usr/bin/python3"] == "FileNotFoundError", "nothing of the machine's /usr", seen["see"])
    check("localhost" in seen["see"]["/etc/hosts"] and seen["see"]["/etc/resolv.conf"] == "", "/etc/hosts and /etc/resolv.conf are the sandbox's")
    for path in ("/home", world.data, str(ROOT)):
        check(seen["see"][path] == "FileNotFoundError", f"not {path}", seen["see"])
    check({"null", "urandom", "shm"} <= set(seen["see"]["/dev"]) and "sda" not in seen["see"]["/dev"], "the harmless devices", seen["see"]["/dev"])
    written = seen["write"]
    check([path for path, how in written.items() if how == "written"] == ["/tmp/x", "/dev/shm/x"], "it writes to /tmp and /dev/shm alone", written)


def test_a_layout(world):
    layers, config = world.image()
    world.runs(Layout(layers, config), "--handler", "other words", name="layout")
    check(world.ask("layout")["arguments"] == ["other", "words"], "a folder with zipped layers is deployed; a handler is its command")
    fine, said = world.deploy_layout(Layout(layers, config), "--handler", "other words", name="layout")
    check(fine and "nothing was new" in said, "deployed again it is the same version", said)
    world.runs(Layout(layers, config), name="archived", mode="w:gz")
    check(world.ask("archived")["arguments"] == ["first", "second"], "an archive of one, zipped")
    place = world.folder / "with-manifest"
    images.write_folder(place / "image", Layout(layers, config, zipped=False).files())
    (place / "function.yaml").write_text("name: named\nimage: oci:image\nenvironment: {WORD: manifest}\nresources: {memory: 256MiB}\n")
    world.node.command("deploy", str(place))
    seen = world.ask("named")["environment"]
    check(seen["WORD"] == "manifest" and seen["OTHER"] == "kept", "a function.yaml names it, and its environment goes over the image's", seen)


def test_zstd_layers(world):
    layers, config = world.image()
    world.runs(Layout(layers, config, compressed=[images.zstd_of(layer) for layer in layers]), name="zstd")
    check(world.ask("zstd")["folder"] == "/app", "layers with zstd are read")


def test_several_platforms_and_tags(world):
    layers, config = world.image()
    here, there = Layout(layers, config), Layout([world.server], configuration([world.server], architecture="arm64"))
    here.platform, there.platform = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64", "variant": "v8"}
    attested = Layout([world.server], configuration([world.server]))
    attested.platform = {"os": "unknown", "architecture": "unknown"}
    world.runs(here.files(there, attested), name="platforms")
    check(world.ask("platforms")["uid"] == 1000, "of several machines' images this machine's is taken")
    one, two = (Layout(layers, configuration(layers, **{**world.config, "Cmd": [word]})) for word in ("one", "two"))
    one.annotations, two.annotations = ({"org.opencontainers.image.ref.name": word} for word in ("1.0", "shop/cart:2.0"))
    path = images.write_folder(world.folder / "tags", one.files(two))
    fine, said = world.deploys(path, name="tags")
    check(not fine and "1.0, shop/cart:2.0" in said, "of several tags one is to be named", said)
    fine, said = world.deploys(f"{path}:shop/cart:2.0", name="tags")
    check(fine and world.ask("tags")["arguments"] == ["two"], "and is taken", said)
    fine, said = world.deploys(f"{path}:3", name="tags")
    check(not fine and "'3'" in said, "one that is not there is not", said)


def test_layers_are_shared(world):
    layers, config = world.image()
    world.runs(Layout(layers, config), name="share1")
    before = world.packages("layer-")
    top = tar_of([entry("app/more.txt", b"more")])
    world.runs(Layout(*world.image(top)), name="share2")
    check(len(world.packages("layer-")) == len(before) + 1, "of an image that differs in one layer, that one alone is unpacked")
    check(world.ask("share2", see=["/app"])["see"]["/app"] == ["more.txt", "server.py"], "and lies above the others")
    images_before = world.packages("image-")
    world.runs(Layout(*world.image(top, Cmd=["else"])), name="share3")
    check(world.packages("image-") == images_before and world.ask("share3")["arguments"] == ["else"], "functions with the same layers share all")
    roots = [path / "root" for path in (Path(world.data) / "packages").glob("image-*")]
    with_more = [root for root in roots if (root / "app/more.txt").exists()]
    first = next(path for path in (Path(world.data) / "packages").glob("layer-*") if (path / "app/more.txt").exists())
    check(len(with_more) == 1 and (with_more[0] / "app/more.txt").stat().st_ino == (first / "app/more.txt").stat().st_ino
          and (with_more[0] / "app/server.py").stat().st_nlink >= 3, "a layer's file is on the disk once, whatever stands on it")
    many = [tar_of([entry(f"app/n{i}", str(i).encode())]) for i in range(100)]
    world.runs(Layout(*world.image(*many)), name="share4")
    check(len(world.ask("share4", see=["/app"])["see"]["/app"]) == 101, "a hundred layers")
    fine, said = world.deploy_layout(Layout(*world.image(*many, *many)), name="never")
    check(not fine and "202 layers" in said, "and not two hundred", said)


def test_what_a_layer_takes_away(world):
    below = tar_of([folder("d"), entry("d/a", b"a"), entry("d/b", b"b"), folder("gone"), entry("gone/x", b"x"), folder("opaque"),
                    entry("opaque/old", b"old"), entry("file", b"file"), folder("was-folder"), entry("was-folder/in", b"in"), link("was-link", "/d")])
    above = tar_of([entry("d/.wh.a"), entry(".wh.gone"), folder("opaque"), entry("opaque/new", b"new"), entry("opaque/.wh..wh..opq"),
                    folder("file"), entry("file/now", b"a folder"), entry("was-folder", b"now a file"), folder("was-link"),
                    entry("was-link/c", b"c"), entry(".wh..wh.plnk")])
    world.runs(Layout(*world.image(below, above)), name="whiteouts")
    seen = world.ask("whiteouts", see=["/d", "/gone", "/opaque", "/file", "/was-folder", "/was-link", "/"])["see"]
    check(seen["/d"] == ["b"] and seen["/gone"] == "FileNotFoundError" and seen["/opaque"] == ["new"], "a whiteout takes a file, a folder, all", seen)
    check(seen["/file"] == ["now"] and seen["/was-folder"] == "now a file" and seen["/was-link"] == ["c"], "what changed its kind has the new one", seen)
    check(not any(name.startswith(".wh") for name in seen["/"]), "no mark is left", seen)


def test_links_and_modes(world):
    top = tar_of([folder("l"), link("l/absolute", "/app/server.py"), link("l/up", "../../../../etc/hosts"), link("l/shadow", "/etc/shadow"),
                  entry("l/suid", b"#!/bin/sh\n", 0o6755), entry("l/secret", b"s", 0o600), entry("l/hard", kind=tarfile.LNKTYPE, link="l/secret"),
                  link("etc", "/app"), link("tmp", "/app"), link("dev", "/app")])
    world.runs(Layout(*world.image(top)), name="links")
    seen = world.ask("links", see=["/l/absolute", "/l/up", "/l/shadow", "/l/hard", "/tmp", "/app"], modes=["/l/suid", "/l/secret"], write=["/tmp/y"])
    check("http.server" in seen["see"]["/l/absolute"] and "localhost" in seen["see"]["/l/up"], "links lead inside the image, absolute ones too", seen["see"])
    check(seen["see"]["/l/shadow"] == "FileNotFoundError" and seen["see"]["/l/hard"] == "s", "and nowhere else", seen["see"])
    check(seen["modes"] == {"/l/suid": "0o755", "/l/secret": "0o644"}, "setuid is nothing, and the sandbox's user reads all", seen["modes"])
    check(seen["write"]["/tmp/y"] == "written" and seen["see"]["/app"] == ["server.py"], "links in the place of /tmp and /dev lead nothing there", seen)


def test_its_network(world):
    """What a manifest lists is reached by its made-up name, and is told in the sandbox's /etc/hosts; as of code (network.py)."""
    place = world.folder / "network"
    layers, config = world.image()
    images.write_folder(place / "image", Layout(layers, config).files())
    (place / "function.yaml").write_text("name: network\nimage: oci:image\nnetwork: {outbound: [\"api.example.com:443\"]}\n")
    world.node.command("deploy", str(place))
    seen = world.ask("network", see=["/etc/hosts"])["see"]["/etc/hosts"]
    check("api.example.com" in seen and "localhost" in seen, "what it may reach is in its /etc/hosts", seen)


ACCOUNTS = [folder("etc"), entry("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1234:1300:App:/srv/app:/bin/sh\n"
                                                b"big:x:70000:70001::/home/big:\n"),
            entry("etc/group", b"root:x:0:\napp:x:1300:\nstaff:x:50:other,app\nmedia:x:44:app\nnobody:x:99:other\n")]


def test_the_images_user(world):
    accounts = tar_of([*ACCOUNTS, folder("srv"), folder("srv/app"), entry("srv/app/secret", b"s", 0o600)])
    for number, (user, ids, groups, name, home) in enumerate((
            ("app", (1234, 1300), [44, 50], "app", "/srv/app"), ("1234", (1234, 1300), [44, 50], "app", "/srv/app"),
            ("app:staff", (1234, 50), [], "app", "/srv/app"), ("1234:77", (1234, 77), [], "app", "/srv/app"),
            ("4321", (4321, 0), [], "", "/"), ("4321:media", (4321, 44), [], "", "/"), ("big", (70000, 70001), [], "big", "/home/big"))):
        world.runs(Layout(*world.image(accounts, User=user), zipped=False), name=f"user{number}")
        seen = world.ask(f"user{number}", regain=True, write=["/tmp/x", "/dev/shm/x", "/srv/app/x"], see=["/srv/app/secret", "/proc/self/status"])
        check(((seen["uid"], seen["gid"]), seen["name"], seen["environment"]["HOME"]) == (ids, name, home), f"USER {user} is {ids}, at home in {home}", seen)
        # Without ids of its own the node can give no other groups.
        check(seen["groups"] == (groups if os.geteuid() == 0 else []), f"with its other groups: {groups}", seen["groups"])
        denied = {call for call, how in seen["regain"].items() if how == "PermissionError"}
        check(denied | ({"setgid"} if ids[1] == 0 else set()) == set(seen["regain"]), "and cannot become root again", seen["regain"])
        status = dict(line.split(":\t", 1) for line in seen["see"]["/proc/self/status"].splitlines() if ":\t" in line)
        check({status[key] for key in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16} and status["NoNewPrivs"] == "1"
              and set(status["Uid"].split()) == {str(ids[0])}, "with no capability, none to gain, and no other id kept", status)
        check([path for path, how in seen["write"].items() if how == "written"] == ["/tmp/x", "/dev/shm/x"], "/tmp and /dev/shm are its own", seen["write"])
        check(seen["see"]["/srv/app/secret"] == "s", "it reads the image's files as before", seen["see"])
    world.runs(Layout(*world.image(accounts, User="app", Env=["HOME=/said", "PATH=/usr/local/bin"]), zipped=False), name="home")
    check(world.ask("home")["environment"]["HOME"] == "/said", "HOME of the image's environment goes over it")
    for user in ("", "root", "0", "0:0", "root:staff"):
        world.runs(Layout(*world.image(accounts, User=user), zipped=False), name="root")
        seen = world.ask("root")
        check((seen["uid"], seen["gid"], seen["environment"]["HOME"]) == (1000, 1000, "/tmp"), f"root, USER '{user}', is the sandbox's own user", seen)
    program = entry("var/task/bootstrap", (SOURCE / "bootstrap").read_bytes(), 0o755)
    world.runs(lambda_image(world, [program, *ACCOUNTS], Entrypoint=["./bootstrap"], Cmd=["app.handler"], User="app"), name="lambda-user")
    check(world.call({"n": 1}, "lambda-user")["event"] == {"n": 1}, "an image for Lambda runs as its user, too")


def test_users_that_are_none(world):
    for user, word in (("nobody-here", "'nobody-here' is not in its /etc/passwd"), ("app:nobodies", "'nobodies' is not in its /etc/group"),
                       ("4294967296", "'4294967296' is too large"), ("daemon", "'daemon' is not in its /etc/passwd")):
        world.runs(Layout(*world.image(tar_of(ACCOUNTS), User=user), zipped=False), name="nobody")
        reply = world.node.send("GET", "/functions/nobody", None, {}, world.node.connect())
        check(reply.status >= 500 and word in str(reply.json), f"USER {user}: {word}", reply)
    for name, entries in (("none", []), ("link", [folder("etc"), link("etc/passwd", "../../../../../etc/passwd"), link("etc/group", "/proc/self/environ")]),
                          ("device", [folder("etc"), link("etc/passwd", "/dev/zero")]), ("folder", [folder("etc"), folder("etc/passwd")]),
                          ("noise", [folder("etc"), entry("etc/passwd", os.urandom(100_000) + b":" * 100_000 + b"\n" * 100_000)])):
        world.runs(Layout(*world.image(tar_of(entries), User="daemon"), zipped=False), name="nobody")
        reply = world.node.send("GET", "/functions/nobody", None, {}, world.node.connect())
        check(reply.status >= 500 and "'daemon' is not in its /etc/passwd" in str(reply.json), f"accounts that are none: {name}", reply)
        world.runs(Layout(*world.image(tar_of(entries), User="1234"), zipped=False), name="somebody")
        check(world.ask("somebody")["uid"] == 1234, "where a number needs none", name)
    for user in ("two words", "a/b"):
        fine, said = world.deploy_layout(Layout(*world.image(User=user), zipped=False), name="never")
        check(not fine and "no user of an image" in said, f"'{user}' is not deployed", said)


def test_h2c(world):
    """A container whose port Knative would name h2c: a Go program alone in its image, with net/http's own HTTP/2."""
    if not shutil.which("go"):
        return print("   -- skipped: this machine has no go")
    place = world.folder / "h2c"
    shutil.copytree(HERE / "functions/h2c", place)
    built = subprocess.run(["go", "build", "-trimpath", "-o", "server", "."], cwd=place, capture_output=True, text=True, timeout=500,
                           env={**os.environ, "CGO_ENABLED": "0"})
    if built.returncode != 0:
        raise Failed(f"go build: {built.stderr[-600:]}")
    layers = [tar_of([entry("server", (place / "server").read_bytes(), 0o755)])]
    images.write_folder(place / "image", Layout(layers, configuration(layers, Entrypoint=["/server"], User="4321:50", Env=["ONLY=h2c"])).files())
    (place / "function.yaml").write_text("name: h2c\nimage: oci:image\nprotocol: h2c\n")
    world.node.command("deploy", str(place))
    seen = world.ask("h2c")
    check(seen["protocol"] == "HTTP/2.0" and seen["path"] == "/a/b" and seen["uid"] == 4321, "it is spoken to in HTTP/2", seen)


def lambda_image(world, entries=(), **config):
    layers = [world.python, tar_of([folder("var"), folder("var/task"), link("opt/python/bin/python3", "/usr/local/bin/python3"), *entries])]
    return Layout(layers, configuration(layers, **{"WorkingDir": "/var/task", "Env": ["WORD=image"], **config}))


def test_lambdas_contract(world):
    program = entry("var/task/bootstrap", (SOURCE / "bootstrap").read_bytes(), 0o755)
    world.runs(lambda_image(world, [program], Entrypoint=["./bootstrap"], Cmd=["app.handler"]), name="own")
    seen = world.call({"n": 1}, "own")
    check(seen == {"event": {"n": 1}, "arguments": ["app.handler"], "handler": "app.handler", "word": "image", "folder": "/var/task"},
          "a bootstrap is found to speak the Runtime API", seen)
    reply = world.send({"n": 2}, path="/2015-03-31/functions/own/invocations")
    check(reply.status == 200 and reply.json["event"] == {"n": 2}, "Lambda's Invoke calls it", reply)
    world.runs(lambda_image(world, [program], Cmd=["/opt/python/bin/python3", "bootstrap"]), "--runtime", "container-lambda", "--handler",
               f"{PYTHON} /var/task/bootstrap x", name="said")
    check(world.call({}, "said")["arguments"] == ["x"], "or is said to")


def test_aws_runtime_client(world):
    """The image as AWS's own pages build it: ENTRYPOINT python -m awslambdaric, CMD app.handler."""
    place = world.folder / "ric"
    made = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--root-user-action=ignore", "-t", str(place),
                           "awslambdaric==3.0.2"], capture_output=True, text=True, timeout=300)
    if made.returncode != 0:
        raise Failed(f"pip install awslambdaric: {made.stderr[-600:]}")
    (place / "app.py").write_text((ROOT / "examples/hello/app.py").read_text())
    (place / "sales.py").write_text(logs.LOGGING)
    entries = [entry(f"var/task/{path.relative_to(place)}", path.read_bytes()) for path in sorted(place.rglob("*")) if path.is_file()]
    for path in place.rglob("*.so*"):
        needed = subprocess.run(["ldd", str(path)], capture_output=True, text=True).stdout
        entries += [entry(name.lstrip("/"), Path(name).read_bytes(), 0o755) for name in re.findall(r"=> (/(?:usr/)?lib/\S+) \(0x", needed)]
    world.runs(lambda_image(world, entries, Entrypoint=[PYTHON, "-m", "awslambdaric"], Cmd=["app.handler"],
                            Env=["GREETING=Hello"]), name="ric")
    answer = world.call({"name": "you"}, "ric")
    check(answer["greeting"] == "Hello, you!" and answer["function"] == "ric", "the handler runs by AWS's client", answer)
    world.runs(lambda_image(world, entries, Entrypoint=[PYTHON, "-m", "awslambdaric"], Cmd=["sales.handler"]), name="ric-logs")
    logs.check_python_logging(world, "ric-logs", "{'left': 3}")  # newer ones leave it an object, too


def test_what_is_not_whole(world):
    layers, config = world.image(tar_of([entry("x", os.urandom(2000))]))

    def spoiled(spoil, word, text):
        layout = Layout(layers, config)
        files = spoil(layout) or layout.files()
        fine, said = world.deploy_layout(files, name="never")
        check(not fine and word in said, f"{text}: {said.strip()[-110:]}", said)

    def change(layout):
        files, name = layout.files(), layout.layers[2]["digest"][7:]
        files[f"blobs/sha256/{name}"] = files[f"blobs/sha256/{name}"][:-20] + b"changed" + files[f"blobs/sha256/{name}"][-13:]
        return files

    def cut(layout):
        files, name = layout.files(), layout.layers[2]["digest"][7:]
        files[f"blobs/sha256/{name}"] = files[f"blobs/sha256/{name}"][:-1]
        return files

    def forget(layout):
        files = layout.files()
        del files[f"blobs/sha256/{layout.layers[2]['digest'][7:]}"]
        return files

    def change_config(layout):
        files, name = layout.files(), layout.manifest["config"]["digest"][7:]
        files[f"blobs/sha256/{name}"] = files[f"blobs/sha256/{name}"].replace(b"image", b"IMAGE")
        return files

    spoiled(change, "damaged or changed", "a layer that was changed")
    spoiled(cut, "not whole", "a layer that was cut")
    spoiled(forget, "not whole", "a layer that is not there")
    spoiled(change_config, "damaged or changed", "a configuration that was changed")
    spoiled(lambda layout: layout.layers[2].update(size=17), "should have 17", "a size that is not the blob's")
    spoiled(lambda layout: layout.layers[2].update(digest="sha512:" + "0" * 128), "no sha256", "a digest of another kind")
    spoiled(lambda layout: layout.layers[2].update(digest="sha256:../../../../etc/passwd"), "no sha256", "a digest that is a path")
    spoiled(lambda layout: layout.layers[2].update(mediaType=images.LAYER + "+encrypted"), "not known", "a layer of an unknown kind")
    spoiled(lambda layout: layout.manifest.update(mediaType="application/x-chart"), "not known", "a manifest of an unknown kind")
    spoiled(lambda layout: layout.manifest["config"].update(mediaType="application/vnd.cncf.helm.config.v1+json"), "no container", "no container")
    spoiled(lambda layout: layout.layers.__delitem__(2), "not whole", "fewer layers than the configuration has")
    spoiled(lambda layout: layout.layers.clear(), "0 layers", "no layers")
    for number, text in ((0, "a"), (2, "the last")):
        said = [*config["rootfs"]["diff_ids"]]
        said[number] = f"sha256:{images.sha(b'another')}"
        for layout in (Layout(layers, {**config, "rootfs": {"type": "layers", "diff_ids": said}}, zipped=zipped) for zipped in (True, False)):
            fine, told = world.deploy_layout(layout, name="never")
            check(not fine and f"layer {number + 1}, unzipped, of the image" in told and "damaged or changed" in told,
                  f"{text} layer that is another than the configuration's", told)
    broken = [gzip.compress(layer, 1, mtime=0) for layer in layers]
    broken[2] = broken[2][:-100]
    layout = Layout(layers, config, compressed=broken)
    layout.layers[2]["mediaType"] = images.LAYER + "+gzip"
    fine, told = world.deploy_layout(layout, name="never")
    check(not fine and "layer 3" in told and "damaged or changed" in told, "a layer that ends too early, by its own digest", told)
    spoiled(lambda layout: {"index.json": b"{"}, "not JSON", "an index that is not JSON")
    spoiled(lambda layout: {"index.json": b'{"manifests": []}'}, "names no image", "an index of nothing")
    spoiled(lambda layout: {"other": b""}, "no image", "a folder that is none")
    files = images.docker_files(layers, config)
    files[f"{images.sha(layers[2])[:12]}/layer.tar"] = layers[2][:-512] + b"x" * 512
    fine, said = world.deploy_layout(files, name="never", mode="w:")
    check(not fine and "damaged or changed" in said, "docker's archive with a layer that was changed", said)
    for name, content in (("text", b"no image"), ("empty", b""), ("half", (world.folder / "Saved.tar").read_bytes()[:5000] if
                                                            (world.folder / "Saved.tar").exists() else b"\x1f\x8b\x08\0\0")):
        (world.folder / name).write_bytes(content)
        fine, said = world.deploys(world.folder / name, name="never")
        check(not fine and "image" in said, f"a file that is none: {said.strip()[-80:]}", said)
    fine, said = world.deploys(world.folder / "nowhere", name="never")
    check(not fine and "is not there" in said, "a path that is not there", said)


def test_what_is_for_another_machine(world):
    for layout, text in ((Layout([world.server], configuration([world.server], architecture="s390x")), "by its configuration"),
                         (Layout([world.server], configuration([world.server], system="windows")), "another system's")):
        fine, said = world.deploy_layout(layout, name="never")
        check(not fine and "linux/amd64" in said and "--platform" in said, text, said)
    layout = Layout([world.server], configuration([world.server]))
    layout.platform = {"os": "linux", "architecture": "arm64"}
    fine, said = world.deploy_layout(layout, name="never")
    check(not fine and "linux/arm64" in said, "by its index", said)


def test_layers_that_lead_out(world):
    outside = world.folder / "outside"
    outside.mkdir()
    for name, bad, word in (("up", [entry("../up")], "leads out"), ("root", [entry("/etc/x")], "leads out"), ("middle", [entry("a/../../b")], "leads out"),
                            ("hard", [entry("h", kind=tarfile.LNKTYPE, link="../../x")], "leads out"),
                            ("device", [entry("null", kind=tarfile.CHRTYPE)], "device"), ("pipe", [entry("p", kind=tarfile.FIFOTYPE)], "pipe"),
                            ("through", [link("d", str(outside)), entry("d/x", b"x")], ""),
                            ("whiteout of all", [entry(".wh...")], "names no file"), ("whiteout of nothing", [entry(".wh.")], "names no file")):
        fine, said = world.deploy_layout(Layout(*world.image(tar_of(bad))), name="never")
        check(not fine and word in said, f"{name}: {said.strip()[-110:]}", said)
    check("layer 3" in world.deploy_layout(Layout(*world.image(tar_of([entry("../up")]))), name="never")[1], "the layer is named")
    world.runs(Layout(*world.image(tar_of([link("d", str(outside)), link("e", str(outside))]), tar_of([folder("d"), entry("d/x", b"x"), entry(".wh.e")]))),
               name="over")
    check(world.ask("over", see=["/d", "/e"])["see"] == {"/d": ["x"], "/e": "FileNotFoundError"}, "a folder over a lower layer's link takes its place")
    check(list(outside.iterdir()) == [] and outside.exists(), "and nothing outside was touched")
    check(world.packages("work-") == [], "nothing is left on the disk", world.packages("work-"))


def zeros(name, mebibytes):
    """A layer with a file of zeros, zipped, and its SHA-256 unzipped."""
    info, _ = entry(name)
    info.size = mebibytes << 20
    piece, digest = bytes(1 << 20), hashlib.sha256(info.tobuf())
    for _ in range(mebibytes):
        digest.update(piece)
    digest.update(bytes(1024))
    return gzip.compress(info.tobuf()) + gzip.compress(piece, 9) * mebibytes + gzip.compress(bytes(1024)), f"sha256:{digest.hexdigest()}"


def test_a_bomb(world):
    before = world.packages("image-")
    for text, layers in (("three GiB in a few MiB", [zeros("zeros", 3072)]), ("the same in layers that are not too large", [zeros(f"z{i}", 400) for i in range(3)])):
        layout = Layout([], {**configuration([], Cmd=["x"]), "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in layers]}},
                        compressed=[blob for blob, _ in layers])
        for layer in layout.layers:
            layer["mediaType"] = images.LAYER + "+gzip"
        fine, said = world.deploy_layout(layout, name="never")
        check(not fine and "fill disks" in said, f"{text}: not sent", said)
        # Whoever sends it all the same meets the node.
        files = [{"path": f"layer-{i:03}", "sha256": hashlib.sha256(blob).hexdigest(), "size": len(blob), "archive": True}
                 for i, (blob, _) in enumerate(layers)]
        for file, (blob, _) in zip(files, layers):
            check(world.node.send("PUT", "/api/artifacts", blob, {}, world.node.connect()).json["sha256"] == file["sha256"], "it is sent")
        manifest = json.dumps({"name": "never", "runtime": "container-http", "image": {"entrypoint": ["x"]}})
        reply = world.node.send("POST", "/api/functions", json.dumps({"manifest": manifest, "files": files}), {}, world.node.connect())
        check(reply.status >= 400 and "fill disks" in str(reply.json), f"{text}: not unpacked", reply)
    check(world.packages("work-") == [] and world.packages("image-") == before, "nothing half is left", world.packages("work-"))


def test_what_does_not_start(world):
    fine, said = world.deploy_layout(Layout(*world.image(Entrypoint=[], Cmd=[])), name="never")
    check(not fine and "names no program" in said, "an image without a program is not deployed", said)
    for name, config, word in (("noprogram", {"Entrypoint": ["/bin/nothing"]}, "/bin/nothing"), ("nopath", {"Entrypoint": ["nothing"]}, "PATH"),
                               ("nofolder", {"WorkingDir": "/nowhere"}, "/nowhere"), ("exits", {"Entrypoint": ["python3", "-c", "exit(7)"]}, "7")):
        world.runs(Layout(*world.image(**config)), name=name)
        reply = world.node.send("GET", f"/functions/{name}", None, {}, world.node.connect())
        check(reply.status >= 500 and word in str(reply.body), f"{name} is said: {reply.body[-120:]}", reply)


def test_what_is_unpacked_is_a_cache(world):
    world.runs(Layout(*world.image()), name="stays")
    world.restart()
    check(world.ask("stays")["uid"] == 1000, "after a restart it runs")
    world.restart(lambda: shutil.rmtree(Path(world.data) / "packages"))
    world.node.wait(lambda: len(world.packages("image-")), lambda count: count > 0, 60)
    world.runs(Layout(*world.image()), name="stays")
    check(world.ask("stays")["uid"] == 1000, "and what is gone is made again")


def test_buildah(world):
    if not shutil.which("buildah"):
        print("   -- skipped: this machine has no buildah")
        return
    context = world.folder / "context"
    context.mkdir()
    (context / "root.tar").write_bytes(world.python)
    shutil.copy(SOURCE / "server.py", context / "server.py")
    (context / "Containerfile").write_text("FROM scratch\nADD root.tar /\nCOPY server.py /srv/app/server.py\nWORKDIR /srv/app\nENV WORD=built\n"
                                           "USER 1234\nEXPOSE 8080\nENTRYPOINT [\"python3\", \"server.py\"]\nCMD [\"by\", \"buildah\"]\n")
    storage = ["--storage-driver", "vfs", "--root", str(world.folder / "storage"), "--runroot", str(world.folder / "run")]
    for command in (["bud", "--isolation", "chroot", "-t", "made", str(context)], ["push", "made", f"oci:{world.folder / 'built'}:latest"],
                    ["push", "made", f"docker-archive:{world.folder / 'built.tar'}:made:1"], ["push", "made", f"oci-archive:{world.folder / 'oci.tar'}"]):
        done = subprocess.run(["buildah", *storage, *command], capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise Failed(f"buildah {command}: {done.stderr[-600:]}")
    for number, name in enumerate(("built", "built.tar", "oci.tar")):
        fine, said = world.deploys(world.folder / name, name=f"buildah{number}")
        seen = world.ask(f"buildah{number}") if fine else None
        check(fine and seen["arguments"] == ["by", "buildah"] and seen["folder"] == "/srv/app" and seen["environment"]["WORD"] == "built"
              and (seen["uid"], seen["gid"]) == (1234, 0), f"what buildah writes as {name} runs", (said, seen))


if __name__ == "__main__":
    run.main(globals(), World)
