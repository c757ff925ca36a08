#include "os/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>

namespace mayfly::os {
namespace {

constexpr std::string_view kFolder = "mayfly-";
constexpr long kPeriod = 100'000;  // µs, of a CPU quota
constexpr std::uint64_t kReuseMax = 16 << 20;  // bytes still charged: above, a leaf is removed and not used again

std::string read_file(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> text;
  const ssize_t size = fd ? ::read(fd.get(), text.data(), text.size()) : 0;
  return {text.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

// The number behind "name " in a file of such lines; 0 where there is none.
std::uint64_t value_of(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string key, value; lines >> key >> value;)
    if (key == name) return std::strtoull(value.c_str(), nullptr, 10);
  return 0;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

struct Mount {
  std::string root, at;                    // what of the hierarchy is mounted, and where
  bool unified = false;
  std::vector<std::string> controllers;
};

std::vector<Mount> find_mounts(const std::string& proc) {
  std::ifstream file(proc + "/mountinfo");
  std::vector<Mount> mounts;
  for (std::string line; std::getline(file, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream before(line), after(line.substr(dash + 3));
    std::string id, parent, device, root, at, type, source, options;
    before >> id >> parent >> device >> root >> at;
    after >> type >> source >> options;
    if (type == "cgroup2") mounts.push_back({root, at, true, {}});
    if (type == "cgroup") mounts.push_back({root, at, false, split(options, ',')});
  }
  return mounts;
}

// This process's group in a hierarchy, as a folder; "" where it can't be seen from here.
std::string own_folder(const std::string& proc, const Mount& mount, const std::string& controller) {
  std::ifstream file(proc + "/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const auto controllers = split(line.substr(first + 1, second - first - 1), ',');
    const bool here = mount.unified ? line.starts_with("0:") : std::ranges::find(controllers, controller) != controllers.end();
    if (!here) continue;
    std::string path = line.substr(second + 1);
    if (mount.root != "/" && path.starts_with(mount.root)) path.erase(0, mount.root.size());
    while (path.ends_with('/')) path.pop_back();
    const std::string folder = mount.at + path;
    return ::access(folder.c_str(), F_OK) == 0 ? folder : mount.at;
  }
  return {};
}

std::vector<std::string> folders_in(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
  while (folder) {
    const dirent* entry = ::readdir(folder.get());
    if (!entry) break;
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  return names;
}

std::optional<Fd> lock(const std::string& folder) {
  Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return std::nullopt;
  return fd;
}

// What nodes left that are dead: nobody holds the lock.
void remove_stale(const std::string& parent) {
  for (const std::string& name : folders_in(parent)) {
    if (!name.starts_with(kFolder)) continue;
    const std::string folder = parent + "/" + name;
    const auto locked = lock(folder);
    if (!locked) continue;
    for (const std::string& leaf : folders_in(folder)) ::rmdir((folder + "/" + leaf).c_str());
    ::rmdir(folder.c_str());
  }
}

// A folder of this node's own, locked.
Result<std::pair<std::string, Fd>> make_folder(const std::string& parent) {
  remove_stale(parent);
  for (int attempt = 0; attempt < 100; ++attempt) {
    const std::string folder =
        parent + "/" + std::string(kFolder) + std::to_string(::getpid()) + (attempt ? "-" + std::to_string(attempt) : "");
    if (::mkdir(folder.c_str(), 0755) != 0) {
      if (errno == EEXIST) continue;
      return fail(os_error("mkdir", folder));
    }
    auto locked = lock(folder);
    if (!locked) return fail(os_error("flock", folder));
    return std::pair{folder, std::move(*locked)};
  }
  return fail(Code::conflict, "no free name for a control group below " + parent);
}

}  // namespace

Result<void> Cgroups::write_file(const std::string& path, std::string_view text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return fail(os_error("open", path));
  if (::write(fd.get(), text.data(), text.size()) < 0) return fail(os_error("write", path));
  return {};
}

std::unique_ptr<Cgroups> Cgroups::open(const std::string& proc, std::size_t spare) {
  std::unique_ptr<Cgroups> groups(new Cgroups(spare));
  if (auto found = groups->find_roots(proc); !found) {
    groups->note_ = "control groups can't be used (" + found.error().message +
                    "): memory is limited per process by rlimit, CPU is not limited. "
                    "Run the node as root, or delegate a group to it (systemd: Delegate=yes)";
    groups->roots_.clear();
    return groups;
  }
  groups->find_freezer(proc);
  groups->thread_ = std::jthread([raw = groups.get()](const std::stop_token& stop) { raw->serve(stop); });
  groups->post([raw = groups.get()] { return raw->fill_spare(); });
  return groups;
}

Result<void> Cgroups::find_roots(const std::string& proc) {
  const auto mounts = find_mounts(proc);
  for (const std::string controller : {"memory", "cpu", "cpuacct", "pids"}) {
    const auto mount =
        std::ranges::find_if(mounts, [&](const Mount& m) { return std::ranges::find(m.controllers, controller) != m.controllers.end(); });
    if (mount == mounts.end()) {
      if (controller == "memory") break;
      continue;
    }
    const std::string parent = own_folder(proc, *mount, controller);
    if (parent.empty()) return fail(Code::not_found, "this process's " + controller + " group is not in " + proc + "/cgroup");
    const auto same =
        std::ranges::find_if(roots_, [&](const Root& root) { return root.path.starts_with(parent + "/" + std::string(kFolder)); });
    if (same != roots_.end()) {
      same->controllers.push_back(controller);
      continue;
    }
    TRY(auto folder, make_folder(parent));
    roots_.push_back({folder.first, {controller}});
    locks_.push_back(std::move(folder.second));
  }
  if (!roots_.empty()) return {};
  const auto unified = std::ranges::find_if(mounts, [](const Mount& m) { return m.unified; });
  if (unified == mounts.end()) return fail(Code::not_found, "no cgroup file system with a memory controller is mounted");
  return open_unified(own_folder(proc, *unified, ""));
}

Result<void> Cgroups::open_unified(const std::string& path) {
  if (path.empty()) return fail(Code::not_found, "this process has no cgroup2 group");
  const std::string controllers = " " + read_file(path + "/cgroup.controllers") + " ";
  if (controllers.find("memory") == std::string::npos) return fail(Code::permission_denied, path + " has no memory controller");
  TRY(auto folder, make_folder(path));
  const std::string wanted = "+memory +cpu +pids";
  if (!write_file(path + "/cgroup.subtree_control", wanted)) {
    // A group with processes of its own can't hand controllers down: move this one aside first.
    const std::string aside = folder.first + "-node";
    if (::mkdir(aside.c_str(), 0755) != 0 && errno != EEXIST) return fail(os_error("mkdir", aside));
    TRY_VOID(write_file(aside + "/cgroup.procs", std::to_string(::getpid())));
    TRY_VOID(write_file(path + "/cgroup.subtree_control", wanted));
  }
  TRY_VOID(write_file(folder.first + "/cgroup.subtree_control", wanted));
  roots_.push_back({folder.first, {"memory", "cpu", "cpuacct", "pids"}});
  locks_.push_back(std::move(folder.second));
  unified_ = true;
  return {};
}

Cgroups::~Cgroups() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  std::vector<std::string> folders;
  for (const Root& root : roots_) folders.push_back(root.path);
  if (!freezer_.empty() && !unified_) folders.push_back(freezer_);
  for (const std::string& folder : folders) {
    for (const std::string& name : folders_in(folder)) ::rmdir((folder + "/" + name).c_str());
    ::rmdir(folder.c_str());
  }
}

// Beside version 1's controllers: a folder in version 2's hierarchy, if one is mounted and this node may write to it.
void Cgroups::find_freezer(const std::string& proc) {
  if (unified_) {
    freezer_ = roots_.front().path;
    return;
  }
  const auto mounts = find_mounts(proc);
  const auto mount = std::ranges::find_if(mounts, [](const Mount& m) { return m.unified; });
  const std::string parent = mount == mounts.end() ? std::string() : own_folder(proc, *mount, "");
  if (parent.empty()) return;
  auto folder = make_folder(parent);
  if (!folder) return;
  freezer_ = folder->first;
  locks_.push_back(std::move(folder->second));
}

void Cgroups::post(std::function<Result<void>()> job, bool first) {
  {
    const std::lock_guard lock(mutex_);
    if (first) jobs_.push_front(std::move(job));
    else jobs_.push_back(std::move(job));
  }
  changed_.notify_all();
}

void Cgroups::serve(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !jobs_.empty(); })) {
    const auto job = std::move(jobs_.front());
    jobs_.pop_front();
    busy_ = true;
    lock.unlock();
    const auto done = job();
    lock.lock();
    busy_ = false;
    if (!done) failure_ = done.error().message;
    changed_.notify_all();
  }
}

void Cgroups::settle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return jobs_.empty() && !busy_; });
}

std::string Cgroups::take_failure() {
  const std::lock_guard lock(mutex_);
  return std::exchange(failure_, {});
}

std::string Cgroups::leaf(const Root& root, std::uint64_t number) const { return root.path + "/s" + std::to_string(number); }

const Cgroups::Root* Cgroups::root_of(std::string_view controller) const {
  for (const Root& root : roots_)
    if (std::ranges::find(root.controllers, controller) != root.controllers.end()) return &root;
  return nullptr;
}

Result<void> Cgroups::make_leaf(std::uint64_t number) const {
  for (const Root& root : roots_)
    if (::mkdir(leaf(root, number).c_str(), 0755) != 0 && errno != EEXIST) return fail(os_error("mkdir", leaf(root, number)));
  // No swapping past the limit; where there is no swap there is nothing to set.
  if (const Root* root = root_of("memory")) {
    [[maybe_unused]] const auto set = unified_ ? write_file(leaf(*root, number) + "/memory.swap.max", "0")
                                               : write_file(leaf(*root, number) + "/memory.swappiness", "0");
  }
  return {};
}

bool Cgroups::remove_leaf(std::uint64_t number) const {
  bool all = true;
  for (const Root& root : roots_) all = (::rmdir(leaf(root, number).c_str()) == 0 || errno == ENOENT) && all;
  if (!freezer_.empty() && !unified_) all = (::rmdir(freezer_leaf(number).c_str()) == 0 || errno == ENOENT) && all;
  return all;
}

Result<void> Cgroups::fill_spare() {
  for (;;) {
    std::uint64_t number = 0;
    {
      const std::lock_guard lock(mutex_);
      if (spare_.size() >= spare_wanted_) return {};
      number = ++made_;
    }
    TRY_VOID(make_leaf(number));
    const std::lock_guard lock(mutex_);
    spare_.push_back(number);
  }
}

Cgroups::Group Cgroups::take() {
  Group group;
  if (!works()) return group;
  bool few = false;
  {
    const std::lock_guard lock(mutex_);
    if (!spare_.empty()) {
      group.number_ = spare_.back();
      spare_.pop_back();
    } else {
      group.number_ = ++made_;  // put_in() makes it
    }
    few = spare_.size() < spare_wanted_ / 2;
  }
  if (few) post([this] { return fill_spare(); });
  group.cpu_before_ = read_cpu(group.number_);
  group.killed_before_ = read_killed(group.number_);
  return group;
}

Result<void> Cgroups::limit(const Group& group, const GroupLimits& limits) {
  if (!group) return {};
  return set_limits(group.number_, limits);
}

Result<void> Cgroups::set_limits(std::uint64_t number, const GroupLimits& limits) const {
  const std::string quota = std::to_string(std::max(1'000L, std::lround(limits.cpu * kPeriod)));
  const Root *memory = root_of("memory"), *cpu = root_of("cpu"), *pids = root_of("pids");
  if (memory) TRY_VOID(write_file(leaf(*memory, number) + (unified_ ? "/memory.max" : "/memory.limit_in_bytes"),
                              std::to_string(limits.memory_max.count)));
  if (pids) TRY_VOID(write_file(leaf(*pids, number) + "/pids.max", std::to_string(limits.processes_max)));
  if (!cpu) return {};
  const std::string folder = leaf(*cpu, number);
  if (unified_) {
    TRY_VOID(write_file(folder + "/cpu.weight", std::to_string(std::clamp(std::lround(limits.cpu * 100), 1L, 10'000L))));
    return write_file(folder + "/cpu.max", quota + " " + std::to_string(kPeriod));
  }
  TRY_VOID(write_file(folder + "/cpu.shares", std::to_string(std::max(2L, std::lround(limits.cpu * 1024)))));
  // More than a group above has is refused: then that one is the ceiling.
  if (!write_file(folder + "/cpu.cfs_quota_us", quota)) return write_file(folder + "/cpu.cfs_quota_us", "-1");
  return {};
}

Result<void> Cgroups::move_in(std::uint64_t number, int pid, const std::optional<GroupLimits>& limits) {
  TRY_VOID(make_leaf(number));
  if (limits) TRY_VOID(set_limits(number, *limits));
  for (const Root& root : roots_) {
    const auto written = write_file(leaf(root, number) + "/cgroup.procs", std::to_string(pid));
    if (!written && ::access(("/proc/" + std::to_string(pid)).c_str(), F_OK) == 0) return written;  // else: dead meanwhile
  }
  return {};
}

void Cgroups::put_in(const Group& group, int pid, const GroupLimits* limits, std::function<void()> then) {
  if (!group) {
    if (then) then();
    return;
  }
  const auto wanted = limits ? std::optional(*limits) : std::nullopt;
  post([this, number = group.number_, pid, wanted, then = std::move(then)]() -> Result<void> {
    const auto moved = move_in(number, pid, wanted);
    if (then) then();
    return moved;
  });
}

Duration Cgroups::read_cpu(std::uint64_t number) const {
  const Root* root = root_of("cpuacct");
  if (!root) return {};
  if (unified_) return std::chrono::microseconds(value_of(read_file(leaf(*root, number) + "/cpu.stat"), "usage_usec"));
  return std::chrono::nanoseconds(std::strtoll(read_file(leaf(*root, number) + "/cpuacct.usage").c_str(), nullptr, 10));
}

std::uint64_t Cgroups::read_killed(std::uint64_t number) const {
  const Root* root = root_of("memory");
  if (!root) return 0;
  return value_of(read_file(leaf(*root, number) + (unified_ ? "/memory.events" : "/memory.oom_control")), "oom_kill");
}

std::uint64_t Cgroups::read_refused(std::uint64_t number) const {
  const Root* root = root_of("pids");
  return root ? value_of(read_file(leaf(*root, number) + "/pids.events"), "max") : 0;
}

std::uint64_t Cgroups::read_memory(std::uint64_t number) const {
  const Root* root = root_of("memory");
  if (!root) return 0;
  return std::strtoull(read_file(leaf(*root, number) + (unified_ ? "/memory.current" : "/memory.usage_in_bytes")).c_str(), nullptr, 10);
}

// What an instance of code started beside others in its sandbox may outlive it.
bool Cgroups::kill_all(std::uint64_t number) const {
  const std::vector<int> pids = members(number);
  for (const int pid : pids)
    if (pid > 0) ::kill(pid, SIGKILL);
  return !pids.empty();
}

std::vector<int> Cgroups::members(std::uint64_t number) const {
  std::istringstream text(read_file(leaf(roots_.front(), number) + "/cgroup.procs"));
  std::vector<int> pids;
  for (int pid = 0; text >> pid;) pids.push_back(pid);
  return pids;
}

GroupUsage Cgroups::usage(const Group& group) const {
  if (!group) return {};
  return {.cpu = read_cpu(group.number_) - group.cpu_before_,
          .memory = {read_memory(group.number_)},
          .out_of_memory = read_killed(group.number_) - group.killed_before_};
}

void Cgroups::give_back(Group&& group) {
  if (!group) return;
  thaw(group);
  post([this, number = std::exchange(group.number_, 0)]() -> Result<void> {
    const bool left = kill_all(number);
    std::vector<std::uint64_t> removable;
    {
      const std::lock_guard lock(mutex_);
      removable.swap(leftover_);
      // One that still holds a lot (page cache) would start its next process with little room; one that was refused processes counts them.
      const bool as_new = !left && read_memory(number) <= kReuseMax && read_refused(number) == 0;
      if (as_new && spare_.size() < 2 * spare_wanted_) spare_.push_back(number);
      else removable.push_back(number);
    }
    std::erase_if(removable, [this](std::uint64_t old) { return remove_leaf(old); });
    const std::lock_guard lock(mutex_);
    leftover_.insert(leftover_.end(), removable.begin(), removable.end());
    return {};
  });
}

}  // namespace mayfly::os
