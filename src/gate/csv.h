// Reads comma-separated values (RFC 4180): a line of names, then a line a sample; quotes as the RFC has them, LF or CRLF. Any bytes may
// come. A column whose every cell is a number is numbers, any other is texts; blanks around a cell that is not quoted do not count.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gate/array.h"

namespace mayfly::gate {

// A column each, of shape [lines]: FP64 or texts. Error invalid_argument names the line: too few cells, a quote without end, no line.
[[nodiscard]] Result<std::vector<Array>> parse_csv(std::string_view text, const std::string& name);

}  // namespace mayfly::gate
