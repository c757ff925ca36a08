// Bytes between two connected sockets, both ways, as they come and never looked at. Driven by the loop of the process that holds both.
//
// Promises: at most kBufferMax bytes are held of each direction, a side that does not read is not read for. What a side sent before its
// end is delivered. With Ends::each, an end is passed on and the other direction goes on, for kHalfMax without a byte; with
// Ends::both, the first end is the end of all. A side that breaks ends both, and with Ends::each breaks the other, too.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "os/listener.h"
#include "os/loop.h"

namespace mayfly::worker {

class Relay {
 public:
  static constexpr std::size_t kBufferMax = 64 * 1024;
  static constexpr Duration kHalfMax = std::chrono::seconds(60);
  enum class Ends : std::uint8_t { both, each };

  // `over` is called once, from a turn of its own: it may destroy the relay.
  Relay(os::Loop& loop, Ends ends, std::function<void()> over) : loop_(loop), ends_(ends), over_(std::move(over)) {}
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  [[nodiscard]] Result<void> open(os::Fd first, os::Fd second);
  void pump();

 private:
  // Edges: each side is read until it has no more or the buffer is full, and written until it takes no more; whichever ends the wait is
  // an event.
  struct Side final : os::Watcher {
    explicit Side(Relay& of) : relay(of) {}
    void on_events(std::uint32_t events) override;
    Relay& relay;
    os::Fd socket;
    bool readable = true, ended = false, told = false;  // told: that the other side has ended
    std::string out;                                     // to be written to it
    std::size_t sent = 0;
  };

  bool carry(Side& from, Side& to);
  bool flush(Side& to);
  void pass_end(Side& from, Side& to);
  bool is_over() const;
  void wait_for_half();

  os::Loop& loop_;
  const Ends ends_;
  const std::function<void()> over_;
  Side first_{*this}, second_{*this};
  bool broken_ = false, buried_ = false;
  os::Loop::TimerId burying_{}, half_{};
};

}  // namespace mayfly::worker
