// How a process that measured a model tells its parent: fixed-width numbers and lengths, one after the other. Both are this binary; a
// reader still checks every length, since what a model crashed may have written anything.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace mayfly::worker {
struct Trial;
}

namespace mayfly::worker::wire {

[[nodiscard]] std::string packed(std::uint64_t number);
[[nodiscard]] std::string packed(Duration duration);
[[nodiscard]] std::string packed(const Trial& trial);

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t number();
  double real();
  Duration duration() { return Duration(static_cast<Duration::rep>(number())); }
  std::string_view text();
  // Of things that take at least so many bytes each; 0 where more are said than there can be.
  std::uint64_t count(std::uint64_t bytes_each);
  bool good() const { return good_; }  // false: it was cut short

 private:
  std::string_view take(std::uint64_t size);
  std::string_view bytes_;
  bool good_ = true;
};

[[nodiscard]] Result<Trial> trial_of(std::string_view bytes);

}  // namespace mayfly::worker::wire
