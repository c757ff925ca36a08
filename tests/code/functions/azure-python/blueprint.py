import asyncio
import threading
import time

import azure.functions as func

bp = func.Blueprint()


@bp.function_name("Echo")
@bp.route(route="echo/{name=nobody}")
def echo(req: func.HttpRequest, context) -> func.HttpResponse:
    reply = func.HttpResponse(req.get_body(), headers={"X-Name": req.route_params.get("name", ""), "X-Id": context.invocation_id,
                                                       "X-Thread": threading.current_thread().name, "X-Method": req.method},
                              mimetype=req.headers.get("content-type", "application/octet-stream"))
    reply.headers.add("Set-Cookie", "a=1")
    reply.headers.add("Set-Cookie", "b=2")
    return reply


@bp.route("sleep")
async def sleep(req: func.HttpRequest) -> str:
    await asyncio.sleep(0.3)
    return "slept"


@bp.route("block")
def block(req: func.HttpRequest) -> str:
    time.sleep(0.3)
    return "blocked"
