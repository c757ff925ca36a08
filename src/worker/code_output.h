// What a function's program prints, on its way to this process's own stderr, which is the function's log. Between both, so that a
// program that prints more than the log takes is neither blocked nor refused: what does not fit is dropped, and counted.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "os/fd.h"
#include "os/loop.h"

namespace mayfly::worker {

class CodeOutput final : os::Watcher {
 public:
  using Also = std::function<void(std::string_view bytes)>;

  // `log`: a descriptor that doesn't block. `also`: who is told all of it, the dropped bytes, too.
  [[nodiscard]] static Result<std::unique_ptr<CodeOutput>> create(os::Loop& loop, int log, Also also = {});
  ~CodeOutput();
  CodeOutput(const CodeOutput&) = delete;
  CodeOutput& operator=(const CodeOutput&) = delete;

  const os::Fd& far() const { return far_; }  // the program's end, until it has it
  void forget_far() { far_.reset(); }
  void drain();                               // what is there now

 private:
  CodeOutput(os::Loop& loop, int log, Also also) : loop_(loop), log_(log), also_(std::move(also)) {}
  void on_events(std::uint32_t events) override;
  long move();                                // bytes; 0: everybody who could print has gone; below: nothing now
  void say(std::string_view bytes);

  os::Loop& loop_;
  const int log_;
  const Also also_;
  os::Fd near_, far_;
  bool watched_ = false;
  std::uint64_t dropped_ = 0;
};

}  // namespace mayfly::worker
