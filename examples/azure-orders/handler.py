"""An Azure Functions custom handler: prices the items of an order. The host sends POST /orders with the bindings' data."""
import http.server
import json
import os


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = call["Data"]["req"]
        items = json.loads(request.get("Body") or "[]")
        total = sum(item["price"] * item.get("count", 1) for item in items)
        answer = {"order": request["Params"]["id"], "total": total, "method": request["Method"], "query": json.loads(request["Query"])}
        body = json.dumps({"Outputs": {"res": {"statusCode": 201 if items else 200, "headers": {"X-Order": request["Params"]["id"]},
                                               "body": answer}},
                           "Logs": [f"order {request['Params']['id']}: {total}"], "ReturnValue": None}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["FUNCTIONS_CUSTOMHANDLER_PORT"])), Handler).serve_forever()
