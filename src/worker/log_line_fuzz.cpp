// Lines that a program printed, as worker/log_line.h reads them: whatever they are, they end in facts that can be written down.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "domain/printed.h"
#include "worker/log_line.h"

extern "C" const char* const* mayfly_fuzz_seeds() {
  static const char* const kSeeds[] = {
      R"({"timestamp":"2026-11-24T05:46:03.120Z","level":"WARN","requestId":"00112233-4455-6677-8899-aabbccddeeff"})",
      R"({"severity":"CRITICAL","time":1795499163120})", "[ERROR]\t2026-11-24T05:46:03.120Z\tid\twords",
      "2026-11-24T05:46:03.120Z\t00112233-4455-6677-8899-aabbccddeeff\tERROR\twords", "WARNING:root:words",
      "\x1e" "16000000000000000000000000000000000000000000000000000000000words", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly;
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  const worker::LineFacts facts = worker::read_line(line);
  std::string record;
  domain::append_printed(record, {.text = line, .stream = domain::Stream::out, .level = facts.level, .request_high = facts.request_high,
                                  .request_low = facts.request_low, .time = facts.time, .pid = 1});
  ASSERT(record.size() <= domain::kPrintedMax && record.find('\n') == record.size() - 1, "a record is one line");
  const domain::Printed read = domain::read_printed(std::string_view(record).substr(0, record.size() - 1));
  ASSERT(read.level == facts.level && read.request_high == facts.request_high && read.time == facts.time, "it is read as it was written");
  static_cast<void>(domain::read_printed(line));
  return 0;
}
