"""An app of Azure Functions in Python's v2 programming model, as `func init --python` begins one."""
import json
import logging

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="orders/{id:int}", methods=["GET", "POST"])
async def order(req: func.HttpRequest) -> func.HttpResponse:
    lines = req.get_json() if req.get_body() else []
    total = sum(line["price"] * line.get("count", 1) for line in lines)
    logging.info("order %s: %s", req.route_params["id"], total)
    return func.HttpResponse(json.dumps({"order": req.route_params["id"], "total": total, "query": dict(req.params)}),
                             status_code=201, mimetype="application/json", headers={"X-Order": req.route_params["id"]})


@app.queue_trigger(arg_name="message", queue_name="paid", connection="AzureWebJobsStorage")
@app.queue_output(arg_name="receipt", queue_name="receipts", connection="AzureWebJobsStorage")
def paid(message: func.QueueMessage, receipt: func.Out[str], context: func.Context):
    receipt.set(f"{context.function_name}: {message.get_body().decode()}, try {message.dequeue_count}")


@app.timer_trigger(schedule="0 0 3 * * *", arg_name="timer")
def nightly(timer: func.TimerRequest) -> None:
    logging.info("nightly, past due: %s", timer.past_due)
