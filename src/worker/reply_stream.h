// One call's reply in parts (domain/frame.h), at the end of who hosts its program: takes bytes as they come, sends what the caller's
// window and the ring let, and holds the rest. Whoever feeds it stops while it is full(), so that a slow caller slows the program.
//
// Promises: bytes leave in order; at most domain::kStreamWindow of them are not taken yet; `resumed` is called, from
// the loop or taken(), once nothing is held any more, and may end this. The last frame is not its business: FrameLink::reply() with
// ReplyPart::end where begun().
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "os/loop.h"
#include "worker/frame_link.h"

namespace mayfly::worker {

class ReplyStream {
 public:
  // `head`: an HTTP head, kHeadMax bytes at most, or "".
  ReplyStream(os::Loop& loop, FrameLink& link, std::uint64_t ticket, std::string head, std::function<void()> resumed);
  ~ReplyStream();
  ReplyStream(const ReplyStream&) = delete;
  ReplyStream& operator=(const ReplyStream&) = delete;

  static constexpr std::size_t kHeadMax = domain::kInlineMax - domain::kPartMax;

  // Begins it where that has not happened; "" does no more than that.
  void write(std::string_view bytes);
  void taken(std::uint64_t bytes);
  // Something is held: write no more than has to be.
  bool full() const { return !begun_ || sent_ < held_.size(); }
  // The node knows that it comes in parts.
  bool begun() const { return begun_; }
  std::uint64_t bytes() const { return bytes_; }   // that were written

 private:
  std::size_t send(std::string_view bytes);        // how many left
  void send_held();

  os::Loop& loop_;
  FrameLink& link_;
  const std::uint64_t ticket_;
  std::string head_, held_;
  const std::function<void()> resumed_;
  std::size_t sent_ = 0;                           // of held_
  std::uint64_t window_ = domain::kStreamWindow, bytes_ = 0;
  bool begun_ = false;
  os::Loop::TimerId again_{};
};

}  // namespace mayfly::worker
