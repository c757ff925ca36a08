"""Calls models of the node with the standard library alone, as an event asks."""
import concurrent.futures
import http.client
import json
import os
import socket
import struct
import urllib.error
import urllib.request

URL = os.environ.get("MAYFLY_MODEL_URL", "")
SOCKET = os.environ.get("MAYFLY_MODEL_SOCKET", "")


def ask(path, body=None, headers={}):
    try:
        with urllib.request.urlopen(urllib.request.Request(URL + path, body, headers), timeout=30) as reply:
            return reply.status, dict(reply.headers), reply.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def double(values, model="double"):
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(values) // 2, 2], "data": values}]}
    status, headers, answer = ask(f"/v2/models/{model}/infer", json.dumps(body).encode())
    return json.loads(answer)["outputs"][0]["data"] if status == 200 else {"status": status, "error": json.loads(answer)["error"]}


def double_binary(rows):
    """The protocol's binary form: numbers as they lie in memory behind a JSON head."""
    data = struct.pack(f"<{2 * rows}f", *range(2 * rows))
    head = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [rows, 2], "parameters": {"binary_data_size": len(data)}}],
                       "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}).encode()
    status, headers, answer = ask("/v2/models/double/infer", head + data, {"Inference-Header-Content-Length": str(len(head))})
    if status != 200:
        return {"status": status, "error": answer.decode()}
    got = struct.unpack(f"<{2 * rows}f", answer[int(headers["Inference-Header-Content-Length"]):])
    return {"bytes": len(data), "right": got == tuple(2.0 * value for value in range(2 * rows))}


def over_the_socket():
    connection = http.client.HTTPConnection("models")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(SOCKET)
    connection.request("GET", "/v2/models/double")
    return json.loads(connection.getresponse().read())["name"]


def many(count):
    """Connections that stay open, to find the limit of them."""
    host, port = URL.removeprefix("http://").split(":")
    opened = []
    for _ in range(count):
        opened.append(socket.create_connection((host, int(port))))
    opened[0].sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: models\r\n\r\n")
    first = opened[0].recv(100)
    for connection in opened:
        connection.close()
    return first.decode()[:15]


def handler(event, context):
    do = event["do"]
    if do == "double":
        return double(event["values"], event.get("model", "double"))
    if do == "binary":
        return double_binary(event["rows"])
    if do == "ask":
        status, headers, answer = ask(event["path"], event["body"].encode() if "body" in event else None)
        return {"status": status, "answer": answer.decode()[:2000]}
    if do == "at once":
        with concurrent.futures.ThreadPoolExecutor(event["calls"]) as pool:
            return list(pool.map(lambda n: double([n, n]), range(event["calls"])))
    if do == "socket":
        return over_the_socket()
    if do == "many":
        return many(event["count"])
    if do == "hang":
        return ask("/v2/models/double/infer", b"{" * 10)
    if do == "environment":
        return {"url": URL, "socket": SOCKET}
    if do == "connect":
        try:
            socket.create_connection((event["host"], event["port"]), timeout=3)
            return "connected"
        except OSError as error:
            return f"{type(error).__name__} {error.errno}"
    raise ValueError(do)
