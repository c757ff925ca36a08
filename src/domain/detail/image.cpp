#include "domain/detail/image.h"

#include <algorithm>

#include "base/hex.h"
#include "domain/code_order.h"
#include "domain/detail/text.h"
#include "domain/image_reference.h"
#include "domain/json.h"

namespace mayfly::domain {

Result<std::size_t> read_variables(const Tree& value, const std::string& what,
                                   std::vector<std::pair<std::string, std::string>>& into) {
  if (value.kind != Tree::Kind::map) return fail(Code::invalid_argument, "a list of NAME: value is wanted");
  std::size_t size = 0;
  for (std::size_t i = 0; i < value.keys.size(); ++i) {
    const std::string& name = value.keys[i];
    const Tree& item = value.items[i];
    if (!valid_environment_name(name))
      return refuse(value.key_lines[i], what + ": " + in_quotes(name) + " is not a name: use letters, digits and '_'");
    if (item.kind == Tree::Kind::list || item.kind == Tree::Kind::map || item.text.find('\0') != item.text.npos)
      return refuse(item.line, what + ": " + name + " is a single text; quote it: \"null\", \"a: b\"");
    size += name.size() + item.text.size();
    into.emplace_back(name, item.text);
  }
  std::ranges::sort(into);
  return size;
}

Result<void> read_words(const Tree& value, std::vector<std::string>& into) {
  if (value.kind != Tree::Kind::list) return fail(Code::invalid_argument, "a list of words is wanted: [python3, app.py]");
  for (const Tree& item : value.items) {
    if (item.kind != Tree::Kind::scalar || item.text.find('\0') != item.text.npos)
      return refuse(item.line, "image: each word is a single text; quote it: \"null\", \"a: b\"");
    into.push_back(item.text);
  }
  return {};
}

Result<void> read_image_environment(const Tree& value, Image& into) {
  const auto size = read_variables(value, "image.environment", into.environment);
  return size ? Result<void>() : fail(size.error());
}

Result<void> read_directory(const Tree& value, std::string& into) {
  if (value.kind != Tree::Kind::scalar) return fail(Code::invalid_argument, "a single path is wanted");
  into = value.text;
  if (into.starts_with('/') && into.size() < 4096 && is_printable_utf8(into)) return {};
  return fail(Code::invalid_argument, in_quotes(into) + " is no folder of the image: write its absolute path");
}

Result<void> read_reference(const Tree& value, Image& into) {
  if (value.kind != Tree::Kind::scalar || !value.text.starts_with(kPullPrefix))
    return fail(Code::invalid_argument,
                "an image in a registry is wanted: docker://HOST/NAME:TAG (files, oci:PATH, are read by 'mayfly deploy')");
  into.reference = value.text.substr(kPullPrefix.size());
  const auto parsed = parse_image_reference(into.reference);
  return parsed ? Result<void>() : fail(parsed.error());
}

Result<void> read_image_digest(const Tree& value, Image& into) {
  into.digest = value.text;
  if (value.kind == Tree::Kind::scalar && is_sha256(into.digest)) return {};
  return fail(Code::invalid_argument, in_quotes(into.digest) + " is not a SHA-256 in lower-case hex");
}

Result<void> read_user(const Tree& value, Image& into) {
  constexpr std::size_t kUserMax = 200;
  if (value.kind != Tree::Kind::scalar) return fail(Code::invalid_argument, "a single name or number is wanted: app, 1000, app:staff");
  into.user = value.text;
  if (into.user.size() <= kUserMax && is_printable_utf8(into.user) && into.user.find_first_of(" /,") == into.user.npos) return {};
  return fail(Code::invalid_argument,
              in_quotes(into.user) + " is no user of an image: write a name or a number, with a group behind ':' or not");
}

nlohmann::ordered_json image_json(const Image& image) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!image.is_wanted()) {
    auto variables = nlohmann::ordered_json::object();
    for (const auto& [name, value] : image.environment) variables[name] = value;
    json = {{"entrypoint", image.entrypoint}, {"command", image.command}, {"environment", variables}, {"directory", image.directory}};
    if (!image.user.empty()) json["user"] = image.user;
  }
  if (!image.reference.empty()) json["reference"] = std::string(kPullPrefix) + image.reference;
  if (!image.digest.empty()) json["digest"] = image.digest;
  if (!image.instead.entrypoint.empty()) json["instead"]["entrypoint"] = image.instead.entrypoint;
  if (!image.instead.command.empty()) json["instead"]["command"] = image.instead.command;
  if (!image.instead.directory.empty()) json["instead"]["directory"] = image.instead.directory;
  return json;
}

Result<void> check_container(const Manifest& m, int line) {
  constexpr std::size_t kWordsMax = 64, kVariablesMax = 200, kSizeMax = 32 * 1024;
  if (m.image.is_wanted() && m.image != Image{.reference = m.image.reference, .instead = m.image.instead})
    return refuse(line, "an image that is to be pulled says itself what it starts: leave entrypoint, command, environment, directory and "
                        "user out, or write what goes over them below 'instead'");
  if (!m.image.digest.empty() && m.image.reference.empty())
    return refuse(line, "image.digest is of an image in a registry: write its reference, docker://HOST/NAME:TAG");
  std::size_t words = 0;
  const Image& i = m.image;
  const auto lists = {&i.entrypoint, &i.command, &i.instead.entrypoint, &i.instead.command};
  for (const auto* list : lists) words += list->size();
  if (words == 0 && !m.image.is_wanted() && m.handler.find_first_not_of(' ') == m.handler.npos)
    return refuse(line, "the image names no program, neither as ENTRYPOINT nor as CMD: write its command as handler");
  std::size_t size = m.image.directory.size() + m.image.instead.directory.size();
  for (const auto* list : lists)
    for (const std::string& word : *list) size += word.size() + 1;
  for (const auto& [name, value] : m.image.environment) size += name.size() + value.size() + 2;
  if (words > kWordsMax || m.image.environment.size() > kVariablesMax || size > kSizeMax)
    return refuse(line, "the image's configuration has " + std::to_string(words) + " words and " +
                            std::to_string(m.image.environment.size()) + " variables in " + std::to_string(size) +
                            " bytes: at most 64, 200 and 32 KiB are taken");
  return {};
}

}  // namespace mayfly::domain
