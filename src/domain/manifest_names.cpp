// Names and paths of functions: which there may be.
#include <algorithm>

#include "domain/detail/text.h"
#include "domain/link.h"
#include "domain/manifest.h"

namespace mayfly::domain {

Result<void> check_path(std::string_view path) {
  if (path.empty() || path.size() >= kPathMax)
    return fail(Code::invalid_argument, "a path of " + std::to_string(path.size()) + " bytes: 1 to " + std::to_string(kPathMax - 1) +
                                            " are possible");
  if (!is_printable_utf8(path)) return fail(Code::invalid_argument, "the path is not plain UTF-8 text");
  if (path.starts_with('/') || path == ".." || path.starts_with("../") || path.ends_with("/..") || path.find("/../") != path.npos)
    return fail(Code::invalid_argument, in_quotes(path) + " leads out of the folder: name a file inside it, by a relative path "
                                                          "without '..'");
  return {};
}

Image Image::as_started() const {
  Image image = *this;
  if (!instead.entrypoint.empty()) image.entrypoint = instead.entrypoint;
  if (!instead.command.empty()) image.command = instead.command;
  if (!instead.directory.empty()) image.directory = instead.directory;
  return image;
}

bool Manifest::serves_http() const {
  return runtime == "http" || runtime == "container-http" || runtime.starts_with("azure") || runtime.starts_with("functions-framework-");
}

bool valid_function_name(std::string_view name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= 63 && plain(name[0]) &&
         std::ranges::all_of(name, [&](char c) { return plain(c) || c == '-' || c == '_' || c == '.'; });
}

bool valid_alias_name(std::string_view name) {
  return valid_function_name(name) && name.find_first_not_of("0123456789") != name.npos;
}

}  // namespace mayfly::domain
