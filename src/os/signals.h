// The signals that end the node, as a descriptor for the loop. SIGTERM and SIGINT are blocked from here on, SIGPIPE is
// ignored: a peer that leaves is an error of a call, not the end of the process. Before the first thread starts.
#pragma once
#include <utility>

#include "base/result.h"
#include "os/fd.h"

namespace mayfly::os {

[[nodiscard]] Result<Fd> catch_end_signals();
// The same for as long as it is there: then they end the process again.
class HeldEndSignals {
 public:
  [[nodiscard]] static Result<HeldEndSignals> hold();
  HeldEndSignals(HeldEndSignals&&) = default;
  HeldEndSignals& operator=(HeldEndSignals&&) = delete;
  ~HeldEndSignals();
  [[nodiscard]] bool came() const;  // takes it

 private:
  explicit HeldEndSignals(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};
// From here on, this process gets a SIGTERM when the one that started it has ended.
[[nodiscard]] Result<void> end_with_parent();
// True if one has come; takes it.
[[nodiscard]] bool take_signal(const Fd& signals);

}  // namespace mayfly::os
