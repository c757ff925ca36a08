// mayfly new: a folder from a template. Everything or nothing that can be known ahead: it makes the folder, and so overwrites nothing.
#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>

#include "app/commands.h"
#include "app/templates.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kAbout = "ABOUT", kHex = ".hex";

struct Template {
  std::string_view about;
  std::vector<TemplateFile> files;  // by their paths in the folder
};

std::map<std::string, Template> all_templates() {
  std::map<std::string, Template> all;
  for (const TemplateFile& file : kTemplateFiles) {
    const std::size_t slash = file.path.find('/');
    Template& of = all[std::string(file.path.substr(0, slash))];
    const std::string_view path = file.path.substr(slash + 1);
    if (path == kAbout) of.about = file.text.substr(0, file.text.find('\n'));
    else of.files.push_back({path, file.text});
  }
  return all;
}

std::string bytes_of_hex(std::string_view text) {
  std::string bytes;
  for (std::size_t at = 0; at + 1 < text.size();) {
    if (text[at] == '\n') {
      ++at;
      continue;
    }
    unsigned value = 0;
    std::from_chars(text.data() + at, text.data() + at + 2, value, 16);
    bytes += static_cast<char>(value);
    at += 2;
  }
  return bytes;
}

Result<void> write(const fs::path& folder, const TemplateFile& file) {
  const bool hex = file.path.ends_with(kHex);
  const fs::path path = folder / (hex ? file.path.substr(0, file.path.size() - kHex.size()) : file.path);
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  std::ofstream out(path, std::ios::binary);
  out << (hex ? bytes_of_hex(file.text) : std::string(file.text));
  out.close();
  if (out.fail()) return fail(Code::internal, "'" + path.string() + "' can't be written: is the disk full, or the folder read-only?");
  if (path.filename() == "bootstrap") fs::permissions(path, fs::perms(0755), error);
  return {};
}

void list_templates(const Context& context, const std::map<std::string, Template>& all) {
  if (context.json) {
    Json list = Json::array();
    for (const auto& [name, of] : all) list.push_back({{"template", name}, {"about", of.about}});
    return print_json({{"templates", list}});
  }
  Table table({"TEMPLATE", "IS"});
  for (const auto& [name, of] : all) table.add({name, std::string(of.about)});
  print(table.text(context.terminal));
}

}  // namespace

Result<void> scaffold(const Context& context, const NewOptions& options) {
  const auto all = all_templates();
  if (options.list) return list_templates(context, all), Result<void>();
  if (options.folder.empty()) return fail(Code::invalid_argument, "no folder is named: write mayfly new --template python FOLDER");
  std::vector<std::string> names;
  std::string text;
  for (const auto& [name, of] : all) {
    names.push_back(name);
    text += (text.empty() ? "" : ", ") + name;
  }
  if (options.name.empty()) return fail(Code::invalid_argument, "no template is named: write --template with one of " + text);
  const auto found = all.find(options.name);
  if (found == all.end()) {
    const auto near = nearest(options.name, names);
    return fail(Code::invalid_argument, "there is no template '" + options.name + "'" +
                                            (near.empty() ? ": there are " + text : ": did you mean '" + near.front() + "'?"));
  }
  const fs::path folder = options.folder;
  std::error_code error;
  const std::string name = fs::absolute(folder).lexically_normal().filename().string();
  if (!domain::valid_function_name(name))
    return fail(Code::invalid_argument,
                "the folder's name is the function's, and '" + name + "' can't be one: use a-z, 0-9, '-', '_', '.'");
  if (fs::symlink_status(folder, error).type() != fs::file_type::not_found)
    return fail(Code::internal, "'" + options.folder + "' is there already: name a folder that is not, nothing is overwritten");
  fs::create_directories(folder, error);
  if (error) return fail(Code::internal, "'" + options.folder + "' can't be made: " + error.message());
  for (const TemplateFile& file : found->second.files) TRY_VOID(write(folder, file));
  if (context.json) return print_json({{"template", options.name}, {"folder", options.folder}}), Result<void>();
  print(context.terminal.paint(Tone::good, "→") + " " + options.folder + ": " + std::string(found->second.about) +
        "; its README.md says how to go on\n");
  return {};
}

}  // namespace mayfly::app
