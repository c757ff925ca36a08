"""What the tests of code ask a function to do, by the event's `do`."""
import errno
import os
import signal
import socket
import time


def visible(path):
    try:
        return sorted(os.listdir(path)) if os.path.isdir(path) else open(path, "rb").read(20).decode(errors="replace")
    except OSError as error:
        return type(error).__name__


def connect(host, port):
    try:
        with socket.create_connection((host, port), timeout=5):
            return "connected"
    except OSError as error:
        return f"{type(error).__name__} {error.errno}"


def write(path):
    try:
        with open(path, "w") as file:
            file.write("x")
        return "written"
    except OSError as error:
        return type(error).__name__


def processes():
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def fork_without_end():
    """As many as it may have, and children that do the same."""
    while True:
        try:
            os.fork()
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            time.sleep(0.05)


def fill_tmp():
    """Until nothing more fits: how much did, and why no more."""
    written = 0
    try:
        with open("/tmp/full", "wb", buffering=0) as file:
            while True:
                written += file.write(b"x" * (1 << 20))
    except OSError as error:
        return [written, errno.errorcode[error.errno]]
    finally:
        os.unlink("/tmp/full")


def handler(event, context):
    do = event.get("do")
    if do == "fork without end":
        fork_without_end()
    if do == "fill /tmp":
        return fill_tmp()
    if do == "ignore":
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)
        while True:
            time.sleep(1)
    if do == "raise":
        raise ValueError("no such thing")
    if do == "exit":
        os._exit(3)
    if do == "sleep":
        time.sleep(event["seconds"])
    if do == "visible":
        return {path: visible(path) for path in event["paths"]}
    if do == "connect":
        return connect(event["host"], event["port"])
    if do == "write":
        return {path: write(path) for path in event["paths"]}
    if do == "fill":
        return len("x" * event["bytes"])
    if do == "processes":
        return processes()
    if do == "size":
        return {"in": len(event["text"]), "out": "y" * event["out"]}
    if do == "print":
        print("x" * event["bytes"])
    if do == "left":
        return context.get_remaining_time_in_millis()
    return {"uid": os.getuid(), "pid": os.getpid()}
