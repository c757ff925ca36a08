#include "worker/detail/binds.h"

#include <algorithm>
#include <array>

namespace mayfly::worker {
namespace {

constexpr std::string_view kUser = "USER\t";
constexpr std::size_t kUserMax = 256;

bool is_printable(std::string_view text) {
  return std::ranges::none_of(text, [](char letter) { return static_cast<unsigned char>(letter) < ' '; });
}

bool is_plain(std::string_view path) { return path.size() > 1 && path.front() == '/' && is_printable(path); }

// Of "/a/b", each of "a" and "b".
template <class Accept>
bool each_part(std::string_view path, Accept accept) {
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::size_t end = std::min(path.find('/'), path.size());
    if (!accept(path.substr(0, end))) return false;
    path.remove_prefix(end);
  }
  return true;
}

bool is_target(std::string_view path) {
  constexpr std::array<std::string_view, 3> kOwn{"/proc", "/dev", "/tmp"};
  if (!is_plain(path)) return false;
  if (!each_part(path, [](std::string_view part) { return !part.empty() && part != "." && part != ".."; })) return false;
  return std::ranges::none_of(kOwn, [&](std::string_view own) {
    return path.starts_with(own) && (path.size() == own.size() || path[own.size()] == '/');
  });
}

// What goes into /etc/hosts as it is.
bool is_host(const NamedAddress& host) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == ':';
  };
  return !host.address.empty() && std::ranges::all_of(host.address, plain) && std::ranges::all_of(host.name, plain);
}

}  // namespace

Result<Outside> read_outside(std::string_view text) {
  if (text.size() > kBindsTextMax)
    return fail(Code::invalid_argument, "the binds of a sandbox take " + std::to_string(text.size()) + " bytes, at most " +
                                            std::to_string(kBindsTextMax));
  Outside outside;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    const std::size_t tab = line.find('\t');
    if (end == std::string_view::npos || tab == std::string_view::npos)
      return fail(Code::invalid_argument, "a bind is a line SOURCE<tab>TARGET, not '" + std::string(line.substr(0, 200)) + "'");
    if (line.starts_with('@')) {
      outside.hosts.push_back({std::string(line.substr(1, tab - 1)), std::string(line.substr(tab + 1))});
      if (!is_host(outside.hosts.back()) || outside.hosts.size() > kBindsMax)
        return fail(Code::invalid_argument,
                    "an address of a sandbox is a line @ADDRESS<tab>NAME, not '" + std::string(line.substr(0, 200)) + "'");
      text.remove_prefix(end + 1);
      continue;
    }
    if (line.starts_with(kUser)) {
      outside.user = line.substr(kUser.size());
      if (outside.user.empty() || outside.user.size() > kUserMax || !is_printable(outside.user))
        return fail(Code::invalid_argument,
                    "a container's user is a line USER<tab>NAME, of at most " + std::to_string(kUserMax) + " bytes");
      text.remove_prefix(end + 1);
      continue;
    }
    if (outside.binds.size() == kBindsMax)
      return fail(Code::invalid_argument, "a sandbox takes at most " + std::to_string(kBindsMax) + " binds");
    constexpr std::string_view kWritable = "\trw";
    Bind bind{.source = std::string(line.substr(0, tab)), .target = std::string(line.substr(tab + 1))};
    bind.writable = bind.target.ends_with(kWritable);
    if (bind.writable) bind.target.resize(bind.target.size() - kWritable.size());
    if (!is_plain(bind.source))
      return fail(Code::invalid_argument, "the source of a bind is an absolute path, not '" + bind.source + "'");
    if (!is_target(bind.target) && (bind.target != "/" || bind.writable))
      return fail(Code::invalid_argument, "the target of a bind is an absolute path without '..', and not a writable /, nor /proc, /dev "
                                          "or /tmp nor below these, not '" + bind.target + "'");
    outside.binds.push_back(std::move(bind));
    text.remove_prefix(end + 1);
  }
  return outside;
}

}  // namespace mayfly::worker
