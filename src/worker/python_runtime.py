"""Runs one handler of an AWS Lambda package for Python on the Runtime API. Standard library only; embedded into mayfly, started
as `python3 -c`. What it answers and the names of its errors are those of AWS's own client, awslambdaric."""
import sys

sys.path.pop(0)  # "", the package's folder: its json.py must not become ours
import decimal, fcntl, gc, importlib, importlib.machinery, json, os, select, signal, socket, struct, threading, time, traceback, types
import warnings

if sys.argv[1:] == ["template"]:
    import dis

ROOT, OURS = "/2018-06-01/runtime/", "<string>"  # the name that Python has for a program of -c


class Fault(Exception):
    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind, self.trace = kind, list(trace)


class Logs:
    """The handler that Python's logging has at its root there. Put in as the module is imported, so that who doesn't use it doesn't wait."""
    json = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    request_id = ""
    own = frozenset("name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno funcName created msecs "
                    "relativeCreated thread threadName processName process taskName aws_request_id".split())

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(cls)
        spec = importlib.machinery.PathFinder.find_spec(name)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (execute(module), cls.set_up(module))
        return spec

    @classmethod
    def set_up(cls, logging):
        if not hasattr(logging, "Formatter"):
            return  # a module of the package's own, of this name

        class AsThere(logging.Formatter):
            def format(self, record):
                record.levelname = logging.getLevelName(min(50, max(0, record.levelno)) // 10 * 10)  # of levels of one's own: the one below
                return cls.line(self, record)

        class Root(logging.Handler):
            def emit(self, record):
                try:
                    record.aws_request_id = cls.request_id
                    sys.stdout.write(self.format(record) + "\n")
                except Exception:
                    self.handleError(record)

        root, level = Root(), os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
        logging.Formatter.converter = time.gmtime
        root.setFormatter(AsThere(datefmt="%Y-%m-%dT%H:%M:%SZ") if cls.json else logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"))
        logging.getLogger().addHandler(root)
        if cls.json and level:
            logging.getLogger().setLevel({"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL"}.get(level, level))

    @classmethod
    def line(cls, formatter, record):
        message = record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage()
        told = {"timestamp": formatter.formatTime(record, formatter.datefmt), "level": record.levelname, "message": message,
                "logger": record.name}
        if record.exc_info and record.exc_info[0]:
            kind, error, trace = record.exc_info
            told |= {"stackTrace": traceback.format_tb(trace), "errorType": kind.__name__, "errorMessage": str(error),
                     "location": f"{record.pathname}:{record.funcName}:{record.lineno}"}
        told["requestId"] = record.aws_request_id
        told |= {name: value for name, value in vars(record).items() if name not in cls.own and name not in told}
        return json.dumps({name: value for name, value in told.items() if value is not None}, ensure_ascii=False, default=str)


class Context:
    @staticmethod
    def begin():
        """What is the same in all calls, once the environment is this instance's."""
        names = {"function_name": "FUNCTION_NAME", "function_version": "FUNCTION_VERSION", "memory_limit_in_mb": "FUNCTION_MEMORY_SIZE",
                 "log_group_name": "LOG_GROUP_NAME", "log_stream_name": "LOG_STREAM_NAME"}
        Context.same = {name: os.environ.get("AWS_LAMBDA_" + told) for name, told in names.items()} | {"client_context": None}

    def __init__(self, headers):
        self.__dict__.update(Context.same)
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.identity = types.SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])
        if told := headers.get("Lambda-Runtime-Client-Context"):
            told = json.loads(told)
            names = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")
            client = types.SimpleNamespace(**{name: told["client"].get(name) for name in names}) if told.get("client") else None
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
    if Logs.json:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        print(json.dumps({"timestamp": stamp, "level": "ERROR"} | told, ensure_ascii=False, default=str), file=sys.stderr)
        return told
    print(f"[ERROR] {kind}: {error}", *(["Traceback (most recent call last):"] + trace if trace else []), sep="\n", file=sys.stderr)
    return told


encode, decode = json.JSONEncoder(ensure_ascii=False, default=number).encode, json.JSONDecoder().decode


def text_of(value):
    return encode(value).encode("utf-8", "surrogatepass")


class Host:
    """The kept connection to the Runtime API, a socket that this process was given: a third cheaper than loopback. The answers are
    read as its only server writes them: with http.client, made for all servers, a call costs twice as much."""

    def __init__(self, descriptor):
        self.socket, self.rest, self.owed = socket.socket(fileno=descriptor), b"", 0
        self.socket.setblocking(True)
        os.set_inheritable(descriptor, False)

    def more(self):
        piece = self.socket.recv(1 << 16)
        if not piece:
            sys.exit("the Runtime API has ended")
        return piece

    def take(self):
        """Head and body of the next answer."""
        read = self.rest or self.more()
        while (end := read.find(b"\r\n\r\n")) < 0:
            read += self.more()
        head = read[:end].decode("latin-1")
        body = end + 4
        whole = body + int(head[head.index("Content-Length: ") + 16:].split("\r\n", 1)[0])
        if len(read) < whole:
            pieces, missing = [read], whole - len(read)
            while missing > 0:
                pieces.append(self.more())
                missing -= len(pieces[-1])
            read = b"".join(pieces)
        self.rest = read[whole:]
        return head, read[body:whole]

    def post(self, path, body, behind=b""):
        kind = ""
        if isinstance(body, dict):
            kind = "".join(body["errorType"].splitlines())
            kind, body = f"Lambda-Runtime-Function-Error-Type: {kind}\r\n", json.dumps(body).encode()
        sys.stdout.flush()
        head = f"POST {ROOT}{path} HTTP/1.1\r\nHost: runtime\r\nContent-Type: application/json\r\n{kind}Content-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(b"".join((head.encode("latin-1", "replace"), body, behind)))
        self.owed += 1  # that it was accepted

    def next(self):
        while self.owed:
            self.take()
            self.owed -= 1
        return self.take()


def call(handler, said, body):
    """Where to post, and what. `said`: of the call, by the names of the Runtime API's headers."""
    Logs.request_id = request_id = said["Lambda-Runtime-Aws-Request-Id"]
    if trace_id := said.get("Lambda-Runtime-Trace-Id"):
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    try:
        try:
            event = decode(body.decode("utf-8", "surrogatepass"))
        except Exception as error:
            raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}")
        result = handler(event, Context(said))
        try:
            return "response", result if isinstance(result, bytes) else text_of(result)
        except Exception as error:
            raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}")
    except Exception as error:
        return "error", describe(error, request_id)


class Direct:
    """The socket on which small calls come from the node itself, past the host (domain/direct.h has the packets)."""
    start, head, answer = struct.Struct("<QQ"), struct.Struct("<QQ16sII"), struct.Struct("<QII")
    RESPONSE, ERROR, PIECE = range(3)
    piece, error_max = 48 * 1024, 60 * 1024
    FIONREAD, NONE = 0x541b, bytes(4)

    def __init__(self, descriptor):
        self.socket = socket.socket(fileno=descriptor)
        self.socket.setblocking(True)
        os.set_inheritable(descriptor, False)
        self.buffer = bytearray(80 * 1024)
        self.view = memoryview(self.buffer)
        self.outputs = [os.dup(fd) for fd in (1, 2)]
        size = self.socket.recv_into(self.buffer)
        _, self.answer_max = self.start.unpack_from(self.buffer)
        self.arn = self.buffer[self.start.size:size].decode()

    def serve(self, handler):
        """One call. False: there will be no more."""
        size = self.socket.recv_into(self.buffer)
        if not size:
            return False
        ticket, left, request_id, event_size, _ = self.head.unpack_from(self.buffer)
        event_end = self.head.size + event_size
        digits = request_id.hex()
        said = {"Lambda-Runtime-Aws-Request-Id": f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}",
                "Lambda-Runtime-Deadline-Ms": int(time.time() * 1000 + left // 1000000), "Lambda-Runtime-Invoked-Function-Arn": self.arn}
        if size > event_end:
            said.update(line.split(": ", 1) for line in str(self.view[event_end:size], "latin-1").split("\r\n") if line)
        trace = said.get("Lambda-Runtime-Trace-Id", "")
        if "Root=1-" not in trace:
            trace = f"Root=1-{int(time.time()):08x}-{digits[:12]}{digits[20:]}"
        if "Parent=" not in trace:
            trace += ";Parent=" + digits[16:]
        said["Lambda-Runtime-Trace-Id"] = trace if "Sampled=" in trace else trace + ";Sampled=0"
        outcome, value = call(handler, said, self.buffer[self.head.size:event_end])
        kind = self.RESPONSE
        if outcome == "error" or len(value) > self.answer_max:
            kind, value = self.ERROR, self.text_of_error(value)
        sys.stdout.flush()
        self.await_reader()
        rest = value
        while len(rest) > self.piece:
            self.socket.send(self.answer.pack(ticket, self.PIECE, 0) + rest[:self.piece])
            rest = memoryview(rest)[self.piece:]
        self.socket.send(b"".join((self.answer.pack(ticket, kind, 0), rest)))
        return True

    def text_of_error(self, value):
        if isinstance(value, bytes):
            value = {"errorMessage": f"Response payload size exceeded maximum allowed payload size ({self.answer_max} bytes).",
                     "errorType": "Function.ResponseSizeTooLarge"}
        text = json.dumps(value).encode()
        if len(text) > self.error_max:
            short = {name: str(value[name])[:self.error_max // 16] for name in ("errorMessage", "errorType", "requestId") if name in value}
            text = json.dumps(short | {"stackTrace": []}).encode()
        return text

    def await_reader(self):
        """What the call has printed must be with the host before the call is over, or its lines would be the next call's. A host that
        takes more than some hundredths of a second is not waited for."""
        for wait in range(100):
            if all(fcntl.ioctl(output, self.FIONREAD, self.NONE) == self.NONE for output in self.outputs):
                return
            time.sleep(5e-6 * wait)


def tasks():
    return len(os.listdir("/proc/self/task"))


def made_at_import():
    """What would be the same in every fork and must not be; the module's own mayfly_after_fork() may renew it."""
    random, numpy, uuid = (sys.modules.get(name) for name in ("random", "numpy.random", "uuid"))
    kinds = {(random and random.Random): "random.Random", (numpy and numpy.Generator): "numpy.random.Generator",
             (numpy and numpy.RandomState): "numpy.random.RandomState", (uuid and uuid.UUID): "uuid.UUID"}
    renewed = [random and random._inst, numpy and numpy.mtrand._rand]
    for found in gc.get_objects():
        kind = type(found)
        if kind not in kinds or any(found is one for one in renewed) or (uuid and kind is uuid.UUID and found.version != 4):
            continue
        return f"the module holds a {kinds[kind]} made at import, which all forks would share"


def unfit(module):
    """Why this process can't be forked once it has imported everything; None: it can."""
    if not hasattr(os, "pidfd_open"):
        return "this Python is too old: 3.9 or later is wanted"
    if not os.path.exists("/proc/self/task"):
        return "this sandbox has no /proc"
    own = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if own:
        return f"the module started {len(own)} thread{'s' * (len(own) > 1)}: {', '.join(own)[:200]}"
    if tasks() > 1:
        # Libraries that know of forks (OpenBLAS) end their threads before one, and start them again when there is work.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = os.fork()
        if trial == 0:
            os._exit(0)
        os.waitpid(trial, 0)
    if tasks() > 1:
        return f"a library started {tasks() - 1} threads and keeps them"
    if os.path.exists("/proc/self/task/%d/children" % os.getpid()) and open("/proc/self/task/%d/children" % os.getpid()).read().split():
        return "the module started a program"
    for fd in os.listdir("/proc/self/fd"):
        try:
            what = os.readlink("/proc/self/fd/" + fd)
        except OSError:
            continue  # the list's own
        if int(fd) > 3 and not what.startswith(("/dev/", "/proc/")):
            return "the module holds a socket" if what.startswith("socket:") else f"the module holds {what} open"
    return None if hasattr(module, "mayfly_after_fork") else made_at_import()


def named_later(code):
    """Names read one from another, as in numpy.random.random: of this code and of all code in it, the first two of each chain."""
    read = None
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            read = step.argval
        elif step.opname in ("LOAD_ATTR", "LOAD_METHOD") and read:
            yield read, step.argval
            read = None
        elif step.opname != "CACHE":
            read = None
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from named_later(inner)


def load_ahead(module):
    """What the module's functions name of a library that loads it when it is asked for (PEP 562), as numpy does with numpy.random: the
    template has it loaded, or each fork's first call would. Tried in a fork before: what fails there, or makes it unfit, is left."""
    functions = [value for value in vars(module).values() if isinstance(value, types.FunctionType) and value.__module__ == module.__name__]
    lazy = {(vars(module).get(library), name) for function in functions for library, name in named_later(function.__code__)
            if isinstance(vars(module).get(library), types.ModuleType)}
    lazy = [(library, name) for library, name in lazy if hasattr(type(library), "__getattr__") or "__getattr__" in vars(library)
            if name not in vars(library)]
    if not lazy:
        return

    def load():
        for library, name in lazy:
            getattr(library, name, None)

    trial = os.fork()
    if trial == 0:
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1), os.dup2(quiet, 2), os.close(quiet)
            load()
            os._exit(unfit(module) is not None)
        finally:
            os._exit(1)
    if os.waitpid(trial, 0)[1] == 0:
        load()


class Forks:
    """The process that has imported everything, and what it has forked. Its host asks on `link`; of each fork a socket is shared by
    the host of that instance, the fork, until it begins, and this process, which says on it how the fork ended."""

    def __init__(self, link):
        self.link, self.poll, self.by_end, self.by_socket = link, select.poll(), {}, {}
        self.poll.register(link, select.POLLIN)

    def serve(self):
        """Returns in a fork alone, with its socket."""
        while True:
            for fd, _ in self.poll.poll():
                if fd == self.link.fileno():
                    if forked := self.fork():
                        return forked
                elif fd in self.by_end:
                    self.tell_end(fd)
                elif fd in self.by_socket:
                    self.bury(fd)

    def fork(self):
        data, passed, _, _ = self.link.recvmsg(64, socket.CMSG_SPACE(4))
        if not data:
            os._exit(0)  # its host is gone; its forks stay
        shared = socket.socket(fileno=int.from_bytes(passed[0][2], sys.byteorder))
        try:
            pid = os.fork()
        except OSError as error:
            shared.send(str(error).encode())
            return shared.close()
        if pid == 0:
            for _, other, end in self.by_socket.values():
                other.close()
                os.close(end)
            self.link.close()
            return shared
        end = os.pidfd_open(pid)
        self.by_end[end] = self.by_socket[shared.fileno()] = (pid, shared, end)
        self.poll.register(end, select.POLLIN)
        self.poll.register(shared, 0)  # of a hang-up one is always told

    def tell_end(self, end):
        pid, shared, _ = self.by_end.pop(end)
        self.poll.unregister(end)
        how = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        try:
            shared.send(b"%d" % (how.si_status << 8 if how.si_code == os.CLD_EXITED else how.si_status))
        except OSError:
            pass

    def bury(self, fd):
        """Its host has let go of it, or is gone: only now may its number come to mean another."""
        pid, shared, end = self.by_socket.pop(fd)
        self.poll.unregister(shared)
        try:
            os.killpg(pid, signal.SIGKILL)
        except OSError:
            pass
        os.waitpid(pid, 0)
        if self.by_end.pop(end, None):
            self.poll.unregister(end)
        os.close(end)
        shared.close()


def take_over(shared, module):
    """A fork's first steps: nothing before its host says so. Returns its connection to the Runtime API, and the one to the node."""
    os.setpgid(0, 0)
    shared.send(b"here")
    data, passed, _, _ = shared.recvmsg(1 << 17, socket.CMSG_SPACE(16))
    if not data:
        os._exit(0)
    output, errors, *connections = memoryview(passed[0][2]).cast("i")
    for at, printed in enumerate((output, errors), 1):
        os.dup2(printed, at)
        os.close(printed)
    shared.close()
    for entry in data.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        name, _, value = entry.partition("=")
        if os.environ.get(name) != value and name.startswith("AWS_LAMBDA_"):
            os.environ[name] = value
    if numpy := sys.modules.get("numpy.random"):
        numpy.seed()  # random renews itself
    if torch := sys.modules.get("torch"):
        torch.seed()
    if renew := getattr(module, "mayfly_after_fork", None):
        renew()
    return (*connections, None)[:2]


def be_template():
    link = socket.socket(fileno=3)
    os.set_inheritable(3, False)
    try:
        handler = find_handler(os.environ["_HANDLER"])
        module = sys.modules[os.environ["_HANDLER"].rpartition(".")[0].replace("/", ".")]
        if not (why := unfit(module)):
            load_ahead(module)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
    if why:
        link.send(("not forked: " + why).encode()[:4000])
        sys.exit(0)
    sys.stdout.flush()
    gc.collect()
    gc.freeze()  # a look at them all would copy their pages
    link.send(b"ready")
    return *take_over(Forks(link).serve(), module), handler


NEXT = f"GET {ROOT}invocation/next HTTP/1.1\r\nHost: runtime\r\n\r\n".encode()


def await_debugger(port):
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # else it warns of Python's own modules
    try:
        import debugpy
    except ImportError:
        version = "%d.%d" % sys.version_info[:2]
        raise Fault("Runtime.DebuggerMissing", f"Python {version} here has no debugpy: add debugpy to requirements.txt, or run "
                    f"{sys.executable} -m pip install debugpy")
    debugpy.listen(("127.0.0.1", int(port)))


def main(connection=3, direct=None, handler=None):
    host = Host(connection)
    direct = direct and Direct(direct)
    Context.begin()
    try:
        if port := os.environ.get("MAYFLY_DEBUG_PORT"):
            await_debugger(port)
        handler = handler or find_handler(os.environ["_HANDLER"])
    except Exception as error:
        host.post("init/error", describe(error))
        host.take()  # that it was accepted
        sys.exit(1)
    poll = select.poll()
    for each in [host, direct] if direct else []:
        poll.register(each.socket, select.POLLIN)
    host.socket.sendall(NEXT)
    while True:
        if direct and not host.rest:
            ready = [fd for fd, _ in poll.poll()]
            if host.socket.fileno() not in ready:
                if not direct.serve(handler):
                    direct = None
                continue
            if host.owed:  # which may be all that is there
                host.take()
                host.owed -= 1
                continue
        head, body = host.next()
        status, *lines = head.split("\r\n")
        if status != "HTTP/1.1 200 OK":
            sys.exit(f"no call to run: {status} {body.decode()}")
        said = dict([line.split(": ", 1) for line in lines])
        outcome, value = call(handler, said, body)
        # The next call is asked for in the same breath.
        host.post(f"invocation/{said['Lambda-Runtime-Aws-Request-Id']}/{outcome}", value, NEXT)


sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
sys.stdout.reconfigure(line_buffering=True)
sys.meta_path.insert(0, Logs)
if sys.argv[1:] == ["template"]:
    main(*be_template())
else:
    has_direct = sys.argv[1:] == ["direct"]
    del sys.argv[1:]
    main(direct=4 if has_direct else None)
