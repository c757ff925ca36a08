#include "worker/reply_stream.h"

#include <algorithm>
#include <utility>

namespace mayfly::worker {
namespace {

using domain::ReplyHead;
using domain::ReplyPart;

constexpr Duration kRingFull = std::chrono::milliseconds(1);  // the node reads a ring in every turn of its loop, and says nothing of it

}  // namespace

ReplyStream::ReplyStream(os::Loop& loop, FrameLink& link, std::uint64_t ticket, std::string head, std::function<void()> resumed)
    : loop_(loop), link_(link), ticket_(ticket), head_(std::move(head)), resumed_(std::move(resumed)) {}

ReplyStream::~ReplyStream() { loop_.cancel(again_); }

void ReplyStream::write(std::string_view bytes) {
  bytes_ += bytes.size();
  const std::size_t left = sent_ < held_.size() ? 0 : send(bytes);
  if (left < bytes.size()) held_.append(bytes.substr(left));
}

std::size_t ReplyStream::send(std::string_view bytes) {
  std::size_t done = 0;
  while (!begun_ || done < bytes.size()) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>({bytes.size() - done, window_, domain::kPartMax}));
    if (begun_ && size == 0) return done;                     // taken() goes on
    const ReplyHead head{.ticket = ticket_, .json_size = head_.size(), .part = begun_ ? ReplyPart::piece : ReplyPart::begin};
    if (!link_.part(head, head_, bytes.substr(done, size))) {
      loop_.cancel(again_);
      again_ = loop_.after(kRingFull, [this] { send_held(); });
      return done;
    }
    begun_ = true;
    head_.clear();
    window_ -= size;
    done += size;
  }
  return done;
}

void ReplyStream::send_held() {
  const std::string_view held = std::string_view(held_).substr(sent_);
  sent_ += send(held);
  if (full()) return;
  held_.clear();
  sent_ = 0;
  const std::function<void()> resumed = resumed_;  // which may end this
  resumed();
}

void ReplyStream::taken(std::uint64_t bytes) {
  window_ = std::min(window_ + bytes, domain::kStreamWindow);
  if (!held_.empty()) send_held();
}

}  // namespace mayfly::worker
