// Bytes as an answer, fed in pieces that the bytes themselves choose: whole and in pieces must agree.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/http_reader.h"
#include "base/assert.h"

namespace {

struct Seen {
  std::string body;
  int status = 0;
  bool done = false, failed = false;
};

Seen read(std::string_view bytes, std::size_t piece) {
  mayfly::HttpReader reader;
  reader.begin();
  Seen seen;
  for (std::size_t at = 0; at < bytes.size() && !reader.done();) {
    const auto fed = reader.feed(bytes.substr(at, piece), [&](std::string_view part) { seen.body += part; });
    if (!fed) {
      seen.failed = true;
      break;
    }
    ASSERT(*fed > 0 || reader.done(), "the reader stands still");
    at += *fed;
  }
  seen.done = reader.done();
  seen.status = reader.status();
  return seen;
}

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {"5HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                                           "1HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                                           "9HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 204 No Content\r\n\r\n",
                                           "2HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nuntil the close", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Seen whole = read(bytes, bytes.size() + 1), pieces = read(bytes, 1 + data[0] % 17);
  ASSERT(whole.failed == pieces.failed && whole.done == pieces.done, "pieces change the outcome");
  if (!whole.failed) ASSERT(whole.body == pieces.body && whole.status == pieces.status, "pieces change the answer");
  return 0;
}
