// The values inside the catalog's columns as JSON text, and back. What can't be read back is data_loss.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/function.h"

namespace mayfly::store {

[[nodiscard]] std::string to_column(const std::vector<domain::FileRef>& files);
[[nodiscard]] std::string to_column(const domain::Signature& signature);
[[nodiscard]] std::string to_column(const domain::Compiled& compiled);
[[nodiscard]] std::string to_column(const domain::Dependencies& dependencies);
[[nodiscard]] std::string to_column(const std::vector<domain::LayerRef>& layers);
[[nodiscard]] std::string to_column(const std::vector<domain::Weight>& weights);
[[nodiscard]] std::string to_column(const std::vector<std::string>& notes);

[[nodiscard]] Result<std::vector<domain::FileRef>> files_from(std::string_view column);
[[nodiscard]] Result<domain::Signature> signature_from(std::string_view column);
[[nodiscard]] Result<domain::Compiled> compiled_from(std::string_view column);
[[nodiscard]] Result<domain::Dependencies> dependencies_from(std::string_view column);
[[nodiscard]] Result<std::vector<domain::LayerRef>> layers_from(std::string_view column);
[[nodiscard]] Result<std::vector<domain::Weight>> weights_from(std::string_view column);
[[nodiscard]] Result<std::vector<std::string>> notes_from(std::string_view column);

}  // namespace mayfly::store
