// A request as the frames have it, HTTP/1.1's head and the body behind it, as HTTP/2's fields (RFC 9113, 8.3.1). What is for one
// connection alone is left out. The node wrote it (gateway/forward.h).
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace mayfly::worker {

struct H2Request {
  std::vector<std::pair<std::string, std::string_view>> headers;  // those with ':' first, names in lower case
  std::string_view body;
};

[[nodiscard]] Result<H2Request> read_h2_request(std::string_view bytes);

}  // namespace mayfly::worker
