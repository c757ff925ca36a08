// How a debugger is attached to what `mayfly dev --debug` serves: the words and the launch.json that are printed, by the language of a
// function's runtime. Pure.
#pragma once
#include <string>
#include <string_view>

namespace mayfly::app {

// `address`: 127.0.0.1:PORT. `folder`: the function's, on this machine; it is /var/task to the code.
[[nodiscard]] std::string attach_text(std::string_view runtime, std::string_view address, const std::string& folder);

}  // namespace mayfly::app
