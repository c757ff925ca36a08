#include "worker/detail/user_lookup.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>
#include <vector>

#include "base/time.h"
#include "domain/link.h"
#include "os/process.h"
#include "worker/detail/check.h"
#include "worker/seccomp.h"

namespace mayfly::worker {
namespace {

constexpr Duration kLookUpMax = std::chrono::seconds(2);

// What the process that looks says, as bytes.
struct Found {
  std::uint32_t found = 0, uid = 0, gid = 0, groups = 0;
  std::array<std::uint32_t, kUserGroupsMax> group{};
};

// None where it is not there: that is fine.
os::Fd open_inside(const os::Fd& root, const char* path) {
  struct open_how how {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return os::Fd(static_cast<int>(::syscall(SYS_openat2, root.get(), path, &how, sizeof how)));
}

// In the process of its own.
int look(const os::Fd& answer, const os::Fd& passwd, const os::Fd& group, const std::string& wanted) {
  std::vector<int> kept{answer.get()};
  for (const os::Fd* file : {&passwd, &group})
    if (*file) kept.push_back(file->get());
  os::close_all_but(std::move(kept));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !apply_role_filter(domain::Role::instance, 1)) return 1;
  const auto user = find_user(wanted, read_accounts(passwd), read_accounts(group));
  Found found;
  if (user) {
    found = {.found = 1, .uid = user->uid, .gid = user->gid, .groups = static_cast<std::uint32_t>(user->groups.size())};
    std::ranges::copy(user->groups, found.group.begin());
  }
  return ::write(answer.get(), &found, sizeof found) == sizeof found ? 0 : 1;
}

}  // namespace

Result<ContainerUser> look_up_user(const std::string& root, const std::string& wanted) {
  const os::Fd folder(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return fail(os::os_error("open", root));
  const os::Fd passwd = open_inside(folder, kPasswdFile), group = open_inside(folder, kGroupFile);
  TRY(auto pipe, os::make_pipe());
  TRY(os::Child child, os::fork_child(std::move(pipe.second), [&](os::Fd answer) { return look(answer, passwd, group, wanted); }));
  pollfd wait{.fd = pipe.first.get(), .events = POLLIN, .revents = 0};
  Found found;
  const bool said = ::poll(&wait, 1, static_cast<int>(to_ms(kLookUpMax))) > 0 &&
                    ::read(pipe.first.get(), &found, sizeof found) == sizeof found;
  os::end(child);
  if (!said) return fail(Code::internal, "the image's user was not looked up in time");
  if (!found.found) return fail(Code::not_found, "the image's user is not known");
  if (std::max(found.uid, found.gid) > kUserNumberMax || found.groups > kUserGroupsMax)
    return fail(Code::internal, "the image's user was looked up by who is not to be trusted");
  ContainerUser user{.uid = found.uid, .gid = found.gid};
  for (const std::uint32_t each : std::span(found.group).first(found.groups)) {
    if (each > kUserNumberMax || each == user.gid || std::ranges::count(user.groups, each) > 0) continue;
    user.groups.push_back(each);
  }
  return user;
}

}  // namespace mayfly::worker
