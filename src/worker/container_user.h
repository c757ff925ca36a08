// Who a container's program is: USER of its image ("1000", "app", "app:staff", "1000:50"), looked up in the image's own /etc/passwd and
// /etc/group as container runtimes do. A name has to be there; a number needs no line, and without one has group 0 and home "/".
// The other groups of the user are taken where USER names none. The files are a stranger's: who reads them can do nothing else
// (detail/user_lookup.h), or is in the sandbox already.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "os/fd.h"

namespace mayfly::worker {

constexpr std::uint32_t kUserNumberMax = 0x7fffffff;     // of users and groups
constexpr std::size_t kUserGroupsMax = 32;               // beside the user's own; further ones are left out
constexpr std::size_t kAccountsMax = 1 << 20;            // bytes of /etc/passwd or /etc/group; what is behind is not read
constexpr const char* kPasswdFile = "/etc/passwd";
constexpr const char* kGroupFile = "/etc/group";

struct ContainerUser {
  std::uint32_t uid = 0, gid = 0;
  std::vector<std::uint32_t> groups = {};                // without gid, each once
  std::string home = "/";
  friend bool operator==(const ContainerUser&, const ContainerUser&) = default;
};

// not_found: a name that is in neither file; invalid_argument: a number that is none.
[[nodiscard]] Result<ContainerUser> find_user(std::string_view wanted, std::string_view passwd, std::string_view group);
// "" where it is no file, or can't be read.
[[nodiscard]] std::string read_accounts(const os::Fd& file);

}  // namespace mayfly::worker
