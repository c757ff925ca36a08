// Numbers and strings of a JSON list, nested or flat, into dense memory of one datatype. The inner loop
// of decoding; used by worker/codec.cpp alone.
#pragma once
#include <simdjson.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "worker/codec.h"

namespace mayfly::worker {

constexpr std::size_t kNestingMax = 32;

// One input's memory, and the shape as the brackets tell it.
struct ListReader {
  domain::Datatype datatype{};
  const std::string& what;                       // "input 'x'", for messages
  std::vector<std::byte>& data;
  std::vector<std::string_view>& strings;
  std::vector<std::unique_ptr<char[]>>& text;
  std::vector<std::int64_t> shape;               // of the nesting; each level's lists must be equally long
  bool ragged_allowed = false;                   // V2: the shape is stated, brackets mean nothing

  // `reserve`: elements that are likely to come.
  [[nodiscard]] Result<void> read(simdjson::ondemand::value value, std::size_t reserve);
  [[nodiscard]] Result<void> read(simdjson::ondemand::document& document, std::size_t reserve);
};

// A copy that outlives the parser's next document.
[[nodiscard]] std::string_view keep_text(std::string_view text, std::vector<std::unique_ptr<char[]>>& in);

}  // namespace mayfly::worker
