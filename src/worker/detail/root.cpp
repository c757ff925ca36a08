#include "worker/detail/root.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "worker/detail/check.h"

namespace mayfly::worker {
namespace {

constexpr const char* kNewRoot = "/tmp";                  // of the outside; covered by the new root before it becomes the root
constexpr unsigned long kNothing = MS_NOSUID | MS_NODEV | MS_NOEXEC;

Result<void> cover(const char* options) {
  TRY_VOID(check(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount", "/ private"));
  TRY_VOID(check(::mount("root", kNewRoot, "tmpfs", kNothing, options), "mount", "the root"));
  return check(::chdir(kNewRoot), "chdir", kNewRoot);
}

Result<void> enter() {
  TRY_VOID(check(::syscall(SYS_pivot_root, ".", "."), "pivot_root"));
  TRY_VOID(check(::umount2(".", MNT_DETACH), "umount2", "the outside"));
  return check(::chdir("/"), "chdir", "/");
}

Result<void> close_root() {
  return check(::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | kNothing, nullptr), "mount", "/ read-only");
}

Result<void> mount_memory(const char* at, unsigned long flags, std::string options, Owner owner) {
  if (::mkdir(at, 0700) != 0 && errno != EEXIST) return fail(os::os_error("mkdir", at));
  options += ",uid=" + std::to_string(owner.uid) + ",gid=" + std::to_string(owner.gid);
  return check(::mount(at, at, "tmpfs", flags, options.c_str()), "mount", at);
}

// Recursive: what is mounted below comes along, under the same restrictions.
Result<os::Fd> open_outside_tree(const std::string& path, std::uint64_t restrictions, bool writable = false) {
  os::Fd tree(::open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (!tree) return fail(os::os_error("open_tree", path));
  struct mount_attr wanted {};
  wanted.attr_set = (writable ? 0 : MOUNT_ATTR_RDONLY) | MOUNT_ATTR_NOSUID | restrictions;
  TRY_VOID(check(::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &wanted, sizeof wanted), "mount_setattr", path));
  return tree;
}

// The parents, and a file or a folder to mount on. Below an earlier bind, which is read-only, it has to be there already.
Result<void> make_place(const std::string& path, bool folder) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    const std::string parent = path.substr(0, end);
    if (::mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) return fail(os::os_error("mkdir", parent));
  }
  const int made = folder ? ::mkdir(path.c_str(), 0755) : ::mknod(path.c_str(), S_IFREG | 0644, 0);
  if (made != 0 && errno != EEXIST) return fail(os::os_error(folder ? "mkdir" : "mknod", path));
  return {};
}

Result<void> attach(const OutsideTrees::Tree& tree) {
  struct stat what {};
  TRY_VOID(check(::fstat(tree.mount.get(), &what), "fstat", tree.target));
  TRY_VOID(make_place(tree.target, S_ISDIR(what.st_mode)));
  return check(::move_mount(tree.mount.get(), "", AT_FDCWD, tree.target.c_str(), MOVE_MOUNT_F_EMPTY_PATH), "move_mount", tree.target);
}

Result<void> write_file(const std::string& path, std::string_view text) {
  TRY_VOID(make_place(path, false));
  const os::Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return fail(os::os_error("open", path));
  return check(::write(file.get(), text.data(), text.size()), "write", path);
}

std::string hosts_text(const CodeRoot& plan) {
  std::string hosts = "127.0.0.1 localhost mayfly sandbox.localdomain sandbox\n::1 localhost ip6-localhost\n";
  for (const NamedAddress& host : plan.hosts)
    if (!host.name.empty()) hosts += host.address + " " + host.name + "\n";
  return hosts;
}

Result<void> write_etc(const CodeRoot& plan) {
  const std::string id = std::to_string(plan.owner.uid);
  TRY_VOID(write_file("/etc/passwd", "root:x:0:0:root:/:/usr/sbin/nologin\nsbx_user1051:x:" + id + ":" + id + "::/tmp:/usr/sbin/nologin\n"
                                     "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"));
  TRY_VOID(write_file("/etc/group", "root:x:0:\nsbx_user1051:x:" + id + ":\nnogroup:x:65534:\n"));
  TRY_VOID(write_file("/etc/hosts", hosts_text(plan)));
  TRY_VOID(write_file("/etc/resolv.conf", ""));
  return write_file("/etc/nsswitch.conf", std::string("passwd: files\ngroup: files\nshadow: files\nservices: files\nprotocols: files\n") +
                                              (plan.machine_network ? "hosts: files dns\n" : "hosts: files\n"));
}

// A container's own /proc may have parts covered; then the kernel lets nobody in it mount a whole one.
Result<void> mount_proc(int log) {
  constexpr unsigned long kFlags = kNothing | MS_RDONLY;
  if (::mkdir("proc", 0555) != 0 && errno != EEXIST) return fail(os::os_error("mkdir", "/proc"));
  for (const char* options : {"hidepid=2", ""})
    if (::mount("proc", "proc", "proc", kFlags, options) == 0) return {};
  ::dprintf(log, "mayfly: this sandbox has no /proc: the kernel does not let one be mounted here (%s)\n", std::strerror(errno));
  return {};
}

Result<void> add_to_dev(Owner owner) {
  constexpr std::pair<const char*, const char*> kLinks[] = {
      {"/proc/self/fd", "/dev/fd"}, {"fd/0", "/dev/stdin"}, {"fd/1", "/dev/stdout"}, {"fd/2", "/dev/stderr"}};
  for (const auto& [to, at] : kLinks) TRY_VOID(check(::symlink(to, at), "symlink", at));
  return mount_memory("/dev/shm", kNothing, "size=64m,nr_inodes=1024,mode=1777", owner);
}

}  // namespace

Result<void> build_blank_root(Owner owner) {
  TRY_VOID(cover("size=64k,nr_inodes=4,mode=0755"));
  TRY_VOID(mount_memory("tmp", kNothing, "size=2g,nr_inodes=1024,mode=0700", owner));
  TRY_VOID(enter());
  return close_root();
}

Result<OutsideTrees> open_outside(const std::vector<Bind>& binds) {
  constexpr const char* kMayBeLinks[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};
  const auto bound = [&](std::string_view target) { return std::ranges::find(binds, target, &Bind::target) != binds.end(); };
  OutsideTrees outside;
  for (const Bind& bind : binds) {
    TRY(os::Fd tree, open_outside_tree(bind.source, MOUNT_ATTR_NODEV, bind.writable));
    if (bind.target == "/") outside.root = std::move(tree);
    else outside.trees.push_back({std::move(tree), bind.target});
  }
  for (const char* device : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}) {
    TRY(os::Fd tree, open_outside_tree(device, MOUNT_ATTR_NOEXEC));
    outside.trees.push_back({std::move(tree), device});
  }
  for (const char* path : kMayBeLinks) {
    std::array<char, PATH_MAX> text;
    const ssize_t size = bound("/usr") && !bound(path) ? ::readlink(path, text.data(), text.size()) : -1;
    const std::string_view to(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    if (to.starts_with("usr/") || to.starts_with("/usr/")) outside.links.push_back({path, std::string(to)});
  }
  return outside;
}

// A container's root has the folders for what is mounted, and /etc/hosts (store/packages.cpp). It stays read-only as it was bound.
Result<void> build_container_root(const OutsideTrees& outside, const CodeRoot& plan) {
  TRY_VOID(check(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount", "/ private"));
  TRY_VOID(check(::move_mount(outside.root.get(), "", AT_FDCWD, kNewRoot, MOVE_MOUNT_F_EMPTY_PATH), "move_mount", "the root"));
  TRY_VOID(check(::chdir(kNewRoot), "chdir", kNewRoot));
  TRY_VOID(mount_proc(plan.log));
  TRY_VOID(enter());
  TRY_VOID(mount_memory("/tmp", MS_NOSUID | MS_NODEV, "size=512m,nr_inodes=16384,mode=0700", plan.owner));
  TRY_VOID(check(::mount("dev", "/dev", "tmpfs", kNothing, "size=64k,nr_inodes=64,mode=0755"), "mount", "/dev"));
  if (std::ranges::any_of(outside.trees, [](const auto& tree) { return tree.target.starts_with("/run/"); }))
    TRY_VOID(check(::mount("run", "/run", "tmpfs", kNothing, "size=64k,nr_inodes=64,mode=0755"), "mount", "/run"));
  TRY_VOID(write_file("/dev/.hosts", hosts_text(plan)));
  TRY_VOID(check(::mount("/dev/.hosts", "/etc/hosts", nullptr, MS_BIND, nullptr), "mount", "/etc/hosts"));
  TRY_VOID(check(::mount(nullptr, "/etc/hosts", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | kNothing, nullptr), "mount", "/etc/hosts"));
  TRY_VOID(check(::unlink("/dev/.hosts"), "unlink", "/dev/.hosts"));
  for (const auto& tree : outside.trees) TRY_VOID(attach(tree));
  TRY_VOID(add_to_dev(plan.owner));
  return check(::mount(nullptr, "/dev", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | kNothing, nullptr), "mount", "/dev read-only");
}

Result<void> build_code_root(const OutsideTrees& outside, const CodeRoot& plan) {
  if (outside.root) return build_container_root(outside, plan);
  TRY_VOID(cover("size=1m,nr_inodes=16384,mode=0755"));
  TRY_VOID(mount_proc(plan.log));  // where the outside's is seen still: the kernel compares
  TRY_VOID(enter());
  // From here on no path leads outside, whatever links the bound trees hold.
  TRY_VOID(mount_memory("/tmp", MS_NOSUID | MS_NODEV, "size=512m,nr_inodes=16384,mode=0700", plan.owner));
  TRY_VOID(write_etc(plan));
  for (const auto& link : outside.links) TRY_VOID(check(::symlink(link.to.c_str(), link.path.c_str()), "symlink", link.path));
  for (const auto& tree : outside.trees) TRY_VOID(attach(tree));
  TRY_VOID(add_to_dev(plan.owner));
  return close_root();
}

}  // namespace mayfly::worker
