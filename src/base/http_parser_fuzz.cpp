// Any bytes: the verdict is the same whole or in pieces, views stay inside the input, and what was read as
// complete holds what the parser promises of framing.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "base/http_parser.h"

using namespace mayfly;

namespace {

bool inside(std::string_view part, std::string_view whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size()) || part == "/";
}

HeadVerdict read_in_pieces(std::string_view bytes, std::size_t step) {
  std::array<HttpHeader, kHeadersMax> storage;
  HttpRequestHead head;
  std::size_t scanned = 0;
  for (std::size_t size = std::min(step, bytes.size());; size = std::min(size + step, bytes.size())) {
    if (head_is_decided(bytes.substr(0, size), scanned) || size == bytes.size()) {
      const HeadVerdict verdict = parse_head(bytes.substr(0, size), storage, head);
      if (verdict.kind != HeadVerdict::incomplete || size == bytes.size()) return verdict;
    }
  }
}

void check_chunks(std::string_view bytes, std::size_t step) {
  ChunkDecoder whole, pieces;
  std::string body, same;
  bool ended = false, ended_too = false;
  for (std::size_t used = 0; !ended;) {
    const auto out = whole.next(bytes.substr(used));
    used += out.used;
    body += out.data;
    ended = out.step != ChunkDecoder::Step::data;
  }
  for (std::size_t used = 0, given = std::min(step, bytes.size()); !ended_too;) {
    const auto out = pieces.next(bytes.substr(used, given - used));
    used += out.used;
    same += out.data;
    if (out.step == ChunkDecoder::Step::data) continue;
    if (out.step == ChunkDecoder::Step::more && given < bytes.size()) given = std::min(given + step, bytes.size());
    else ended_too = true;
  }
  ASSERT(body == same, "a chunked body depends on how it was split");
}

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
  static const char* const kSeeds[] = {
      "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
          "POST /v2/models/a/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
      "POST http://b/x?y HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", "5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n",
          "a\r\n0123456789\r\n0\r\n\r\n", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::array<HttpHeader, kHeadersMax> storage;
  HttpRequestHead head;
  const HeadVerdict verdict = parse_head(bytes, storage, head);
  if (verdict.kind == HeadVerdict::complete) {
    ASSERT(verdict.used <= bytes.size() && verdict.used <= kHeadMax, "more was used than was there");
    ASSERT(bytes.substr(0, verdict.used).ends_with("\r\n\r\n"), "a head that does not end with an empty line");
    ASSERT(inside(head.path, bytes) && inside(head.query, bytes), "a view outside the input");
    ASSERT(!(head.chunked && head.length > 0), "two lengths");
    for (const HttpHeader& header : head.headers) ASSERT(inside(header.name, bytes) && inside(header.value, bytes),
        "a view outside the input");
  }
  for (const std::size_t step : {std::size_t{1}, std::size_t{7}}) {
    const HeadVerdict again = read_in_pieces(bytes, step);
    ASSERT((again.kind == HeadVerdict::complete) == (verdict.kind == HeadVerdict::complete),
        "the verdict depends on how the head was split");
    ASSERT(again.kind != HeadVerdict::complete || again.used == verdict.used, "the length depends on how the head was split");
    check_chunks(bytes, step);
  }
  return 0;
}
