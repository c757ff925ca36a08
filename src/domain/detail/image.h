// The manifest's section `image`, and what it shares with `environment`: lists of words and of variables.
#pragma once
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "domain/detail/tree.h"
#include "domain/manifest.h"

namespace mayfly::domain {

// How many bytes they are. `what` is the section's name, for errors.
[[nodiscard]] Result<std::size_t> read_variables(const Tree& value, const std::string& what,
                                                 std::vector<std::pair<std::string, std::string>>& into);
[[nodiscard]] Result<void> read_words(const Tree& value, std::vector<std::string>& into);
[[nodiscard]] Result<void> read_image_environment(const Tree& value, Image& into);
[[nodiscard]] Result<void> read_directory(const Tree& value, std::string& into);
[[nodiscard]] Result<void> read_reference(const Tree& value, Image& into);
[[nodiscard]] Result<void> read_image_digest(const Tree& value, Image& into);
[[nodiscard]] Result<void> read_user(const Tree& value, Image& into);
[[nodiscard]] nlohmann::ordered_json image_json(const Image& image);
// What it starts with goes to its host in one packet. `line` is where an error is.
[[nodiscard]] Result<void> check_container(const Manifest& manifest, int line);

}  // namespace mayfly::domain
