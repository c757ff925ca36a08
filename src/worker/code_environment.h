// The environment that AWS Lambda gives a program, as far as this platform has it. Names that Lambda reserves are its own; the
// rest is the user's to overrule. Nothing is inherited.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "domain/code_order.h"

namespace mayfly::worker {

// "NAME=value", each name once. `api` is where the Runtime API listens: "127.0.0.1:9001". `stream` tells one instance's log from another's.
[[nodiscard]] std::vector<std::string> code_environment(const domain::CodeOrder& order, std::string_view api, std::string_view stream);

}  // namespace mayfly::worker
