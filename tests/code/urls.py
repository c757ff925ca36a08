#!/usr/bin/env python3
"""Functions called by their URLs, as AWS Lambda has them, on a real node: what arrives as the event, and what becomes of answers.

    tests/code/urls.py --mayfly build/mayfly [NAME …]
"""
import http.client
import json
import shutil
import subprocess
import tempfile
import threading
import urllib.parse
from pathlib import Path

from run import HERE, RUNTIME, Failed, Node, check, main

EVENT_MAX = 6 << 20
HOST = "host"              # in place of a path: the Host says whose URL it is


class World:
    def __init__(self, binary):
        self.folder = Path(tempfile.mkdtemp(prefix="mayfly-urls-"))
        self.binary, self.data = binary, self.folder / "data"
        self.data.mkdir()
        self.node = Node(binary, data=str(self.data))
        self.node.command("deploy", str(HERE / "functions/url"), "--name", "web", "--runtime", RUNTIME, "--handler", "app.handler",
                          "--timeout", "3s", "--memory", "512MiB")
        self.path = self.make("web")

    def make(self, name, qualifier="", **config):
        """The path of a new URL; the function's URL is the node's with that path."""
        made = self.api("POST", name, qualifier, {"AuthType": "NONE", **config})
        if made.status != 201:
            raise Failed(f"no URL: {made!r}")
        url = made.json["FunctionUrl"]
        check(url.startswith(self.node.url + "/lambda-url/") and url.endswith("/"), f"the URL of {name} {qualifier}", url)
        return url.removeprefix(self.node.url)[:-1]

    def api(self, method, name, qualifier="", body=None):
        query = "?Qualifier=" + qualifier if qualifier else ""
        return self.node.send(method, f"/2021-10-31/functions/{name}/url{query}", json.dumps(body) if body is not None else None)

    def send(self, method="GET", below="/", body=None, headers=None, path=None):
        return self.node.send(method, ("" if path == HOST else path or self.path) + below, body, headers or {})

    def event(self, *arguments, **named):
        reply = self.send(*arguments, **named)
        if reply.status != 200:
            raise Failed(f"{arguments} {named}: {reply!r}")
        return reply.json["event"]

    def answer(self, value):
        return self.send("GET", "/?answer=" + urllib.parse.quote(json.dumps(value)))

    def raw(self, head, body=b""):
        """One exchange with headers as they stand there; http.client would join or refuse some."""
        connection = http.client.HTTPConnection(self.node.host, timeout=60)
        connection.connect()
        connection.sock.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        reply = http.client.HTTPResponse(connection.sock)
        reply.begin()
        content = reply.read()
        connection.close()
        return reply, content

    def restart(self, *options):
        self.node.kill()
        self.node = Node(self.binary, *options, data=str(self.data))

    def close(self):
        self.node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def test_the_event(world):
    url_id = world.path.rsplit("/", 1)[1]
    check(len(url_id) == 32 and url_id.isalnum() and url_id.islower(), "its ID", url_id)
    seen = world.send("POST", "/a%20b/c?x=1&y=a%26b&x=2&empty&plus=a+b", b'{"n": 1}',
                      {"Content-Type": "application/json", "User-Agent": "tester", "X-Two": "first", "X-Request-Id": "mine"}).json
    event = seen["event"]
    context = event["requestContext"]
    check(event["version"] == "2.0" and event["routeKey"] == "$default" and event["rawPath"] == "/a%20b/c"
          and event["rawQueryString"] == "x=1&y=a%26b&x=2&empty&plus=a+b", "path and query as they were sent", event)
    check(event["queryStringParameters"] == {"x": "1,2", "y": "a&b", "empty": "", "plus": "a b"}, "the query decoded, one name's values joined", event)
    check(event["body"] == '{"n": 1}' and event["isBase64Encoded"] is False, "its body", event)
    check(context["http"] == {"method": "POST", "path": "/a%20b/c", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "tester"},
          "what http says", context)
    check(context["apiId"] == context["domainPrefix"] == url_id and context["domainName"] == url_id + ".lambda-url.us-east-1.on.aws"
          and context["stage"] == context["routeKey"] == "$default" and context["accountId"] == "anonymous", "whose URL it is", context)
    check(context["requestId"] == seen["id"] and isinstance(context["timeEpoch"], int) and context["time"].endswith(" +0000"),
          "the call's id, as its context has it, and the time", (context, seen["id"]))
    headers = event["headers"]
    check(headers["content-type"] == "application/json" and headers["host"] == world.node.host and headers["x-two"] == "first"
          and headers["content-length"] == "8" and headers["x-forwarded-proto"] == "http" and headers["x-forwarded-for"] == "127.0.0.1",
          "headers in lower case", headers)
    check(headers["x-amzn-trace-id"] in seen["trace"], "one trace in the event and in its environment", (headers, seen["trace"]))
    bare = world.event()
    check("body" not in bare and "cookies" not in bare and "queryStringParameters" not in bare and bare["isBase64Encoded"] is False
          and bare["rawPath"] == "/" and bare["rawQueryString"] == "", "what is not there is absent", bare)
    check(world.event(below="")["rawPath"] == "/", "the URL without its last slash")


def test_every_method(world):
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        check(world.event(method)["requestContext"]["http"]["method"] == method, method)
    reply = world.send("HEAD")
    check(reply.status == 200 and reply.body == b"", "HEAD", reply)


def test_headers_and_cookies(world):
    reply, content = world.raw(f"GET {world.path}/ HTTP/1.1\nHost: x\nX-A: 1\nx-a: 2\nCookie: a=1; b=2\nCookie: c=3\nConnection: close, X-Hop\nTE: trailers")
    event = json.loads(content)["event"]
    check(event["headers"]["x-a"] == "1,2", "those that came twice are joined by commas", event)
    check(event["cookies"] == ["a=1", "b=2", "c=3"] and event["headers"]["cookie"] == "a=1; b=2; c=3", "cookies are told apart", event)
    check("te" not in event["headers"] and "connection" not in event["headers"], "what is of the connection is not told", event)
    reply, _ = world.raw(f"GET {world.path}/?answer=" + urllib.parse.quote(json.dumps(
        {"statusCode": 200, "headers": {"X-One": "1", "x-number": 7, "x-true": True, "x-null": None}, "cookies": ["a=1; Path=/", "b=2; HttpOnly"],
         "body": "ok"})) + " HTTP/1.1\nHost: x")
    check(reply.headers.get_all("Set-Cookie") == ["a=1; Path=/", "b=2; HttpOnly"], "cookies of an answer", reply.headers.items())
    check(reply.headers["X-One"] == "1" and reply.headers["x-number"] == "7" and reply.headers["x-true"] == "true" and "x-null" not in reply.headers,
          "its headers", reply.headers.items())


def test_bodies(world):
    everything = bytes(range(256)) * 40
    for kind, body, encoded in (("image/png", everything, True), ("text/plain; charset=utf-8", "grüße \"\\\n\t\u2028".encode(), False),
                                ("application/x-www-form-urlencoded", b"a=1", True), ("application/xml", b"<a/>", False),
                                ("text/plain", everything, True), ("APPLICATION/JSON ;x=y", b"{}", False)):
        event = world.event("POST", "/", body, {"Content-Type": kind})
        check(event["isBase64Encoded"] is encoded, f"a body of {kind} comes {'in base64' if encoded else 'as text'}", event["isBase64Encoded"])
        reply = world.send("POST", "/?do=echo", body, {"Content-Type": kind})
        check(reply.body == body and reply.headers["Content-Type"] == kind, "and goes as it came", reply)
    check(world.event("POST", "/", b"x")["isBase64Encoded"] is True, "one without a type is bytes")
    reply = world.send(below="/?do=bytes")
    check(reply.body == bytes(range(256)) and reply.headers["Content-Type"] == "image/png" and reply.headers["Content-Length"] == "256",
          "bytes of an answer", reply)
    big = bytes(range(256)) * (4 << 12)          # 4 MiB, 5.3 in base64
    reply = world.send("POST", "/?do=echo", big, {"Content-Type": "application/octet-stream"})
    check(reply.status == 200 and reply.body == big, "large ones, both ways", (reply.status, len(reply.body)))
    reply, content = world.raw(f"POST {world.path}/?do=echo HTTP/1.1\nHost: x\nContent-Type: text/plain\nTransfer-Encoding: chunked",
                               b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    check(content == b"abcde", "a body in chunks", content)


def test_limits(world):
    connection = world.node.connect()           # what is refused by its head is not read: no more of it is sent
    connection.putrequest("POST", world.path + "/?do=echo")
    connection.putheader("Content-Length", str(EVENT_MAX + 1))
    connection.endheaders()
    refused = connection.getresponse()
    check(refused.status == 413 and refused.headers["x-amzn-ErrorType"] == "RequestEntityTooLargeException", "a body that is too large", refused.status)
    connection.close()
    for kind, size in (("application/octet-stream", EVENT_MAX * 3 // 4), ("text/plain", EVENT_MAX)):
        reply = world.send("POST", "/?do=echo", b"x" * size, {"Content-Type": kind})
        check(reply.status == 413 and "Message" in reply.json and reply.headers["x-amzn-ErrorType"] == "RequestEntityTooLargeException",
              f"{size} bytes of {kind} are too much for an event", reply)
    reply = world.send("POST", "/?do=echo", b'"' * (EVENT_MAX // 2 + 1), {"Content-Type": "text/plain"})
    check(reply.status == 413, "and so is what gets too large when it is written as JSON", reply)
    check(world.send("POST", "/?do=echo", b"x" * (EVENT_MAX - 4096), {"Content-Type": "text/plain"}).status == 200, "a little less is taken")
    reply = world.send(below=f"/?size={EVENT_MAX + 4096}")
    check(reply.status == 502, "an answer that is too large is the function's error", reply)
    check(world.send(below=f"/?size={EVENT_MAX - 4096}").status == 200, "a little less is answered")


def test_what_is_no_http_answer_is_the_body(world):
    for value, body in (({"hello": "world"}, b'{"hello":"world"}'), ("hello", b"hello"), (["a b", 3, True], b'["a b",3,true]'), (3.10, b"3.1"),
                        (None, b"null"), ({"body": "x", "headers": {"a": "b"}}, b'{"body":"x","headers":{"a":"b"}}')):
        reply = world.answer(value)
        check(reply.status == 200 and reply.headers["Content-Type"] == "application/json" and reply.body == body, f"{value!r}", reply)


def test_http_answers(world):
    reply = world.answer({"statusCode": 404})
    check(reply.status == 404 and reply.body == b"" and reply.headers["Content-Type"] == "application/json", "a status alone", reply)
    reply = world.answer({"statusCode": 200, "body": {"a": [1]}})
    check(reply.body == b'{"a":[1]}', "a body that is no text is sent as JSON", reply)
    reply = world.answer({"statusCode": 302, "headers": {"Location": "/there", "Content-Length": "99", "Connection": "close"}, "body": "go"})
    check(reply.status == 302 and reply.headers["Location"] == "/there" and reply.headers["Content-Length"] == "2", "a redirection; lengths are the node's", reply)
    for wrong in ({"statusCode": "200"}, {"statusCode": 99}, {"statusCode": 600}, {"statusCode": None}, {"statusCode": 200, "headers": {"a b": "c"}},
                  {"statusCode": 200, "headers": {"a": "b\r\nc: d"}}, {"statusCode": 200, "headers": {"a": ["b"]}}, {"statusCode": 200, "headers": "a"},
                  {"statusCode": 200, "cookies": "a"}, {"statusCode": 200, "cookies": [1]}, {"statusCode": 200, "body": "?", "isBase64Encoded": True},
                  {"statusCode": 200, "body": "a", "isBase64Encoded": "yes"}):
        reply = world.answer(wrong)
        check(reply.status == 502 and reply.body == b"Internal Server Error" and reply.headers["x-amzn-ErrorType"] == "InternalServerErrorException",
              f"{wrong}", reply)
    lines = world.node.command("logs", "web", "--json")
    check("the function's answer is no HTTP answer: its statusCode is 99" in lines, "the log says what was wrong", lines[-2000:])


def test_errors(world):
    for what in ("raise", "exit", "fill", "sleep"):
        reply = world.send(below=f"/?do={what}")
        check(reply.status == 502 and reply.body == b"Internal Server Error" and reply.headers["Content-Type"] == "application/json", what, reply)
        check(b"secret" not in reply.body and world.send().status == 200, "which tells nothing, and the next call is answered")
    world.node.send("PUT", "/2017-10-31/functions/web/concurrency", json.dumps({"ReservedConcurrentExecutions": 0}))
    reply = world.send()
    check(reply.status == 429 and reply.headers["x-amzn-ErrorType"] == "TooManyRequestsException", "one that takes no calls", reply)
    world.node.send("DELETE", "/2017-10-31/functions/web/concurrency")
    check(world.send().status == 200, "and takes them again")


def test_many_at_once_and_who_leaves(world):
    def ask(i, told):
        connection = world.node.connect()
        for j in range(10):
            reply = world.node.send("POST", f"{world.path}/?do=echo", f"{i} {j}" * (1 + j * 4000), {"Content-Type": "text/plain"}, connection)
            told.append(reply.status == 200 and reply.body.decode() == f"{i} {j}" * (1 + j * 4000))
        connection.close()

    told = []
    threads = [threading.Thread(target=ask, args=(i, told)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(len(told) == 80 and all(told), "eight callers get their own answers", told)
    connection = world.node.connect()
    connection.request("GET", world.path + "/?do=sleep")
    world.node.wait(lambda: world.node.processes("web"), lambda all_: any(p["in_flight"] for p in all_), 20)
    connection.close()
    lines = world.node.wait(lambda: world.node.command("logs", "web", "--json"), lambda text: '"outcome":"cancelled"' in text, 20)
    check(True, "a caller who leaves ends the call", lines[-300:])


def test_by_host(world):
    url_id = world.path.rsplit("/", 1)[1]
    for host in (f"{url_id}.lambda-url.us-east-1.on.aws", f"{url_id.upper()}.Lambda-URL.eu-west-3.localhost:8080"):
        event = world.event("GET", "/api/functions?a=b", headers={"Host": host}, path=HOST)
        check(event["rawPath"] == "/api/functions" and event["headers"]["host"] == host and event["requestContext"]["apiId"] == url_id
              and event["requestContext"]["domainName"] == host.lower().split(":")[0], f"any path of {host} is the function's", event)
    for host in (f"{url_id}.lambda-url.us-east-1.on.aws.example.com", f"{url_id}.lambda-url.localhost", f"x{url_id}.lambda-url.a.localhost"):
        check("functions" in world.node.send("GET", "/api/functions", headers={"Host": host}).json, f"{host} is no URL's", host)
    other = world.node.send("GET", "/x", headers={"Host": "0" * 32 + ".lambda-url.us-east-1.on.aws"})
    check(other.status == 403 and other.json == {"Message": None}, "a Host of no URL", other)


def test_curl(world):
    """What the API tells works with an ordinary client as it is; names below localhost are loopback to curl."""
    if not shutil.which("curl"):
        return check(True, "there is no curl here")
    url_id, port = world.path.rsplit("/", 1)[1], world.node.host.split(":")[1]
    for url in (world.node.url + world.path + "/", f"http://{url_id}.lambda-url.us-east-1.localhost:{port}/"):
        said = subprocess.run(["curl", "-sS", "--noproxy", "*", "-X", "PUT", "-H", "Content-Type: text/plain", "-d", "hi", url + "p?do=echo"],
                              capture_output=True, text=True, timeout=60)
        check(said.stdout == "hi", url, said)


def test_cors(world):
    world.node.command("deploy", str(HERE / "functions/url"), "--name", "cors", "--runtime", RUNTIME, "--handler", "app.handler")
    cors = {"AllowOrigins": ["https://a.example", "http://localhost:3000"], "AllowMethods": ["GET", "PUT"], "AllowHeaders": ["x-a", "content-type"],
            "ExposeHeaders": ["x-b"], "AllowCredentials": True, "MaxAge": 300}
    path = world.make("cors", Cors=cors)
    ask = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-a"}
    reply = world.send("OPTIONS", "/any", headers=ask, path=path)
    check(reply.status == 200 and reply.body == b"" and reply.headers["Access-Control-Allow-Origin"] == "https://a.example"
          and reply.headers["Access-Control-Allow-Methods"] == "GET,PUT" and reply.headers["Access-Control-Allow-Headers"] == "x-a,content-type"
          and reply.headers["Access-Control-Max-Age"] == "300" and reply.headers["Access-Control-Allow-Credentials"] == "true",
          "a preflight is the node's to answer", reply.headers.items())
    check(not [p for p in world.node.processes("cors") if p["answered"]], "and not the function's")
    reply = world.send("OPTIONS", "/any", headers={**ask, "Origin": "https://b.example"}, path=path)
    check("Access-Control-Allow-Origin" not in reply.headers, "another origin is let in nowhere", reply.headers.items())
    own = urllib.parse.quote(json.dumps({"statusCode": 200, "headers": {"access-control-allow-origin": "*", "x-b": "1"}, "body": "ok"}))
    reply = world.send("GET", "/?answer=" + own, headers={"Origin": "http://localhost:3000"}, path=path)
    check(reply.headers.get_all("Access-Control-Allow-Origin") == ["http://localhost:3000"] and reply.headers["Access-Control-Expose-Headers"] == "x-b"
          and reply.headers["x-b"] == "1" and reply.headers["Vary"] == "Origin", "what is configured overrules what the function says", reply.headers.items())
    reply = world.send("GET", "/?do=raise", headers={"Origin": "http://localhost:3000"}, path=path)
    check(reply.status == 502 and reply.headers["Access-Control-Allow-Origin"] == "http://localhost:3000", "errors have them, too", reply.headers.items())
    check(world.api("PUT", "cors", body={"Cors": {"AllowOrigins": ["*"], "AllowMethods": ["*"]}}).status == 200, "it is changed")
    reply = world.send("OPTIONS", "/", headers=ask, path=path)
    check(reply.headers["Access-Control-Allow-Origin"] == "*" and reply.headers["Access-Control-Allow-Methods"] == "*"
          and "Access-Control-Allow-Credentials" not in reply.headers, "to any", reply.headers.items())
    for wrong in ({"AllowOrigins": "*"}, {"AllowOrigins": ["a\r\nb: c"]}, {"MaxAge": -1}, {"MaxAge": "1"}, {"AllowAll": True}, {"AllowCredentials": 1}):
        check(world.api("PUT", "cors", body={"Cors": wrong}).status == 400, f"{wrong} is refused")
    check(world.api("PUT", "cors", body={"Cors": {}}).status == 200, "it is taken away")
    event = json.loads(world.send("OPTIONS", "/", headers=ask, path=path).body)["event"]
    check(event["requestContext"]["http"]["method"] == "OPTIONS", "then preflights are the function's", event)


def test_an_alias_has_its_own(world):
    path = world.make("web", "live")
    world.node.send("POST", "/2015-03-31/functions/web/aliases", json.dumps({"Name": "first", "FunctionVersion": "1"}))
    first = world.make("web", "first")
    check(len({world.path, path, first}) == 3, "three URLs of one function", (world.path, path, first))
    world.node.command("deploy", str(HERE / "functions/url"), "--name", "web", "--runtime", RUNTIME, "--handler", "app.handler", "--timeout", "3s",
                       "--memory", "600MiB")
    seen = {where: world.send(path=where).json["version"] for where in (world.path, path, first)}
    check(seen == {world.path: "2", path: "2", first: "1"}, "each calls its own version", seen)
    check(world.api("POST", "web", "1", {"AuthType": "NONE"}).status == 400, "a version's number has none")
    world.node.send("DELETE", "/2015-03-31/functions/web/aliases/first")
    check(world.send(path=first).status == 403, "an alias takes its URL with it")
    listed = world.node.get("/2021-10-31/functions/web/urls")["FunctionUrlConfigs"]
    check(len(listed) == 2, "those that are left are listed", listed)


def test_it_survives_a_restart_and_goes_with_its_configuration(world):
    path = world.make("web", "$LATEST") if world.api("GET", "web").status == 404 else world.path
    world.restart()
    check(world.send().status == 200 and world.api("GET", "web").json["FunctionUrl"] == world.node.url + world.path + "/", "the same URL after a restart")
    check(world.api("PUT", "web", body={"InvokeMode": "RESPONSE_STREAM"}).json["FunctionUrl"] == world.node.url + path + "/", "and after a change")
    check(world.send().status == 200, "which is answered whole")
    check(world.api("DELETE", "web").status == 204, "it is deleted")
    reply = world.send()
    check(reply.status == 403 and reply.body == b'{"Message":null}' and reply.headers["x-amzn-ErrorType"] == "AccessDeniedException", "and is nobody's then", reply)
    world.path, before = world.make("web"), world.path
    check(world.path != before and world.send().status == 200 and world.send(path=before).status == 403, "a new one has another address")
    world.node.command("delete", "web", "--yes")
    check(world.send().status == 403, "and goes with its function")


def test_node(world):
    folder = HERE / "functions/url-node"
    try:
        world.node.command("deploy", str(folder), "--name", "node-web", "--runtime", "nodejs18.x", "--handler", "index.handler")
        world.node.command("deploy", str(folder), "--name", "node-stream", "--runtime", "nodejs18.x", "--handler", "index.stream")
    except Failed as failed:
        return check("Node.js" in str(failed), "there is no Node.js here", failed)
    path = world.make("node-web")
    body = bytes(range(256))
    reply = world.send("PUT", "/", body, {"Content-Type": "x/y"}, path)
    check(reply.status == 201 and reply.body == body[::-1] and reply.headers["X-Method"] == "PUT"
          and reply.headers.get_all("Set-Cookie") == ["a=1; Path=/", "b=2"], "bytes both ways, cookies", reply)
    check(world.send("POST", "/", b"text", {"Content-Type": "text/plain"}, path).body == b"txet", "a text")
    check(world.send("GET", "/throw", path=path).status == 502, "an error")
    path = world.make("node-stream", InvokeMode="RESPONSE_STREAM")
    reply = world.send(path=path)
    check(reply.status == 202 and reply.body == b"in parts" and reply.headers["X-Of"] == "prelude" and reply.headers["Set-Cookie"] == "c=3",
          "a stream with its prelude", reply)
    check(reply.headers["Transfer-Encoding"] == "chunked", "of a length that nobody knows beforehand", reply.headers)
    world.api("PUT", "node-stream", body={"InvokeMode": "BUFFERED"})
    whole = world.send(path=path)
    check(whole.status == 202 and whole.body == b"in parts" and whole.headers["Content-Length"] == "8", "and whole where the URL is BUFFERED", whole)


def test_a_stream_comes_as_it_is_made(world):
    try:
        world.node.command("deploy", str(HERE / "functions/url-node"), "--name", "node-slow", "--runtime", "nodejs18.x", "--handler", "index.slow")
    except Failed as failed:
        return check("Node.js" in str(failed), "there is no Node.js here", failed)
    path = world.make("node-slow", InvokeMode="RESPONSE_STREAM", Cors={"AllowOrigins": ["*"]})
    connection = world.node.connect()
    connection.request("GET", path + "/", headers={"Origin": "http://page.example"})
    reply = connection.getresponse()
    check(reply.status == 200 and reply.headers["Access-Control-Allow-Origin"] == "*", "its head, with what CORS wants", reply.headers)
    first = reply.read1(100)
    check(first == b"first\n", "the first piece is there while the function has not written the second", first)
    rest = reply.read()
    check(rest == b"second\n", "which follows", rest)
    connection.request("GET", path + "/fail")
    reply = connection.getresponse()
    try:
        seen = reply.read()
    except http.client.IncompleteRead:
        seen = None
    check(seen is None, "one that fails breaks off, and does not end", seen)


ASGI = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from mangum import Mangum

async def item(request):
    return JSONResponse({"name": request.path_params["name"], "tags": request.query_params.getlist("tag"), "cookie": request.cookies.get("c"),
                         "form": request.headers.get("content-type"), "body": (await request.body()).hex(), "method": request.method}, 201)

async def picture(request):
    response = Response(bytes(range(256)), media_type="image/png")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response

async def broken(request):
    raise ValueError("a secret of the application")

handler = Mangum(Starlette(routes=[Route("/items/{name}", item, methods=["GET", "PUT"]), Route("/picture", picture), Route("/broken", broken)]),
                 lifespan="off")
"""


def test_an_asgi_application_by_mangum(world):
    """A framework's adapter as it is, installed at the deploy: Starlette behind Mangum."""
    folder = world.folder / "asgi"
    folder.mkdir()
    (folder / "app.py").write_text(ASGI)
    (folder / "requirements.txt").write_text("mangum==0.22.0\nstarlette==1.10.0\nanyio==4.16.0\n")
    world.node.command("deploy", str(folder), "--runtime", RUNTIME, "--handler", "app.handler", "--timeout", "20s", timeout=300)
    path = world.make("asgi")
    reply = world.send("PUT", "/items/a%20b?tag=x&tag=y", b"\x00\xff", {"Content-Type": "application/octet-stream", "Cookie": "c=1; d=2"}, path)
    check(reply.status == 201 and reply.json["name"] == "a b" and reply.json["cookie"] == "1" and reply.json["body"] == "00ff"
          and reply.json["method"] == "PUT" and reply.json["form"] == "application/octet-stream", "a request", reply)
    check(reply.json["tags"] == ["x", "y"] or reply.json["tags"] == ["x,y"], "its query", reply)
    reply = world.send("GET", "/picture", path=path)
    check(reply.status == 200 and reply.body == bytes(range(256)) and reply.headers["Content-Type"] == "image/png"
          and [c.split(";")[0] for c in reply.headers.get_all("Set-Cookie")] == ["a=1", "b=2"], "bytes and cookies", reply)
    check(world.send("GET", "/nowhere", path=path).status == 404 and world.send("POST", "/picture", path=path).status == 405, "its own 404 and 405")
    reply = world.send("GET", "/broken", path=path)
    check(reply.status == 500 and b"secret" not in reply.body, "its own 500", reply)


def test_a_program_of_its_own(world):
    """One that speaks the Runtime API itself answers with any bytes; what is no JSON is no answer."""
    python = Path("/usr/bin/python3")
    if not python.exists():
        return check(True, "this machine has no /usr/bin/python3 to write a bootstrap in")
    folder = world.folder / "own"
    folder.mkdir()
    (folder / "bootstrap").write_text(f"""#!{python}
import base64, http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    call = api.getresponse()
    event = json.loads(call.read())
    id = call.headers["Lambda-Runtime-Aws-Request-Id"]
    api.request("POST", f"/2018-06-01/runtime/invocation/{{id}}/response", base64.b64decode(event["body"]))
    api.getresponse().read()
""")
    world.node.command("deploy", str(folder), "--runtime", "provided.al2023")
    path = world.make("own")
    for answer, status, body in ((b'{"statusCode": 203, "body": "fine"}', 203, b"fine"), (b' [1, 2.50, 123456789012345678901] ', 200, b"[1,2.50,123456789012345678901]"),
                                 (b"\xff\xfe", 502, b"Internal Server Error"), (b"", 502, b"Internal Server Error"),
                                 (b"plain", 502, b"Internal Server Error"), (b"[" * 100_000, 502, b"Internal Server Error"),
                                 (b'{"statusCode": 200, "statusCode": 204}', 204, b"")):
        reply = world.send("POST", "/", answer, {"Content-Type": "x/y"}, path)
        check((reply.status, reply.body) == (status, body), f"{answer[:40]}", reply)


def test_other_kinds_of_functions(world):
    folder = world.folder / "server"
    folder.mkdir()
    (folder / "server.py").write_text(
        "import http.server, os\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        text = (self.path + ' ' + self.headers['x-a']).encode()\n"
        "        self.send_response(203); self.send_header('Content-Length', str(len(text))); self.end_headers(); self.wfile.write(text)\n"
        "http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()\n")
    (folder / "function.yaml").write_text("runtime: http\nhandler: python3 server.py\n")
    world.node.command("deploy", str(folder), "--name", "server")
    reply = world.send("GET", "/p?q=1", headers={"X-A": "1"}, path=world.make("server"))
    check(reply.status == 203 and reply.body == b"/p?q=1 1", "a program that serves HTTP gets the request as it is", reply)


def test_keys(world):
    check(world.api("POST", "node-web", "live", {"AuthType": "AWS_IAM"}).status == 400, "without keys a URL that wants them is refused")
    check(world.api("POST", "node-web", "live", {"AuthType": "SOME"}).status == 400, "and so is what is none")


if __name__ == "__main__":
    main(globals(), World)
