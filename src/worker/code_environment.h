// What a function's program finds in its environment, by the contract that it was written for. The contract's names are its own; the
// rest is the user's to overrule. Nothing is inherited.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/code_order.h"

namespace mayfly::worker {

// "NAME=value", each name once. What AWS Lambda gives a program, as far as this platform has it. `api` is where the Runtime API
// listens: "127.0.0.1:9001". `stream` tells one instance's log from another's.
[[nodiscard]] std::vector<std::string> code_environment(const domain::CodeOrder& order, std::string_view api, std::string_view stream);
// Of an extension beside such a program: the same without what is the runtime's own.
[[nodiscard]] std::vector<std::string> extension_environment(const domain::CodeOrder& order, std::string_view api);
// Of a program that serves HTTP: Knative's runtime contract, with what Azure calls its port.
[[nodiscard]] std::vector<std::string> http_environment(const domain::CodeOrder& order, int port);

// Of a container's order: the program's name to its path, as a shell finds it; says where it is not, or the folder is not.
[[nodiscard]] Result<void> find_program(domain::CodeOrder& order);
// Of one whose image names a user: says where it is not known, or this process is somebody else; its home is HOME where the image
// names none.
[[nodiscard]] Result<void> be_user(domain::CodeOrder& order);

}  // namespace mayfly::worker
