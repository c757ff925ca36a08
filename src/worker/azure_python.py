"""Serves the functions of an Azure Functions app in Python's v2 programming model (function_app.py) to worker/http_host.h, on
127.0.0.1:$PORT. Standard library only, beside the app's own package azure-functions, whose converters make what triggers give and
read what functions return. Embedded into mayfly, started as `python3 -c`.

A call is an HTTP/1.1 request whose Mayfly-Azure-… lines, which only the host can write, name the function. What was read for its bindings
stands in front of the request's body; what it gives for those that are written, in front of the answer. `async` functions run on the loop,
others in threads, several at a time."""
import sys

sys.path.pop(0)  # "", the app's folder: its json.py must not become ours
import asyncio, base64, concurrent.futures, datetime, importlib, inspect, json, logging, os, threading, traceback, types, uuid
from urllib.parse import parse_qsl, quote

HEAD_MAX, LOG_MAX = 1 << 20, 4096
THREADS = threading.local()
AS_TEXT = {"queuetrigger", "blobtrigger", "servicebustrigger", "eventhubtrigger", "kafkatrigger"}  # what their converters read


def given_in_front(line, body):
    """By name what the host read for bindings (None: the blob isn't there), and what is left of the body."""
    given = {}
    for name, told in parse_qsl(line):
        kind, _, size = told.partition(":")
        given[name] = body[:int(size)] if kind == "bytes" else None
        body = body[int(size):]
    return given, body


def put_in_front(outputs, answer):
    """The answer that has the outputs, Datums by name, in front of it."""
    told, parts = [], []
    for name, datum in outputs.items():
        value = datum.value
        if isinstance(value, (bytes, bytearray)):
            kind, value = "bytes", bytes(value)
        else:
            kind, value = ("json" if datum.type == "json" else "text"), str(value).encode()
        told.append(f"{quote(name, safe='')}={kind}:{len(value)}")
        parts.append(value)
    parts.append(answer)
    body = b"".join(parts)
    return f"HTTP/1.1 200 OK\r\nMayfly-Azure-Outputs: {'&'.join(told) or '-'}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def data_of(datum):
    """A Datum as JSON has it."""
    value = datum.value if hasattr(datum, "value") else datum
    if value is None or (kind := getattr(datum, "type", None)) is None:
        return None
    if kind == "json":
        return json.loads(value)
    if isinstance(value, (bytes, bytearray)):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return value


class Function:
    def __init__(self, built, azure):
        self.name, self.code = built.get_function_name(), built.get_user_function()
        self.bindings = [json.loads(text) for text in built.get_raw_bindings()]
        self.azure, self.is_async = azure, inspect.iscoroutinefunction(self.code)
        parameters = inspect.signature(self.code).parameters
        self.trigger = next((b for b in self.bindings if b["type"].lower().endswith("trigger")), None)
        self.is_http = self.trigger and self.trigger["type"].lower() == "httptrigger"
        self.outputs = {b["name"]: b for b in self.bindings if b is not self.trigger and str(b.get("direction")).lower() == "out"}
        self.inputs = {b["name"]: b for b in self.bindings if b is not self.trigger and b["name"] not in self.outputs}
        self.annotations = {name: parameter.annotation for name, parameter in parameters.items()}
        bound = {b["name"] for b in self.bindings}
        missing = sorted(name for name in bound if name != "$return" and name not in parameters)
        if missing:
            raise ValueError(f"the function {self.name} has no parameter for its bindings {', '.join(missing)}")
        self.wants_context = "context" in parameters and "context" not in bound
        unbound = [n for n, p in parameters.items() if n not in bound and n != "context" and p.default is p.empty
                   and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if unbound:
            raise ValueError(f"the function {self.name} has the parameters {', '.join(unbound)}, for which there is no binding")

    def described(self):
        return {"name": self.name, "bindings": self.bindings}

    def converter(self, kind):
        registry = self.azure.get_binding_registry()
        return registry.get(kind) if registry else None

    def bound(self, name, data):
        """What was read for an input binding, as its parameter wants it: a text or bytes where it says so, else what the package makes of it."""
        wants = self.annotations.get(name)
        if data is None or wants in (bytes, "bytes"):
            return data
        if wants in (str, "str"):
            return data.decode()
        found, datum = self.converter(self.inputs[name]["type"]), self.azure.meta.Datum(data, "bytes")
        return found.decode(datum, trigger_metadata=None) if found else data

    def input(self, told, read=None):
        """What the trigger gives, of {"input", "metadata", "encoding"}; `read`: what the host read for it."""
        kind, value, datum = self.trigger["type"], told.get("input", ""), self.azure.meta.Datum
        if kind.lower() == "timertrigger" and not isinstance(value, dict):
            value = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False}
        if read is not None:
            data = datum(read, "bytes")
        elif told.get("encoding") == "base64":
            data = datum(base64.b64decode(value), "bytes")
        elif kind.lower() in AS_TEXT:
            data = datum(value if isinstance(value, str) else json.dumps(value), "string")
        elif kind.lower() == "timertrigger" or not isinstance(value, str):
            data = datum(json.dumps(value), "json")
        else:
            data = datum(value, "string")
        now = datetime.datetime.now(datetime.timezone.utc)
        later = now + datetime.timedelta(days=7)
        metadata = {"Id": str(uuid.uuid4()), "DequeueCount": 1, "InsertionTime": now.isoformat(timespec="seconds"),
                    "ExpirationTime": later.isoformat(timespec="seconds"), "NextVisibleTime": now.isoformat(timespec="seconds"),
                    "PopReceipt": ""} if kind.lower() == "queuetrigger" else {}
        metadata.update(told.get("metadata") or {})
        metadata = {name: datum(each, "string") if isinstance(each, str) else datum(json.dumps(each), "json")
                    for name, each in metadata.items()}
        found = self.converter(kind)
        return found.decode(data, trigger_metadata=metadata) if found else data.python_value

    def output(self, name, value):
        """As a Datum. Of a queue's message its body is what is sent."""
        message = self.azure.QueueMessage
        if isinstance(value, message):
            value = value.get_body()
        elif isinstance(value, (list, tuple)) and any(isinstance(each, message) for each in value):
            value = [each.get_body().decode() if isinstance(each, message) else each for each in value]
        if found := self.converter(self.outputs[name]["type"]):
            return found.encode(value, expected_type=type(value))
        if isinstance(value, (str, bytes)):
            return self.azure.meta.Datum(value, "string" if isinstance(value, str) else "bytes")
        return self.azure.meta.Datum(json.dumps(value), "json")

    async def run(self, given, inputs, call_id, headers, pool):
        """What it returned, and its outputs by name, as Datums."""
        arguments = {name: self.bound(name, inputs.get(name)) for name in self.inputs}
        arguments[self.trigger["name"]] = given
        outs = {name: OUT() for name in self.outputs if name != "$return"}
        arguments.update(outs)
        if self.wants_context:
            arguments["context"] = CONTEXT(call_id, self.name, headers)
        if self.is_async:
            returned = await self.code(**arguments)
        else:
            def in_thread():
                THREADS.invocation_id = call_id
                return self.code(**arguments)
            returned = await asyncio.get_running_loop().run_in_executor(pool, in_thread)
        outputs = {name: self.output(name, out.get()) for name, out in outs.items()
                   if self.outputs[name]["type"].lower() != "http" and out.get() is not None}
        if "$return" in self.outputs and self.outputs["$return"]["type"].lower() != "http" and returned is not None:
            outputs["$return"] = self.output("$return", returned)
        http = next((out.get() for name, out in outs.items() if self.outputs[name]["type"].lower() == "http"), returned)
        return (http if self.is_http else returned), outputs


def define(azure):
    """Classes whose bases are the app's package's."""
    global OUT, CONTEXT

    class Out(azure.Out):
        def __init__(self):
            self._value = None

        def set(self, val):
            self._value = val

        def get(self):
            return self._value

    class Context(azure.Context):
        def __init__(self, call_id, name, headers):
            self._id, self._name = call_id, name
            parent, state = headers.get("traceparent", ""), headers.get("tracestate", "")
            self._trace = types.SimpleNamespace(Traceparent=parent, Tracestate=state, Attributes={}, trace_parent=parent,
                                                trace_state=state, attributes={})
            self._retry = types.SimpleNamespace(retry_count=0, max_retry_count=0, exception=None)

        invocation_id = property(lambda self: self._id)
        thread_local_storage = property(lambda self: THREADS)
        function_name = property(lambda self: self._name)
        function_directory = property(lambda self: os.environ["AzureWebJobsScriptRoot"])
        trace_context = property(lambda self: self._trace)
        retry_context = property(lambda self: self._retry)

    OUT, CONTEXT = Out, Context


def load():
    """The app's functions by name; or why there are none, in one line."""
    file = os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
    try:
        module = importlib.import_module(file[:-3] if file.endswith(".py") else file)
        azure = importlib.import_module("azure.functions")
        define(azure)
        apps = []
        for found in vars(module).values():
            if isinstance(found, azure.FunctionRegister) and found not in apps:
                apps.append(found)
        if len(apps) != 1:
            raise ValueError(f"it has {len(apps)} objects of azure.functions.FunctionApp at its top, one is wanted")
        functions = {}
        for built in apps[0].get_functions():
            function = Function(built, azure)
            if function.name in functions:
                raise ValueError(f"two functions have the name {function.name}")
            functions[function.name] = function
        return functions, None
    except BaseException as error:  # sys.exit() at import among them
        traceback.print_exc()
        advice = ""
        if isinstance(error, ModuleNotFoundError) and str(error.name).split(".")[0] == "azure":
            advice = ": put the dependencies into the folder, by pip install -t . -r requirements.txt"
        return {}, f"{file} can't be loaded: {type(error).__name__}: {error}{advice}"


# --- HTTP

def one_line(text):
    return str(text).replace("\r", " ").replace("\n", " ")


def http_reply(status, headers, body, head=False):
    lines = [f"HTTP/1.1 {status} Answer"]
    lines += [f"{one_line(name)}: {one_line(value)}" for name, value in headers
              if name.lower() not in ("content-length", "transfer-encoding", "connection")]
    if status in (204, 304):
        body = b""
    else:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines + ["", ""]).encode("latin-1", "replace") + (b"" if head else body)


def json_reply(status, value):
    return http_reply(status, [("Content-Type", "application/json; charset=utf-8")], json.dumps(value, default=str).encode())


def answer_of(value, head):
    """What a function with an HTTP trigger gave, as its answer."""
    if value is None:
        return http_reply(204, [], b"")
    if isinstance(value, str):
        return http_reply(200, [("Content-Type", "text/plain; charset=utf-8")], value.encode(), head)
    if not hasattr(value, "get_body"):
        raise TypeError(f"a function with an HTTP trigger returned {type(value).__name__}: an HttpResponse or a str is wanted")
    headers = list(value.headers.items())
    if not any(name.lower() == "content-type" for name, _ in headers):
        text = value.mimetype.startswith("text/")
        headers.append(("Content-Type", f"{value.mimetype}; charset={value.charset}" if text else value.mimetype))
    return http_reply(value.status_code, headers, value.get_body() or b"", head)


def joined(pairs):
    """Of a name that comes twice, both values, as the .NET host joins them."""
    all_ = {}
    for name, value in pairs:
        all_[name] = f"{all_[name]},{value}" if name in all_ else value
    return all_


class Server:
    def __init__(self):
        self.functions, self.failed = load()
        self.pool = concurrent.futures.ThreadPoolExecutor(int(os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT") or 64))

    async def connected(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ", 2)
                headers = joined((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:-2]))
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                writer.write(await self.answer(method, target, headers, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, method, target, headers, body):
        function = self.functions.get(headers.pop("mayfly-azure-function", None))
        if not function:
            if self.failed:
                return http_reply(500, [("Content-Type", "text/plain")], self.failed.encode())
            return json_reply(200, [each.described() for each in self.functions.values()])
        by_hand, wanted = headers.pop("mayfly-azure-by-hand", None), headers.pop("mayfly-azure-outputs", None)
        parameters = dict(parse_qsl(headers.pop("mayfly-azure-parameters", ""), keep_blank_values=True))
        inputs, body = given_in_front(headers.pop("mayfly-azure-inputs", ""), body)
        method = headers.pop("mayfly-azure-method", method)
        call_id = headers.get("x-request-id") or str(uuid.uuid4())
        try:
            if function.is_http:
                path, _, query = target.partition("?")
                url = f"{headers.get('x-forwarded-proto', 'http')}://{headers.get('host', 'localhost')}{target}"
                given = function.azure.HttpRequest(method=method, url=url, headers=headers, route_params=parameters, body=body,
                                                   params=joined(parse_qsl(query, keep_blank_values=True)))
            else:
                given = function.input(json.loads(body) if body else {}, inputs.pop(function.trigger["name"], None))
            returned, outputs = await function.run(given, inputs, call_id, headers, self.pool)
            answer = self.told(function, returned, outputs) if by_hand else answer_of(returned, method == "HEAD")
            if wanted:
                return put_in_front(outputs, answer)
            for name, datum in ({} if by_hand else outputs).items():
                value = data_of(datum)
                text = value if isinstance(value, str) else json.dumps(value)
                print(f"output {name} ({function.outputs[name]['type']}): {text[:LOG_MAX]}", flush=True)
            return answer
        except Exception as error:
            logging.getLogger("azure.functions").exception("the function %s raised %s", function.name, type(error).__name__)
            if by_hand:
                return json_reply(500, {"errorType": type(error).__name__, "errorMessage": str(error)})
            return http_reply(500, [], b"")

    @staticmethod
    def told(function, returned, outputs):
        """The answer to a call by hand."""
        values = {name: data_of(datum) for name, datum in outputs.items()}
        if "$return" in function.outputs or not isinstance(returned, (str, int, float, bool, list, dict)):
            returned = values.pop("$return", None)
        return json_reply(202, {"Outputs": values, "ReturnValue": returned})

    async def serve(self):
        server = await asyncio.start_server(self.connected, "127.0.0.1", int(os.environ["PORT"]), limit=HEAD_MAX)
        async with server:
            await server.serve_forever()


TASK = os.environ["AzureWebJobsScriptRoot"]
sys.path[0:0] = [TASK, TASK + "/.python_packages/lib/site-packages"]
logging.basicConfig(level=logging.INFO, format="[%(levelname)s] %(message)s")
asyncio.run(Server().serve())
