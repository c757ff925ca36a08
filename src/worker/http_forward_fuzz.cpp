// A program that answers any bytes, and closes or not: each request has one outcome, or none once it is dropped.
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "base/assert.h"
#include "worker/http_forward.h"
#include "worker/test_http_server.h"

namespace {

using namespace mayfly;
using namespace mayfly::worker;
using namespace std::chrono_literals;

constexpr std::string_view kRequests[] = {"GET / HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.1\r\n\r\n",
                                          "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"};

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {"0HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "3HTTP/1.1 200 OK\r\n\r\nuntil the close",
                                           "4HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
                                           "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
                                           "5HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const int choice = data[0];
  const bool close = choice & 1;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  os::Loop loop = os::Loop::create().value();
  TestHttpServer server(loop, [&](std::size_t, std::string_view) { return TestHttpServer::Answer{bytes, close || bytes.empty()}; });
  HttpForward forward(loop, server.address(), 4096);
  int outcomes[2] = {};
  for (std::uint64_t ticket = 0; ticket < 2; ++ticket) {  // the second finds what the first left
    forward.send(ticket + 1, kRequests[(choice >> 1) % 3], [&, ticket](Result<HttpForward::Answer> answer) {
      ++outcomes[ticket];
      ASSERT(!answer || answer->body.size() <= 4096 + 64 * 1024, "an answer has a limit");
    });
    // What neither ends nor closes is waited for in vain.
    for (int turns = 0; outcomes[ticket] == 0 && turns < 12; ++turns) loop.turn(turns < 10 ? Duration(0) : Duration(100us));
    ASSERT(!close || outcomes[ticket] > 0, "who closes has an outcome");
    const int before = outcomes[ticket];
    forward.drop(ticket + 1);
    loop.turn(Duration(0));
    ASSERT(outcomes[ticket] == before && before <= 1, "one outcome, and none after a drop");
  }
  return 0;
}
