#!/usr/bin/env python3
"""The network of code: none, a list of destinations that is held to, or the machine's, where the node allows it.

    tests/code/network.py --mayfly build/mayfly [NAME …]

The servers that functions reach are this script's own, on loopback; so the node of most tests lets code reach that.
"""
import errno
import http.server
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import languages  # noqa: E402
import run  # noqa: E402
from run import RUNTIME, check  # noqa: E402

FUNCTION = HERE / "functions/network"


def loopback_name():
    """A name of this machine's loopback that is not localhost, which means the sandbox's own in a sandbox."""
    for name in (socket.gethostname(), "ip6-localhost", "localhost.localdomain"):
        try:
            found = {info[4][0] for info in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)}
        except OSError:
            continue
        if found and all(address.startswith("127.") or address == "::1" for address in found):
            return name.lower(), found
    return None, set()


class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"hello from outside to {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server:
    """Serves connections at both loopback addresses by a function of the socket."""

    def __init__(self, serve=None):
        self.sockets = []
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                listening = socket.socket(family, socket.SOCK_STREAM)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind((address, self.sockets[0].getsockname()[1] if self.sockets else 0))
                listening.listen(1024)
                self.sockets.append(listening)
            except OSError:
                continue
        self.port, self.accepted = self.sockets[0].getsockname()[1], 0
        for listening in self.sockets:
            threading.Thread(target=self.run, args=(listening, serve or self.hello), daemon=True).start()

    @staticmethod
    def hello(connection):
        Hello(connection, ("", 0), None)

    def run(self, listening, serve):
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self.one, args=(connection, serve), daemon=True).start()

    @staticmethod
    def one(connection, serve):
        try:
            with connection:
                serve(connection)
        except OSError:
            pass

    def close(self):
        for listening in self.sockets:
            listening.shutdown(socket.SHUT_RDWR)  # who waits in accept() would keep it
            listening.close()


def echo_size(connection):
    size = 0
    while part := connection.recv(65536):
        size += len(part)
    connection.sendall(f"{size} bytes".encode())


def pong(connection):
    if connection.recv(1):
        connection.sendall(b"q")


def bulk(connection):
    part = b"x" * (1 << 20)
    for _ in range(1024):
        connection.sendall(part)


class World(languages.World):
    def __init__(self, binary):
        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-network-"))
        self.binary = binary
        self.name, _ = loopback_name()
        self.name = self.name or "localhost"
        self.servers = {"web": Server(), "sizes": Server(echo_size), "pong": Server(pong), "bulk": Server(bulk)}
        self.closed = Server()
        self.closed.close()
        self.port = self.servers["web"].port
        self.node = self.new_node("code: {network_loopback: true, network_host: true}\n")
        self.deploy_network("caller", [f"{self.name}:{s.port}" for s in self.servers.values()] +
                            [f"{self.name}:{self.closed.port}", f"{self.name}:{self.node.host.split(':')[1]}",
                             "absent.invalid:443", "192.0.2.7:5432", "[2001:db8::7]:5432"])

    def new_node(self, configuration):
        file = self.folder / f"node-{len(list(self.folder.iterdir()))}.yaml"
        file.write_text(configuration)
        return run.Node(self.binary, "--config", str(file))

    def deploy_network(self, name, network, node=None, runtime=RUNTIME, source=FUNCTION, handler="app.handler", more=()):
        folder = self.folder / name
        shutil.copytree(source, folder)
        with open(folder / "function.yaml", "a") as manifest:
            print("network: " + json.dumps({"outbound": network} if isinstance(network, list) else network), file=manifest)
        words = ("--handler", handler) if handler else ()
        return (node or self.node).command("deploy", str(folder), "--runtime", runtime, *words, *more)

    def ask(self, do, function="caller", **event):
        return self.call({"do": do, "host": self.name, "port": self.port, **event}, function)

    def log(self, name):
        return self.node.command("logs", name)

    def close(self):
        for server in self.servers.values():
            server.close()
        super().close()


def test_http_client(world):
    seen = world.ask("get")
    check(seen["status"] == 200 and seen["body"] == "hello from outside to /hello", "http.client reaches a name of the list", seen)
    check(seen["peer"].startswith("198.18.") or world.name == "localhost", "at an address that is made up", seen)
    check(world.ask("url", url=f"http://{world.name}:{world.port}/x") == "hello from outside to /x", "so does urllib")


def test_requests(world):
    seen = world.ask("requests_get", url=f"http://{world.name}:{world.port}/requests")
    if seen is None:
        return languages.without("requests (pip's)")
    check(seen == "hello from outside to /requests", "requests, on urllib3, reaches it", seen)


def test_asyncio(world):
    seen = world.ask("asynchronous", times=40)
    check(seen == ["hello from outside to /hello"] * 40, "forty connections of an event loop at a time", seen)


def test_the_end_of_one_direction(world):
    seen = world.ask("half", port=world.servers["sizes"].port)
    check(seen == "300000 bytes", "is passed on, and the answer still comes", seen)


def test_what_is_not_listed(world):
    host, port = world.node.host.split(":")
    check(world.ask("connect", host="192.0.2.1", port=80) == "OSError ENETUNREACH", "an address is unreachable")
    check(world.ask("connect", host=host, port=int(port)) == "ConnectionRefusedError ECONNREFUSED", "so is the node's own")
    check(world.ask("connect", port=1) == "ConnectionRefusedError ECONNREFUSED", "another port of a listed name")
    check(world.ask("connect", host="example.org", port=443).startswith("gaierror"), "a name is not known")
    check(world.ask("connect", host="198.18.1.77", port=443) == "OSError ENETUNREACH", "nor another function's made-up address")
    for other in ("169.254.169.254", "10.0.0.1", "::ffff:169.254.169.254", "::ffff:192.0.2.1", "2001:db8::1"):
        check(world.ask("connect", host=other, port=80) == "OSError ENETUNREACH", f"nor {other}")
    for other in ("0.0.0.0", "::ffff:127.0.0.1", "::1"):
        seen = world.ask("connect", host=other, port=int(port))
        check(seen == "ConnectionRefusedError ECONNREFUSED", f"nor the node by {other}", seen)
    seen = world.ask("datagram", host="192.0.2.1")
    check(seen == "OSError ENETUNREACH", "nor by datagrams", seen)
    seen = world.ask("datagram")
    check(seen == "ConnectionRefusedError ECONNREFUSED", "which reach what is listed as little", seen)


def test_what_fails_is_in_the_log(world):
    check(world.ask("connect", port=world.closed.port).startswith(("ConnectionResetError", "connected, and closed")),
          "where nobody listens, the connection is reset")
    check(f"no connection to {world.name}:{world.closed.port}: Connection refused" in world.log("caller"), "and the log says why", world.log("caller"))
    world.ask("connect", host="absent.invalid", port=443)
    check("absent.invalid:443: this machine's resolver does not know it" in world.log("caller"), "also of a name that nobody knows")


def test_the_node_itself_is_never_meant_by_a_name(world):
    port = int(world.node.host.split(":")[1])
    before = len(world.log("caller"))
    seen = world.ask("connect", port=port)
    check("answered" not in seen, "a listed name that leads to the node's own port is refused", seen)
    check("the node's own port" in world.log("caller")[before - 1:] or world.name == "localhost", "and the log says so", world.log("caller"))


def test_a_socket_is_not_turned_on_others(world):
    host, port = world.node.host.split(":")
    seen = world.ask("again", others=[[host, int(port)], ["192.0.2.1", 80]])
    check(not {"connected", "sent"} & set(seen), "a connected socket, taken apart, reaches nothing else; nor does TCP Fast Open", seen)


def test_it_sees_no_other_interface(world):
    interfaces, own = world.ask("interfaces")
    check(interfaces == [[1, "lo"]], "a connected socket shows the sandbox's own interface alone", interfaces)
    check(own.startswith(("198.18.", "127.")), "and an address of the sandbox", own)


def test_a_flood(world):
    before = world.servers["web"].accepted
    seen = world.ask("many", times=900)
    check(world.servers["web"].accepted - before <= 900, f"900 connections at a time: {world.servers['web'].accepted - before} arrived", seen)
    check(world.ask("get")["status"] == 200, "and the next is made")


def test_who_ends_what_carries_its_connections(world):
    world.deploy_network("killer", [f"{world.name}:{world.port}"])
    host, port = world.node.host.split(":")
    seen = world.ask("kill_others", "killer", others=[[world.name, world.port], [host, int(port)], ["192.0.2.1", 80]])
    check(seen == [True, "ConnectionRefusedError ECONNREFUSED", "ConnectionRefusedError ECONNREFUSED", "OSError ENETUNREACH"],
          "has no network left, and no other one", seen)
    check(world.ask("get", "killer", host="127.0.0.1") != "", "the instance goes on")
    check(world.ask("get")["status"] == 200, "and so do others")


def test_low_ports_are_its_own(world):
    check(world.ask("serve_low") == 80, "it may listen below 1024, in its own network")


def test_an_idle_network_is_closed_as_before(world):
    world.deploy_network("alone", "none")
    check(world.ask("connect", "alone", host="192.0.2.1", port=80) == "OSError ENETUNREACH", "none: no address")
    check(world.ask("connect", "alone", host="127.0.0.1") == "ConnectionRefusedError ECONNREFUSED", "and a loopback of its own")


def test_loopback_by_its_address(world):
    world.deploy_network("local", [f"127.0.0.1:{world.port}", f"[::1]:{world.servers['sizes'].port}"])
    seen = world.ask("get", "local", host="127.0.0.1")
    check(seen["body"] == "hello from outside to /hello", "a port of the machine's loopback stands at the same place in the sandbox", seen)
    check(world.ask("get", "local", host="localhost")["status"] == 200, "also by its name")


def test_what_a_node_does_not_allow(world):
    node = world.new_node("")
    try:
        refused = []
        for name, network in (("host", "host"), ("loop", [f"127.0.0.1:{world.port}"]), ("loop2", ["localhost:80"])):
            try:
                world.deploy_network("refused-" + name, network, node)
                refused.append("deployed")
            except run.Failed as failed:
                refused.append(str(failed))
        check("network_host: true" in refused[0], "host is refused at deploy, and says what allows it", refused[0])
        check("network_loopback: true" in refused[1] and "network_loopback: true" in refused[2], "so is the loopback", refused[1:])
        if world.name == "localhost":
            return
        world.deploy_network("named", [f"{world.name}:{world.port}"], node)
        own, world.node = world.node, node
        try:
            seen = world.ask("connect", "named")
            check("answered" not in seen, "a name that turns out to be the loopback is refused", seen)
            check("network_loopback: true" in world.log("named"), "and the log says what allows it", world.log("named"))
        finally:
            world.node = own
    finally:
        node.kill()


def test_the_machines_network(world):
    world.deploy_network("open", "host")
    seen = world.ask("get", "open", host="127.0.0.1")
    check(seen["body"] == "hello from outside to /hello", "host: it reaches what the machine reaches", seen)
    mine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    name = f"mayfly-test-{os.getpid()}"
    mine.bind("\0" + name)
    mine.listen(1)
    seen = world.ask("abstract", "open", name=name)
    told = "no Landlock scopes" in world.log("open")
    check(seen == "PermissionError EPERM" or told, "but not its abstract unix sockets, or its log says that it does", seen)
    mine.close()


def test_manifests(world):
    for network, wanted in ((["*.example.com:443"], "wildcards"), (["example.com"], "host:port"), ([], "a list of destinations")):
        try:
            world.deploy_network(f"wrong-{wanted.split()[0].replace(':', '-')}", network)
            raise run.Failed(f"{network} was deployed")
        except run.Failed as failed:
            check(wanted in str(failed), f"{network} is refused by name", failed)


def test_forks(world):
    world.node.command("deploy", str(forking(world)), "--runtime", RUNTIME, "--handler", "app.handler")
    first = world.call({}, "forking")
    check(first == ["hello from outside to /import", "hello from outside to /call"], "it fetches at import, and in a call", first)
    world.node.wait(lambda: world.node.processes("forking"),
                    lambda seen: any(p["role"] == "template" and p["state"] == "ready" for p in seen), 20)
    for _ in range(2):
        world.node.command("scale", "forking", "0")
        world.node.wait(lambda: world.node.processes("forking"), lambda seen: all(p["role"] == "template" for p in seen), 20)
        seen = world.call({}, "forking")
        check(seen == first, "so does a fork", seen)
    origins = [start["origin"] for start in world.node.get("/api/functions/forking")["cold_starts"]]
    check(origins.count("fork") == 2, "which it was", (origins, world.log("forking")))


def forking(world):
    folder = world.folder / "forking"
    folder.mkdir()
    (folder / "function.yaml").write_text(f"network: {{outbound: ['{world.name}:{world.port}']}}\n")
    (folder / "app.py").write_text(f"""import urllib.request
def get(path):
    with urllib.request.urlopen("http://{world.name}:{world.port}/" + path) as reply:
        return reply.read().decode()
AT_IMPORT = get("import")
def handler(event, context):
    return [AT_IMPORT, get("call")]
""")
    return folder


def test_node_fetch(world):
    if not (runtime := languages.node_here()):
        return languages.without("node")
    source = world.folder / "node-source"
    source.mkdir()
    (source / "index.mjs").write_text("""export const handler = async (event) => {
  const all = await Promise.all([1, 2, 3].map((n) => fetch(`http://${event.host}:${event.port}/${n}`).then((r) => r.text())));
  let refused = "";
  try { await fetch("http://192.0.2.1/"); } catch (error) { refused = error.cause.code; }
  return { all, refused };
};
""")
    world.deploy_network("fetch", [f"{world.name}:{world.port}"], runtime=runtime, source=source, handler="index.handler")
    seen = world.ask("", "fetch")
    check(seen["all"] == [f"hello from outside to /{n}" for n in (1, 2, 3)], "Node.js's fetch reaches it", seen)
    check(seen["refused"] == "ENETUNREACH", "and is told what it can't", seen)


def test_a_program_that_serves_http(world):
    source = world.folder / "server-source"
    source.mkdir()
    (source / "server.py").write_text(f"""import http.server, os, urllib.request
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = urllib.request.urlopen("http://{world.name}:{world.port}/served").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("", int(os.environ["PORT"])), H).serve_forever()
""")
    world.deploy_network("server", [f"{world.name}:{world.port}"], runtime="http", source=source, handler="python3 server.py")
    reply = world.node.send("GET", "/functions/server")
    check(reply.status == 200 and reply.body == b"hello from outside to /served", "a program that serves HTTP reaches it, too", reply)


def check_fetches(world, name, title, refusal):
    """A program that fetches ?url= gets what is listed, and is told of what is not."""
    reply = world.node.send("GET", f"/functions/{name}?url=http://{world.name}:{world.port}/{name}")
    check(reply.body == f"hello from outside to /{name}".encode(), title, reply)
    reply = world.node.send("GET", f"/functions/{name}?url=http://192.0.2.1/")
    check(refusal in reply.body, "and is told what it can't", reply)


def test_go(world):
    if not shutil.which("go"):
        return languages.without("go")
    source = world.folder / "go-source"
    source.mkdir()
    (source / "main.go").write_text("""package main
import ("io"; "net/http"; "os")
func main() {
  http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
    reply, err := http.Get(r.URL.Query().Get("url"))
    if err != nil { w.Write([]byte(err.Error())); return }
    defer reply.Body.Close()
    io.Copy(w, reply.Body)
  })
  http.ListenAndServe(":" + os.Getenv("PORT"), nil)
}
""")
    subprocess.run(["go", "build", "-o", "server", "main.go"], cwd=source, check=True, env={**os.environ, "GO111MODULE": "off", "CGO_ENABLED": "0"})
    world.deploy_network("go", [f"{world.name}:{world.port}"], runtime="http", source=source, handler="./server")
    check_fetches(world, "go", "Go's net/http, with its own resolver, reaches it", b"network is unreachable")


def test_java(world):
    if not shutil.which("javac"):
        return languages.without("JDK")
    source = world.folder / "java-source"
    source.mkdir()
    (source / "Server.java").write_text("""import com.sun.net.httpserver.HttpServer;
import java.net.*;
import java.net.http.*;
public class Server {
  static String get(String url) {
    try {
      return HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(url)).build(), HttpResponse.BodyHandlers.ofString()).body();
    } catch (Exception error) { return String.valueOf(error) + " " + error.getCause(); }
  }
  public static void main(String[] arguments) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
    server.createContext("/", exchange -> {
      byte[] body = get(exchange.getRequestURI().getQuery().substring(4)).getBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
  }
}
""")
    subprocess.run(["javac", "Server.java"], cwd=source, check=True)
    world.deploy_network("java", [f"{world.name}:{world.port}"], runtime="http", source=source, handler="java -cp . Server")
    check_fetches(world, "java", "Java's HttpClient, which doesn't block, reaches it", b"ConnectException")


def test_what_it_costs(world):
    seen = world.ask("speed", port=world.servers["pong"].port, bulk=world.servers["bulk"].port, times=200)
    bare = []
    for _ in range(200):
        begun = time.perf_counter()
        with socket.create_connection(("127.0.0.1", world.servers["pong"].port)) as tried:
            tried.sendall(b"p")
            tried.recv(1)
        bare.append(time.perf_counter() - begun)
    check(seen["connect_us"] < 100_000, f"connecting and one byte each way: {seen['connect_us']:.0f} µs, bare "
          f"{statistics.median(bare) * 1e6:.0f} µs (medians of 200); {seen['mib_per_s']:.0f} MiB/s", seen)


if __name__ == "__main__":
    run.main(globals(), World)
