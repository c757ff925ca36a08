// A program that answers any bytes as HTTP/2, and closes or not: each request has one outcome, or none once it is dropped.
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "worker/h2_forward.h"
#include "worker/test_http_server.h"

namespace {

using namespace mayfly;
using namespace mayfly::worker;
using namespace std::chrono_literals;

constexpr std::string_view kRequests[] = {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
                                          "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"};

// The driver's seeds are texts, which end at a zero: '~' stands for one here, and is nothing that frames need.
std::string bytes_of(std::string_view text) {
  std::string bytes(text);
  for (char& c : bytes) c = c == '~' ? '\0' : c;
  return bytes;
}

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
  // SETTINGS; HEADERS with ":status: 200" of stream 1, with and without its end; DATA; RST_STREAM; GOAWAY; PING.
  static constexpr const char* kSeeds[] = {
      "0~~~\x04~~~~~", "0~~~\x04~~~~~" "~~\x01\x01\x05~~~\x01\x88", "1~~~\x04~~~~~" "~~\x01\x01\x04~~~\x01\x88" "~~\x02~\x01~~~\x01hi",
      "4~~~\x04~~~~~" "~~\x04\x03~~~~\x01~~~\x07", "5~~~\x04~~~~~" "~~\x08\x07~~~~~~~~~~~~~", "0~~~\x04~~~~~" "~~\x08\x06~~~~~~~~~~~~~",
      "0~~~\x04~~~~~" "~~\x04\x01\x04~~~\x01\x88\x5c\x01" "5" "~~\x02~\x01~~~\x01hi", "1HTTP/1.1 200 OK\r\n\r\n", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const int choice = data[0];
  const bool close = choice & 1;
  const std::string bytes = bytes_of({reinterpret_cast<const char*>(data) + 1, size - 1});
  os::Loop loop = os::Loop::create().value();
  TestHttpServer server(loop, [&](std::size_t, std::string_view) { return TestHttpServer::Answer{bytes, close || bytes.empty()}; });
  H2Forward forward(loop, server.address(), 4096);
  int outcomes[3] = {};
  for (std::uint64_t ticket = 0; ticket < 3; ++ticket) {  // two are streams of one connection, the third finds what they left
    forward.send(ticket + 1, kRequests[(static_cast<std::size_t>(choice) / 2 + ticket) % 3], [&, ticket](Result<Forward::Answer> answer) {
      ++outcomes[ticket];
      ASSERT(!answer || answer->body.size() <= 4096, "an answer has a limit");
      ASSERT(!answer || answer->head.size() <= 65 * 1024, "and its head");
      ASSERT(!answer || answer->head.starts_with("HTTP/1.1 "), "which begins with a status line");
    });
    for (int turns = 0; ticket > 0 && outcomes[ticket] == 0 && turns < 12; ++turns) loop.turn(turns < 10 ? Duration(0) : Duration(100us));
  }
  for (std::uint64_t ticket = 0; ticket < 3; ++ticket) {
    const int before = outcomes[ticket];
    forward.drop(ticket + 1);
    loop.turn(Duration(0));
    ASSERT(outcomes[ticket] == before && before <= 1, "one outcome, and none after a drop");
  }
  return 0;
}
