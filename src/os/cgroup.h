// Limits and clocks by control groups, version 1 or 2, below the group that the node itself is in. The
// launcher asks for a leaf group per process, puts the process in, and gives it back when the process is gone;
// a few are made ahead, since making one takes longer than using one.
//
// Making and removing groups and putting a process in can wait for milliseconds in the kernel (for an RCU grace
// period), so a thread of its own does that, in order. Limits and clocks are quick and done at once.
// freeze() stops all that is in a group, by version 2's freezer, beside version 1's controllers, too: what is frozen so can still be
// killed. Its memory goes to swap where there is any (MADV_PAGEOUT, Linux 5.10); what others have mapped as well stays.
// Where the node may not make groups there are none: note() says why, take() gives none, and limits are
// rlimits instead. A node holds a lock on its folder; what a dead node left is removed at open().
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "os/fd.h"

namespace mayfly::os {

struct GroupLimits {
  Bytes memory_max;
  double cpu = 1;          // cores: a ceiling, and the weight when cores are short
  int processes_max = 64;  // threads count
};

struct GroupUsage {
  Duration cpu{};          // since take()
  Bytes memory;            // charged now, page cache included
  std::uint64_t out_of_memory = 0;  // processes the kernel killed for it since take()
};

class Cgroups {
 public:
  // One leaf; a value that names it. Empty: none.
  class Group {
   public:
    Group() = default;
    explicit operator bool() const { return number_ != 0; }

   private:
    friend class Cgroups;
    std::uint64_t number_ = 0;
    Duration cpu_before_{};
    std::uint64_t killed_before_ = 0;
  };

  // `proc`: for tests, another /proc/self. `spare`: leaves kept ready.
  [[nodiscard]] static std::unique_ptr<Cgroups> open(const std::string& proc = "/proc/self", std::size_t spare = 8);
  // No groups, for whoever does not want them.
  [[nodiscard]] static std::unique_ptr<Cgroups> none() { return std::unique_ptr<Cgroups>(new Cgroups(0)); }
  ~Cgroups();
  Cgroups(const Cgroups&) = delete;
  Cgroups& operator=(const Cgroups&) = delete;

  bool works() const { return !roots_.empty(); }
  const std::string& note() const { return note_; }  // "" or why there are none, for people

  [[nodiscard]] Group take();
  // At once, for a group that a process is in; the first that could not be set is the error.
  [[nodiscard]] Result<void> limit(const Group& group, const GroupLimits& limits);
  // Soon: sets the limits, if there are any, then puts the process in. `then` is called after that, on the thread that did it, also
  // where it failed; without a group at once.
  void put_in(const Group& group, int pid, const GroupLimits* limits = nullptr, std::function<void()> then = {});
  [[nodiscard]] GroupUsage usage(const Group& group) const;
  // Processes and threads that it was refused since take(): it had as many as it may.
  [[nodiscard]] std::uint64_t refused(const Group& group) const { return group ? read_refused(group.number_) : 0; }
  bool can_freeze() const { return !freezer_.empty(); }
  void freeze(const Group& group);                   // soon
  void thaw(const Group& group);                     // sooner: before whatever else was asked for
  void give_back(Group&& group);                     // whatever is in it still is killed
  [[nodiscard]] std::string take_failure();          // the last thing that went wrong behind our back; "" once told
  void settle();                                     // waits until all that was asked for is done: tests

 private:
  struct Root {  // this node's folder in one hierarchy
    std::string path;
    std::vector<std::string> controllers;
  };

  static Result<void> write_file(const std::string& path, std::string_view text);  // one write, to a file of the kernel's
  explicit Cgroups(std::size_t spare) : spare_wanted_(spare) {}
  Result<void> find_roots(const std::string& proc);
  Result<void> open_unified(const std::string& path);
  void find_freezer(const std::string& proc);
  void post(std::function<Result<void>()> job, bool first = false);
  void serve(const std::stop_token& stop);
  [[nodiscard]] Result<void> move_in(std::uint64_t number, int pid, const std::optional<GroupLimits>& limits);
  Result<void> make_leaf(std::uint64_t number) const;
  Result<void> fill_spare();
  bool kill_all(std::uint64_t number) const;         // false: nothing was in it
  std::vector<int> members(std::uint64_t number) const;
  std::string freezer_leaf(std::uint64_t number) const;
  bool is_to_be_frozen(std::uint64_t number);
  Result<void> freeze_now(std::uint64_t number);
  Result<void> gather(std::uint64_t number) const;   // all that is in it into the freezer's leaf
  Result<void> page_out(std::uint64_t number, int pid);
  bool remove_leaf(std::uint64_t number) const;
  Result<void> set_limits(std::uint64_t number, const GroupLimits& limits) const;
  std::string leaf(const Root& root, std::uint64_t number) const;
  const Root* root_of(std::string_view controller) const;
  std::uint64_t read_killed(std::uint64_t number) const;
  std::uint64_t read_refused(std::uint64_t number) const;
  std::uint64_t read_memory(std::uint64_t number) const;
  Duration read_cpu(std::uint64_t number) const;

  // Fixed once opened.
  const std::size_t spare_wanted_;
  bool unified_ = false;
  std::vector<Root> roots_;
  std::vector<Fd> locks_;
  std::string freezer_;                              // version 2's folder; that of roots_ where that is all there is
  std::string note_;

  std::mutex mutex_;                                 // for what follows
  std::condition_variable_any changed_;
  std::deque<std::function<Result<void>()>> jobs_;
  bool busy_ = false;
  std::vector<std::uint64_t> spare_;
  std::vector<std::uint64_t> leftover_;              // not empty yet when they were to be removed
  std::set<std::uint64_t> frozen_;                   // … or will be
  std::uint64_t made_ = 0;
  std::string failure_;
  std::jthread thread_;
};

}  // namespace mayfly::os
