// Lines from a pipe that sandboxed processes write their stderr to. At most so many a second reach the owner; while
// the budget is spent the pipe is not read at all, so a process that floods it costs the node nothing.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "os/fd.h"
#include "os/loop.h"

namespace mayfly::instances {

class LogReader final : os::Watcher {
 public:
  using OnLine = std::function<void(std::string_view line)>;

  LogReader(os::Loop& loop, os::Fd pipe, int lines_per_second, OnLine on_line);
  ~LogReader();
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  void say(std::string_view line);  // one that came another way, within the same budget
  void drain();                     // what is there now: before the pipe is given up

 private:
  void on_events(std::uint32_t events) override;
  void take(std::string_view bytes);
  void say_line();
  void refill();

  os::Loop& loop_;
  os::Fd pipe_;
  const int lines_max_;
  OnLine on_line_;
  std::string line_;
  int left_;
  bool watched_ = false, ended_ = false;
  os::Loop::TimerId refill_;
};

}  // namespace mayfly::instances
