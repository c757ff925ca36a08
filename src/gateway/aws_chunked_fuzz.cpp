// A body in aws-chunked may be any bytes in any pieces: what comes out does not depend on the pieces, and is never more than went in. And
// the little XML that clients send.
#include <cstdint>

#include "base/assert.h"
#include "gateway/aws_chunked.h"
#include "gateway/xml.h"

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {
      "5;chunk-signature=ab\r\n12345\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n", "0\r\n\r\n", "1\r\na\r\n", "ffffffffffffffffff\r\n",
      "<A><Part><PartNumber>1</PartNumber></Part><Key>&lt;&bad;</Key></A>",          nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly::gateway;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  AwsChunked whole, pieces;
  std::string one, other;
  bool good = whole.take(bytes, one).has_value(), also_good = true;
  for (std::size_t i = 0; i < size && also_good; ++i) also_good = pieces.take(bytes.substr(i, 1), other).has_value();
  ASSERT(good == also_good && (!good || one == other) && whole.complete() == pieces.complete(), "pieces make no difference");
  ASSERT(one.size() <= size, "a body does not grow");
  for (const std::string& text : xml::texts(bytes, "Key")) ASSERT(text.size() <= size, "a text does not grow");
  ASSERT(xml::escaped(bytes).find('<') == std::string::npos, "nothing opens an element");
  return 0;
}
