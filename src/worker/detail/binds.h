// What of the outside a code sandbox sees, as the node orders it: a line each, "SOURCE\tTARGET\n", behind a SandboxOrder
// (domain/link.h); read-only, unless "\trw" follows the target. Sources are the node's own choice and only have to be absolute.
// Targets are looked at: each is absolute and plain (no "..", no empty part), and leaves /proc, /dev and /tmp to the sandbox, which
// are folders of the one whose target is /: it becomes the root itself.
//
// "USER\tNAME\n", beside such a root: who its program is, by the root's own accounts (worker/container_user.h).
// Among them, what its own network is to have, "@ADDRESS\tNAME\n": an address of its loopback, and what /etc/hosts calls it; "" for none.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly::worker {

constexpr std::size_t kBindsMax = 512;
constexpr std::size_t kBindsTextMax = 64 * 1024;

struct Bind {
  std::string source, target;  // absolute paths: of the outside, a file or a folder; inside
  bool writable = false;
  bool operator==(const Bind&) const = default;
};

struct NamedAddress {
  std::string address, name;
  bool operator==(const NamedAddress&) const = default;
};

struct Outside {
  std::vector<Bind> binds;
  std::vector<NamedAddress> hosts;
  std::string user;            // "": nobody was named
};

[[nodiscard]] Result<Outside> read_outside(std::string_view text);

}  // namespace mayfly::worker
