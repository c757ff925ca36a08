"""What comes by a function's URL, told back, or answered as the query says; the tests of URLs ask for it."""
import base64
import json
import os
import time


def handler(event, context):
    query = event.get("queryStringParameters", {})
    if "answer" in query:                        # any answer, as it is
        return json.loads(query["answer"])
    if "size" in query:
        return {"statusCode": 200, "body": "x" * int(query["size"])}
    if "do" in query:
        return {"raise": fail, "exit": leave, "sleep": sleep, "fill": fill, "bytes": give_bytes, "echo": echo}[query["do"]](event)
    return {"event": event, "id": context.aws_request_id, "trace": os.environ["_X_AMZN_TRACE_ID"], "version": context.function_version}


def fail(event):
    raise ValueError("a secret of the function")


def leave(event):
    os._exit(3)


def sleep(event):
    time.sleep(60)


def fill(event):
    return len(b"x" * (2 << 30))


def give_bytes(event):
    return {"statusCode": 200, "headers": {"content-type": "image/png"}, "isBase64Encoded": True,
            "body": base64.b64encode(bytes(range(256))).decode()}


def echo(event):
    """The body as it came, in the form it came."""
    return {"statusCode": 200, "headers": {"content-type": event["headers"].get("content-type", "x/none")}, "body": event.get("body", ""),
            "isBase64Encoded": event["isBase64Encoded"]}
