"""What code for Azure Functions may do: a blueprint, an ASGI app, outputs of every way, errors."""
import json
import os
import sys

import azure.functions as func

from blueprint import bp

app = func.FunctionApp()
app.register_functions(bp)


@app.route(route="fail/{how?}", methods=[func.HttpMethod.GET])
def fail(req: func.HttpRequest) -> func.HttpResponse:
    how = req.route_params.get("how")
    if how == "none":
        return None
    if how == "type":
        return 7
    if how == "exit":
        os._exit(9)
    raise ValueError("no such thing")


@app.route(route="status/{code:int}")
def status(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("a body", status_code=int(req.route_params["code"]))


@app.route(route="queued")
@app.queue_output(arg_name="message", queue_name="q", connection="C")
def queued(req: func.HttpRequest, message: func.Out[str]) -> str:
    message.set("to the queue")
    return "queued"


@app.route(route="reads")
@app.blob_input(arg_name="blob", path="a/b", connection="C")
def reads(req: func.HttpRequest, blob: func.InputStream) -> str:
    return "never"


@app.blob_trigger(arg_name="blob", path="in/{name}", connection="C")
@app.blob_output(arg_name="$return", path="out/{name}", connection="C")
def copied(blob: func.InputStream) -> bytes:
    return blob.name.encode() + b":" + blob.read()


@app.event_grid_trigger(arg_name="event")
@app.queue_output(arg_name="messages", queue_name="q", connection="C")
def told(event: func.EventGridEvent, messages: func.Out[list]):
    messages.set([event.id, json.dumps(event.get_json())])


@app.timer_trigger(schedule="* * * * * *", arg_name="timer")
async def ticks(timer: func.TimerRequest):
    if timer.past_due:
        raise RuntimeError("too late")
    print("tick", sys.version_info.major, flush=True)
