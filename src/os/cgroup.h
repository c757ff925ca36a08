// Limits and clocks by control groups, version 1 or 2, below the group that the node itself is in. The
// launcher asks for a leaf group per process, puts the process in, and gives it back when the process is gone;
// a few are made ahead, since making one takes longer than using one.
//
// Where the node may not make groups there are none: open() says why in note(), take() gives none, and
// limits are rlimits instead. A node holds a lock on its folder; what a dead node left is removed at open().
#pragma once
#include <cstdint>
#include <string>
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

  // `proc` and `spare`: the tests' own /proc/self and how many leaves to keep ready.
  [[nodiscard]] static Cgroups open(const std::string& proc = "/proc/self", int spare = 8);
  // No groups at all, for whoever does not want them.
  Cgroups() = default;
  Cgroups(Cgroups&&) = default;
  Cgroups& operator=(Cgroups&&) = default;
  ~Cgroups();

  bool works() const { return !roots_.empty(); }
  const std::string& note() const { return note_; }  // "" or why there are none, for people

  [[nodiscard]] Group take();
  [[nodiscard]] Result<void> limit(const Group& group, const GroupLimits& limits);
  [[nodiscard]] Result<void> attach(const Group& group, int pid);
  [[nodiscard]] GroupUsage usage(const Group& group) const;
  void give_back(Group&& group);  // its processes are gone
  // Makes leaves ahead; call it when there is time. True if there was something to do.
  bool prepare();

 private:
  struct Root {  // this node's folder in one hierarchy
    std::string path;
    std::vector<std::string> controllers;
  };

  Result<void> find_roots(const std::string& proc);
  Result<void> open_unified(const std::string& path);
  Result<void> make_leaf(std::uint64_t number);
  void remove_leaf(std::uint64_t number);
  std::string leaf(const Root& root, std::uint64_t number) const;
  const Root* root_of(std::string_view controller) const;
  std::uint64_t read_killed(std::uint64_t number) const;
  Duration read_cpu(std::uint64_t number) const;

  bool unified_ = false;
  std::vector<Root> roots_;
  std::vector<Fd> locks_;
  std::vector<std::uint64_t> spare_;
  std::size_t spare_wanted_ = 0;
  std::uint64_t made_ = 0;
  std::string note_;
};

}  // namespace mayfly::os
