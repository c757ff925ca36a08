// JSON's parser, compiled once and not anew in each file that reads some: it takes a compiler more than a second.
#pragma once
#include <nlohmann/json.hpp>
#include <string_view>

namespace mayfly::domain {

// `Json` is nlohmann::json or nlohmann::ordered_json. What is no JSON is given as one of the kind `discarded`, which is no object, list,
// text or number.
template <class Json>
[[nodiscard]] Json parse_json(std::string_view text);

extern template nlohmann::json parse_json(std::string_view);
extern template nlohmann::ordered_json parse_json(std::string_view);

}  // namespace mayfly::domain
