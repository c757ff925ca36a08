// Programs on bare sockets, which do what no published client would.
#include "worker/test_code_host.h"

namespace mayfly::worker {
namespace {

// Clients that keep to nothing, on bare sockets.
const char* const kBareClient = R"(
import os, socket, sys
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
def ask(method, path, body=b"", head=b"", to=None):
    s = to or socket.create_connection((host, int(port)))
    length = b"" if b"ransfer" in head else b"Content-Length: %d\r\n" % len(body)
    s.sendall(b"%s /2018-06-01/runtime/%s HTTP/1.1\r\nHost: a\r\n%s%s\r\n%s" % (method, path, length, head, body))
    return s
def read(s):
    f = s.makefile("rb")
    status, length, head = int(f.readline().split()[1]), 0, {}
    while (line := f.readline().strip()):
        name, _, value = line.partition(b": ")
        head[name.lower()] = value
    return status, head, f.read(int(head[b"content-length"]))
)";

domain::CodeOrder bare(const std::string& script) { return {.arguments = {python(), "-c", kBareClient + script}}; }

TEST(CodeClients, TheFirstAnswerCountsAndSomebodyElsesIsRefused) {
  SKIP_WITHOUT_PYTHON();
  Host host("", bare(R"(
status, head, event = read(ask(b"GET", b"invocation/next"))
id = head[b"lambda-runtime-aws-request-id"]
told = [read(ask(b"POST", b"invocation/" + i + b"/response", b"[%d]" % n))[0] for n, i in enumerate([b"other", id, id])]
told.append(read(ask(b"POST", b"invocation/" + id + b"/error", b"{}"))[0])
status, head, event = read(ask(b"GET", b"invocation/next"))
id = head[b"lambda-runtime-aws-request-id"]
read(ask(b"POST", b"invocation/" + id + b"/response", repr(told).encode()))
read(ask(b"GET", b"invocation/next"))
)"));
  ASSERT_TRUE(host.becomes_ready());
  EXPECT_EQ(host.call({.ticket = 1, .body = "1"}).body, "[1]");
  EXPECT_EQ(host.call({.ticket = 2, .body = "2"}).body, "[400, 202, 403, 403]");
}

TEST(CodeClients, ConnectionsMayBeManyOrOneAndBodiesComeInAnyForm) {
  SKIP_WITHOUT_PYTHON();
  Host host("", bare(R"(
idle = [socket.create_connection((host, int(port))) for _ in range(5)]
dead = ask(b"GET", b"invocation/next"); dead.close()
one = socket.create_connection((host, int(port)))
read(ask(b"GET", b"nothing", to=one)) # by its answer the host has seen the dead one leave
open('go', 'w').close()
id = lambda: read(ask(b"GET", b"invocation/next", to=one))[1][b"lambda-runtime-aws-request-id"]
answer = lambda body, head=b"": read(ask(b"POST", b"invocation/" + id() + b"/response", body, head, one))
answer(b"2\r\n[1\r\n1;x=y\r\n]\r\n0\r\nA: b\r\n\r\n", b"Transfer-Encoding: chunked\r\n")
streaming = b"Transfer-Encoding: chunked\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n"
big = ask(b"POST", b"invocation/" + id() + b"/response", b"", streaming, one)
for _ in range(100): big.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
big.sendall(b"0\r\n\r\n")
read(big)
for s in range(2): # both at once: the next is asked for before the answer is read
    one.sendall(b"POST /2018-06-01/runtime/invocation/" + id() + b"/response HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n7")
    read(one)
bad = socket.create_connection((host, int(port))); bad.sendall(b"nonsense\r\n\r\n"); bad.recv(1000)
answer(b"8")
id()
)"));
  ASSERT_TRUE(host.becomes_ready());
  while (!std::filesystem::exists(host.folder().path("go"))) ::usleep(10'000);
  EXPECT_EQ(host.call({.ticket = 1, .body = "1"}).body, "[1]");
  EXPECT_EQ(host.call({.ticket = 2, .body = "1"}).body, std::string(102400, 'x'));
  for (const char* body : {"7", "7", "8"}) EXPECT_EQ(host.call({.ticket = 3, .body = "1"}).body, body);
}

TEST(CodeClients, AnAnswerThatIsSentWithTheLastBreathCounts) {
  SKIP_WITHOUT_PYTHON();
  Host host("", bare(R"(
id = read(ask(b"GET", b"invocation/next"))[1][b"lambda-runtime-aws-request-id"]
ask(b"POST", b"invocation/" + id + b"/response", b"[1]")
os._exit(0)
)"));
  ASSERT_TRUE(host.becomes_ready());
  const TestReply reply = host.call({.ticket = 1, .body = "1"});
  EXPECT_EQ(reply.head.code, 0) << reply.body;
  EXPECT_EQ(reply.body, "[1]");
  EXPECT_EQ(host.end(), End::code_ended);
}

TEST(CodeClients, AProgramThatNeverAsksIsNeverReady) {
  SKIP_WITHOUT_PYTHON();
  Host host("", bare("open('here', 'w').close()\nimport time\ntime.sleep(1000)\n"));
  while (!std::filesystem::exists(host.folder().path("here"))) ::usleep(10'000);
  EXPECT_FALSE(host.told_of_start(200ms));
  EXPECT_EQ(host.stop(), End::stopped);
}

}  // namespace
}  // namespace mayfly::worker
