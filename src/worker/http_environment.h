// The environment of a program that serves HTTP: Knative's runtime contract, with what Azure calls its port. Nothing is inherited; the
// contract's names are its own, the rest is the user's to overrule.
#pragma once
#include <string>
#include <vector>

#include "domain/code_order.h"

namespace mayfly::worker {

// "NAME=value", each name once.
[[nodiscard]] std::vector<std::string> http_environment(const domain::CodeOrder& order, int port);

}  // namespace mayfly::worker
