// The head of an answer, as a sandbox wrote it: lines that can be sent to a caller as they are, or an error.
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "base/http.h"
#include "gateway/forward.h"

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close, X-A\r\nX-A: 1\r\n"
                                           "Set-Cookie: a=1\r\n\r\n",
                                           "HTTP/1.0 204 No Content\r\nDate: now\r\nTransfer-Encoding: chunked\r\nX-B:\t2 \r\n\r\n",
                                           nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto head = mayfly::gateway::read_answer_head({reinterpret_cast<const char*>(data), size});
  if (!head) return 0;
  ASSERT(head->status >= 200 && head->status <= 599, "a status is a status");
  for (std::string_view rest = head->lines; !rest.empty();) {
    const std::size_t end = rest.find("\r\n");
    ASSERT(end != rest.npos, "each line ends");
    const std::string_view line = rest.substr(0, end);
    const std::size_t colon = line.find(": ");
    ASSERT(colon != line.npos && colon > 0, "a line is a header");
    ASSERT(line.find_first_of("\r\n") == line.npos && line.find('\0') == line.npos, "a header is a line");
    for (const char* never : {"content-length", "transfer-encoding", "connection", "date"})
      ASSERT(!mayfly::same_word(line.substr(0, colon), never), "this server says that itself");
    rest.remove_prefix(end + 2);
  }
  return 0;
}
