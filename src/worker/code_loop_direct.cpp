// CodeLoop: calls that the program has from the node itself (domain/direct.h). What stands here happens when something has woken this
// process, which may be many calls later: the ring tells of all of them, in order.
#include "domain/arn.h"
#include "domain/direct.h"
#include "worker/code_loop.h"

namespace mayfly::worker {

// The program reads of its function first; then the socket is the node's.
Result<os::Fd> CodeLoop::make_direct() {
  if (!takes_direct_calls(order_) || extensions_.any()) return os::Fd();
  TRY(auto pair, os::make_packet_pair());
  const domain::DirectStart start{.answer_max = options_.response_max};
  const std::string arn = domain::function_arn(order_.function);
  if (os::send_packet_now(pair.first.get(), os::bytes_of(start), arn) <= 0) return os::Fd();
  direct_ = std::move(pair.first);
  output_->before_reading([this] {
    if (told_start_) take_frames();
  });
  return std::move(pair.second);
}

bool CodeLoop::take_direct(const domain::RequestHead& head) {
  if (head.direct == domain::DirectStep::begun) return begin_direct(head);
  if (!running_ || !runs_directly_ || running_->frame.head.ticket != head.ticket) return true;  // it was answered here
  loop_.cancel(deadline_);
  let_go();
  return true;
}

bool CodeLoop::begin_direct(const domain::RequestHead& head) {
  if (running_ || !waiting_.empty()) return false;     // one at a time
  const auto at = [](std::uint64_t ns) { return Instant{Duration(static_cast<Duration::rep>(ns))}; };
  running_ = Call{.frame = {.head = head}, .begun = at(head.begun_ns), .given = at(head.begun_ns)};
  runs_directly_ = others_cpu_ = true;
  const auto [id_high, id_low] = head_id(head);
  output_->begin_call(id_high, id_low);
  deadline_ = loop_.at(at(head.deadline_ns), [this] { overdue(); });
  return true;
}

}  // namespace mayfly::worker
