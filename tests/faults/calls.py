"""Calls whose input makes a model loop or allocate: an error for their caller alone, and a new instance. Time limits by their phase."""
import ctypes
import os
from pathlib import Path

from node import command_line, descendants
from world import MODELS, Call, Raw, burning, check, until

HOLD = {"x": [1]}   # `loops` runs until it is stopped
PASS = {"x": [0]}   # … or ends at once


def test_a_call_that_loops(world):
    world.deploy(world.write("loops", "resources: {timeout: 4s}\nscaling: {max: 1, concurrency: 1}", MODELS / "loops.onnx"))
    check(Call(world.node, "loops", PASS).answer().status == 200, "it answers what it can")
    before = world.instances("loops")
    held = Call(world.node, "loops", HOLD)
    until(lambda: any(p["in_flight"] for p in world.instances("loops").values()), "the call runs")
    world.answers("while it loops, another function")
    late = Call(world.node, "loops", PASS, {"X-Mayfly-Timeout": "500ms"}).answer()
    check(late.status == 504 and "no instance took the call within its time limit of 500 ms" in late.json["error"]["message"],
          f"time over in the queue: {late.json['error']['message']}", late)
    reply = held.answer()
    check(reply.status == 504 and "no answer within the time limit of 4000 ms (resources.timeout" in reply.json["error"]["message"],
          f"time over in the run: {reply.json['error']['message']}", reply)
    check(Call(world.node, "loops", PASS).answer().status == 200, "the next call is answered")
    check(set(before) == set(world.instances("loops")), "by the same instance: the run was stopped, not the process")
    world.log('"loops"', "deadline_exceeded", "resources.timeout")
    world.answers()


def test_a_call_that_allocates(world):
    world.deploy(world.write("allocates", "resources: {memory: 192MiB}\nscaling: {max: 1}", MODELS / "allocates.onnx"))
    check(Call(world.node, "allocates", {"size": [3]}).answer().json == {"y": [1, 1, 1]}, "it answers what it can")
    reply = Call(world.node, "allocates", {"size": [150_000_000]}).answer()
    message = reply.json["error"]["message"]
    check(reply.status == 429 and "memory limit of 201 MB (resources.memory)" in message, f"600 MB in 192 MiB: {message}", reply)
    reply = Call(world.node, "allocates", {"size": [10**13]}).answer()
    message = reply.json["error"]["message"]
    if world.sanitized:  # whose allocator ends the process at such a size
        check(reply.status == 503 and "the instance that ran this call ended" in message, f"40 TB, sanitized: {message}", reply)
    else:
        check(reply.status == 429 and "resources.memory" in message, f"40 TB: {message}", reply)
    reply = Call(world.node, "allocates", {"size": [2]}).answer()
    check(reply.status == 200 and reply.json == {"y": [1, 1]}, "the next call is answered", reply)
    # The engine's arena must not have grown its step to what it could not have: this one makes it grow.
    reply = Call(world.node, "allocates", {"size": [800_000]}).answer()
    check(reply.status == 200 and len(reply.json["y"]) == 800_000, "and one for 3.2 MB", reply)
    world.log('"allocates"', "the instance ended", "memory limit")
    world.answers()


def test_a_client_that_leaves(world):
    """One waits behind a call that loops, one runs it; both leave, and nobody works for them any more."""
    world.deploy(world.write("left", "resources: {timeout: 10m}\nscaling: {max: 1, concurrency: 1}", MODELS / "loops.onnx"))
    Call(world.node, "left", PASS).answer()
    before = world.instances("left")
    head = "POST /functions/left HTTP/1.1\r\nHost: a\r\nX-Request-Id: {}\r\nContent-Length: 10\r\n\r\n"
    runs = Raw(world.node, (head.format("runs") + '{"x": [1]}').encode())
    until(lambda: burning(world.node), "the call runs, and does not just wait in its instance")
    waits = Raw(world.node, (head.format("waits") + '{"x": [0]}').encode())
    until(lambda: world.metric("mayfly_invocations_in_flight") >= 2, "one runs, one waits")
    sends = Raw(world.node, head.format("sends").encode() + b'{"x"')
    for client in (waits, runs, sends):
        client.close()
    def cancelled():
        lines = world.node.send("GET", "/api/functions/left/logs?count=100").body.decode().splitlines()
        return sum('"cancelled"' in line and "the client left before its answer" in line for line in lines)
    until(lambda: cancelled() == 2, "both are in the log as cancelled")
    check(True, "the log has the one that waited and the one that ran as cancelled")
    until(lambda: world.metric("mayfly_invocations_in_flight") == 0, "nothing is in flight, long before the call's deadline")
    check(Call(world.node, "left", PASS).answer().status == 200, "the next call is answered")
    check(set(before) == set(world.instances("left")), "by the instance that worked for the client that left")
    uploads = os.path.join(world.node.data, "uploads")
    upload = Raw(world.node, b"PUT /api/artifacts HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + bytes(100_000))
    until(lambda: os.listdir(uploads), "half an upload is on the disk")
    upload.close()
    until(lambda: not os.listdir(uploads), "it is removed")
    check(True, "half an upload of a client that left is removed")
    world.answers()


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags "
                                                        "rsp ss fs_base gs_base ds es fs gs").split()]


def make_call(pid, number):
    """Lets a process that sleeps in a system call make another one instead, as code in a hostile model would."""
    attach, detach, get, put = 16, 17, 12, 13
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    check(libc.ptrace(attach, pid, None, None) == 0, "the test may stop an instance", os.strerror(ctypes.get_errno()))
    os.waitpid(pid, 0x40000000)  # __WALL
    registers = Registers()
    libc.ptrace(get, pid, None, ctypes.byref(registers))
    registers.rip -= 2  # at the `syscall` that it is in
    registers.rax, registers.orig_rax = number, 2**64 - 1
    libc.ptrace(put, pid, None, ctypes.byref(registers))
    libc.ptrace(detach, pid, None, None)


def test_an_escape_attempt_is_in_the_log(world):
    """tests/security tries them all; this follows one from an instance to `mayfly logs`."""
    world.deploy(world.write("escapes", "scaling: {max: 1}", MODELS / "add.onnx"))
    Call(world.node, "escapes", {"x": [[1, 2, 3]]}).answer()
    until(lambda: world.instances("escapes", "template"), "its template is there")
    socket_call, ppoll = 41, "271"  # of x86-64
    for pid, _ in descendants(world.node.process.pid):
        # Blank sandboxes and templates sleep in recvmsg, an instance in ppoll: of these, the new one.
        try:
            sleeps_in = Path(f"/proc/{pid}/syscall").read_text().split()[0]
        except OSError:
            continue  # it ended
        if sleeps_in == ppoll and " zygote " in command_line(pid):
            make_call(pid, socket_call)
    line = "denied: the sandboxed process tried socket"
    until(lambda: line in world.run("logs", "escapes", "--count", "1000").stdout, "it is in the log")
    check(True, f"`mayfly logs escapes` says: {line}")
    check(Call(world.node, "escapes", {"x": [[1, 2, 3]]}).answer().status == 200, "the instance itself goes on")
    world.answers()
