// XML as AWS's older protocols have it: answers, made of JSON, and the little of it that clients send. Pure.
// An object is elements in its order, a list a <member> for each (or, with a name of its own, that), a scalar escaped text. What may not
// be in XML 1.0 becomes U+FFFD. Nothing is parsed but the texts of elements: no entity but the five of XML is known, none is fetched.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "domain/template.h"

namespace mayfly::gateway::xml {

using domain::Json;

[[nodiscard]] std::string escaped(std::string_view text);
// <name>…</name>; null is nothing.
[[nodiscard]] std::string element(std::string_view name, const Json& json);
// The texts of all elements of this name that have text alone, in order; `xml` may be anything.
[[nodiscard]] std::vector<std::string> texts(std::string_view xml, std::string_view name);

}  // namespace mayfly::gateway::xml
