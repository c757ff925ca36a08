// The folders that `mayfly new` makes: the files of src/app/templates/, as text in the binary (CMakeLists.txt).
#pragma once
#include <span>
#include <string_view>

namespace mayfly::app {

struct TemplateFile {
  std::string_view path;  // "python/app.py": the template, then the file. ABOUT is a line about it; NAME.hex spells the bytes of NAME
  std::string_view text;
};
extern const std::span<const TemplateFile> kTemplateFiles;

}  // namespace mayfly::app
