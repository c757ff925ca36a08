// The names of classes that a model carries with it, as exporters write them into its metadata: a list (JSON), a mapping of numbers to
// names (JSON, or Python's repr as of Ultralytics), or lines, or words with commas between. Any text may come.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace mayfly::gate {

// By class, from 0; none where it is no such text: a mapping must name each class from 0 on, once.
[[nodiscard]] std::vector<std::string> parse_class_names(std::string_view text);

}  // namespace mayfly::gate
