"""Runs one handler of an AWS Lambda package for Python on the Runtime API. Standard library only; embedded into mayfly, started
as `python3 -c`. What it answers and the names of its errors are those of AWS's own client, awslambdaric."""
import sys

sys.path.pop(0)  # "", the package's folder: its json.py must not become ours
import decimal, http.client, importlib, json, os, time, traceback, types

ROOT, OURS = "/2018-06-01/runtime/", "<string>"  # the name that Python has for a program of -c


class Fault(Exception):
    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind, self.trace = kind, list(trace)


class Context:
    def __init__(self, headers):
        env = os.environ
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = env.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = env.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = env.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = env.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = env.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.client_context = None
        self.identity = types.SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])
        if told := headers.get("Lambda-Runtime-Client-Context"):
            told = json.loads(told)
            client = types.SimpleNamespace(**told["client"]) if told.get("client") else None
            self.client_context = types.SimpleNamespace(client=client, custom=told.get("custom"), env=told.get("env"))

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))


def number(value):
    if isinstance(value, decimal.Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def find_handler(name):
    module, dot, attribute = name.rpartition(".")
    if not dot:
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)")
    if module.split(".")[0] in sys.builtin_module_names:
        raise Fault("Runtime.BuiltInModuleConflict", f"Cannot use built-in module {module} as a handler module")
    try:
        found = importlib.import_module(module.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{module}': {error}")
    except SyntaxError as error:
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise Fault("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module}': {error}", trace)
    try:
        return getattr(found, attribute)
    except AttributeError:
        raise Fault("Runtime.HandlerNotFound", f"Handler '{attribute}' missing on module '{module}'")


def describe(error, request_id=""):
    kind, trace = type(error).__name__, [f for f in traceback.extract_tb(error.__traceback__) if f.filename != OURS]
    trace = traceback.format_list([f for f in trace if "importlib" not in f.filename])
    if isinstance(error, Fault):
        kind, trace = error.kind, error.trace
    told = {"errorMessage": str(error), "errorType": kind, "requestId": request_id, "stackTrace": trace}
    print(f"[ERROR] {kind}: {error}", *(["Traceback (most recent call last):"] + trace if trace else []), sep="\n", file=sys.stderr)
    return told


def text_of(value):
    return json.dumps(value, ensure_ascii=False, default=number).encode("utf-8", "surrogatepass")


def call(handler, headers, body):
    """Where to post, and what."""
    request_id = headers["Lambda-Runtime-Aws-Request-Id"]
    if trace_id := headers.get("Lambda-Runtime-Trace-Id"):
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    try:
        try:
            event = json.loads(body)
        except Exception as error:
            raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}")
        result = handler(event, Context(headers))
        try:
            return "response", result if isinstance(result, bytes) else text_of(result)
        except Exception as error:
            raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}")
    except Exception as error:
        return "error", describe(error, request_id)


def main():
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

    def ask(method, path, body=None):
        headers = {"Content-Type": "application/json"}
        if isinstance(body, dict):
            headers["Lambda-Runtime-Function-Error-Type"] = body["errorType"]
            body = json.dumps(body).encode()
        sys.stdout.flush()
        connection.request(method, ROOT + path, body, headers if method == "POST" else {})
        reply = connection.getresponse()
        text = reply.read()
        if method == "GET" and reply.status != 200:
            sys.exit(f"no call to run: {reply.status} {text.decode()}")
        return reply.headers, text

    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    sys.stdout.reconfigure(line_buffering=True)
    try:
        handler = find_handler(os.environ["_HANDLER"])
    except Exception as error:
        ask("POST", "init/error", describe(error))
        sys.exit(1)
    while True:
        headers, body = ask("GET", "invocation/next")
        outcome, value = call(handler, headers, body)
        ask("POST", f"invocation/{headers['Lambda-Runtime-Aws-Request-Id']}/{outcome}", value)


main()
