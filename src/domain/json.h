// JSON: nlohmann's library. What of it can be is compiled once, and not anew in each of the hundred files that use it, which include this
// instead of the library's own header: a tenth of what they take to compile.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

extern template class nlohmann::basic_json<>;
extern template class nlohmann::basic_json<nlohmann::ordered_map>;
extern template class std::vector<nlohmann::json>;
extern template class std::vector<nlohmann::ordered_json>;

namespace mayfly::domain {

// `Json` is nlohmann::json or nlohmann::ordered_json. What is no JSON is given as one of the kind `discarded`, which is no object, list,
// text or number.
template <class Json>
[[nodiscard]] Json parse_json(std::string_view text);

extern template nlohmann::json parse_json(std::string_view);
extern template nlohmann::ordered_json parse_json(std::string_view);

}  // namespace mayfly::domain
