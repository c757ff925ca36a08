"""Bindings of Azure Storage of every way that Python's v2 model has."""
import json

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
STORE = "AzureWebJobsStorage"


@app.route(route="copy/{name}")
@app.blob_input(arg_name="source", path="inbox/{name}", connection=STORE)
@app.blob_output(arg_name="target", path="outbox/{name}.copy", connection=STORE)
def copy(req: func.HttpRequest, source: func.InputStream, target: func.Out[bytes]) -> func.HttpResponse:
    if source is None:
        return func.HttpResponse("not there", status_code=404)
    content = source.read()
    target.set(content)
    return func.HttpResponse(content, mimetype="application/octet-stream", headers={"X-Size": str(len(content))})


@app.route(route="text/{name}")
@app.blob_input(arg_name="source", path="inbox/{name}", connection=STORE)
async def text(req: func.HttpRequest, source: str) -> str:
    return "none" if source is None else f"{type(source).__name__} {source}"


@app.route(route="bytes/{name}")
@app.blob_input(arg_name="source", path="inbox/{name}", connection=STORE)
def as_bytes(req: func.HttpRequest, source: bytes) -> str:
    return f"{type(source).__name__} {len(source)}"


@app.route(route="send", methods=["POST"])
@app.queue_output(arg_name="messages", queue_name="%QUEUE%", connection=STORE)
def send(req: func.HttpRequest, messages: func.Out[list]) -> str:
    messages.set(req.get_json()["messages"])
    return "sent"


@app.route(route="orders/{id:int}", methods=["POST"])
@app.queue_output(arg_name="message", queue_name="orders", connection="Other")
@app.blob_output(arg_name="receipt", path="receipts/{customer.name}/{id}-{DateTime:yyyy}-{rand-guid}.json", connection="Other")
def order(req: func.HttpRequest, message: func.Out[func.QueueMessage], receipt: func.Out[str]) -> func.HttpResponse:
    message.set(func.QueueMessage(body=f"order {req.route_params['id']}"))
    receipt.set(json.dumps({"id": req.route_params["id"]}))
    return func.HttpResponse(status_code=204)


@app.route(route="fails", methods=["POST"])
@app.queue_output(arg_name="message", queue_name="fails", connection=STORE)
def fails(req: func.HttpRequest, message: func.Out[str]) -> str:
    message.set("never sent")
    raise ValueError("after the output was set")


@app.route(route="large/{size:int}")
@app.queue_output(arg_name="message", queue_name="large", connection=STORE)
def large(req: func.HttpRequest, message: func.Out[str]) -> str:
    message.set("x" * int(req.route_params["size"]))
    return "sent"


@app.route(route="lost")
@app.queue_output(arg_name="message", queue_name="lost", connection="NotSet")
def lost(req: func.HttpRequest, message: func.Out[str]) -> str:
    message.set("never sent")
    return "sent"


@app.blob_trigger(arg_name="blob", path="inbox/{name}.{ext}", connection=STORE)
@app.blob_output(arg_name="$return", path="outbox/{name}-{ext}", connection=STORE)
def copied(blob: func.InputStream) -> bytes:
    told = {"name": blob.name, "uri": blob.uri, "length": blob.length, "metadata": blob.metadata}
    return json.dumps(told).encode() + b"\n" + blob.read()


@app.queue_trigger(arg_name="message", queue_name="paid", connection=STORE)
@app.blob_input(arg_name="source", path="inbox/{queueTrigger}", connection=STORE)
@app.queue_output(arg_name="$return", queue_name="receipts", connection=STORE)
def paid(message: func.QueueMessage, source: bytes) -> str:
    return f"{message.get_body().decode()}: {len(source)} bytes"


@app.timer_trigger(schedule="0 0 3 * * *", arg_name="timer")
@app.blob_output(arg_name="report", path="outbox/report.txt", connection=STORE)
def nightly(timer: func.TimerRequest, report: func.Out[str]) -> None:
    report.set(f"past due: {timer.past_due}")
