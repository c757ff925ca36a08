#include "worker/container_user.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace mayfly::worker {
namespace {

std::optional<std::uint32_t> number_in(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number > kUserNumberMax) return std::nullopt;
  return number;
}

bool is_number(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// What stands before the next `end`, which is taken with it.
std::string_view take_until(std::string_view& text, char end) {
  const std::string_view part = text.substr(0, text.find(end));
  text.remove_prefix(std::min(part.size() + 1, text.size()));
  return part;
}

// Of each line its first `Count` fields, until `visit` says that it is enough.
template <std::size_t Count, class Visit>
void each_line(std::string_view text, const Visit& visit) {
  while (!text.empty()) {
    std::string_view line = take_until(text, '\n');
    if (line.ends_with('\r')) line.remove_suffix(1);
    std::array<std::string_view, Count> fields;
    for (std::string_view& field : fields) field = take_until(line, ':');
    if (!visit(fields)) return;
  }
}

bool lists(std::string_view members, std::string_view name) {
  while (!members.empty())
    if (take_until(members, ',') == name) return true;
  return false;
}

std::unexpected<Error> unknown(std::string_view kind, std::string_view name, std::string_view file) {
  const std::string quoted = " '" + std::string(name.substr(0, 64)) + "'";
  if (is_number(name))
    return fail(Code::invalid_argument, "the image's " + std::string(kind) + quoted + " is too large: at most 2147483647");
  return fail(Code::not_found, "the image's " + std::string(kind) + quoted + " is not in its " + std::string(file) +
                                   ": USER names one that is, or a number");
}

bool is_plain(std::string_view home) {
  return !home.empty() && std::ranges::none_of(home, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; });
}

// The first line that has the name, or the number. Its name, "" where there is none.
std::string_view match_user(std::string_view wanted, std::string_view passwd, ContainerUser& user) {
  std::string_view name;
  each_line<6>(passwd, [&](const auto& fields) {
    const auto uid = number_in(fields[2]), gid = number_in(fields[3]);
    if (fields[0].empty() || !uid || !gid || (fields[0] != wanted && number_in(wanted) != uid)) return true;
    name = fields[0];
    user = {.uid = *uid, .gid = *gid, .home = is_plain(fields[5]) ? std::string(fields[5]) : "/"};
    return false;
  });
  return name;
}

Result<std::uint32_t> group_number(std::string_view wanted, std::string_view group) {
  std::optional<std::uint32_t> found;
  each_line<3>(group, [&](const auto& fields) {
    const auto gid = number_in(fields[2]);
    if (!fields[0].empty() && gid && fields[0] == wanted) found = gid;
    return !found;
  });
  if (!found) found = number_in(wanted);
  if (!found) return unknown("group", wanted, kGroupFile);
  return *found;
}

}  // namespace

Result<ContainerUser> find_user(std::string_view wanted, std::string_view passwd, std::string_view group) {
  const std::string_view named = take_until(wanted, ':');
  ContainerUser user;
  const std::string_view name = named.empty() ? "" : match_user(named, passwd, user);
  if (name.empty() && !named.empty()) {
    const auto number = named == "root" ? 0U : number_in(named);  // who needs no line either
    if (!number) return unknown("user", named, kPasswdFile);
    user.uid = *number;
  }
  if (!wanted.empty()) {
    TRY(user.gid, group_number(wanted, group));
    return user;
  }
  each_line<4>(group, [&](const auto& fields) {
    const auto gid = number_in(fields[2]);
    if (gid && !name.empty() && lists(fields[3], name) && *gid != user.gid && std::ranges::count(user.groups, *gid) == 0)
      user.groups.push_back(*gid);
    return user.groups.size() < kUserGroupsMax;
  });
  return user;
}

std::string read_accounts(const os::Fd& file) {
  struct stat what {};
  if (!file || ::fstat(file.get(), &what) != 0 || !S_ISREG(what.st_mode)) return {};
  std::string text(std::min<std::size_t>(kAccountsMax, static_cast<std::size_t>(what.st_size)), '\0');
  std::size_t size = 0;
  for (ssize_t got; size < text.size() && (got = ::read(file.get(), text.data() + size, text.size() - size)) > 0;)
    size += static_cast<std::size_t>(got);
  text.resize(size);
  return text;
}

}  // namespace mayfly::worker
