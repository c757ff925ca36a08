// Replies that come in parts: what is let through, what the instance is told, and what a caller that doesn't read can cost.
#include <algorithm>
#include <utility>

#include "serve/dispatcher.h"

namespace mayfly::serve {

using instances::Process;
using instances::Reply;

void Dispatcher::on_part(Process& process, Reply&& reply) {
  Slot* slot = find({reply.head.ticket});
  if (!slot || slot->process != &process) return;
  if (slot->step == Step::orphaned && reply.head.part == domain::ReplyPart::begin)
    fleet_.cancel(process, {reply.head.ticket});  // nobody reads it
  if (slot->step != Step::running) return;
  const auto index = static_cast<std::uint32_t>(reply.head.ticket);
  const bool begins = reply.head.part == domain::ReplyPart::begin;
  const std::uint64_t size = reply.body.size() - (begins ? reply.head.json_size : 0);
  if (begins == slot->begun || !domain::takes_parts(slot->call.reply_form))
    return refuse_parts(index, {Code::internal, "the instance answered in parts that nobody asked for"}, true);
  if (slot->untaken + slot->owed + size > domain::kStreamWindow)
    return refuse_parts(index, {Code::internal, "the instance sent more of its reply than was let"}, true);
  if (untaken_ + size > limits_.untaken_max)
    return refuse_parts(index, {Code::exhausted, "callers of this node have " + std::to_string(untaken_) +
                                " bytes of their answers to take, as many as it keeps: read faster, or try again later"}, false);
  slot->untaken += size;
  untaken_ += size;
  if (!begins) return slot->sink->on_piece({reply.head.ticket}, reply.body);
  slot->begun = true;
  InvocationReply answered{.ok = true, .begins = true, .body = reply.body, .body_size = reply.body.size(),
                           .json_size = reply.head.json_size, .version = static_cast<int>(slot->record.version_number)};
  answered.phases.cold = slot->record.cold;
  answered.phases.init = std::chrono::microseconds(slot->record.init_us);
  answered.phases.queue = slot->given - slot->call.arrived;
  slot->sink->on_reply({reply.head.ticket}, std::move(answered));
}

// The instance still holds the call; the slot stays until its end, or its death.
void Dispatcher::refuse_parts(std::uint32_t index, Error error, bool lied) {
  Slot& slot = slots_[index];
  const Ticket ticket = ticket_of(index);
  const bool begun = slot.begun;
  close_record(slot, &error);
  slot.step = Step::orphaned;
  ReplySink* sink = std::exchange(slot.sink, nullptr);
  if (lied) fleet_.kill(*slot.process, error.message);
  else fleet_.cancel(*slot.process, ticket);
  InvocationReply reply{.error = std::move(error), .version = static_cast<int>(slot.record.version_number)};
  if (begun) sink->on_end(ticket, std::move(reply));
  else sink->on_reply(ticket, std::move(reply));
}

void Dispatcher::taken(Ticket ticket, std::uint64_t bytes) {
  Slot* slot = find(ticket);
  if (!slot || !slot->begun) return;
  bytes = std::min(bytes, slot->untaken);
  slot->untaken -= bytes;
  untaken_ -= bytes;
  if (slot->step != Step::running) return;
  slot->owed += bytes;
  if (slot->owed >= domain::kStreamWindow / 2) tell_taken(static_cast<std::uint32_t>(ticket.number));
}

void Dispatcher::tell_taken(std::uint32_t index) {
  Slot& slot = slots_[index];
  if (fleet_.taken(*slot.process, ticket_of(index), slot.owed)) slot.owed = 0;
  else if (std::ranges::find(untold_, ticket_of(index)) == untold_.end()) untold_.push_back(ticket_of(index));
}

void Dispatcher::tell_untold() {
  for (const Ticket ticket : std::exchange(untold_, {}))
    if (const Slot* slot = find(ticket); slot && slot->step == Step::running && slot->owed > 0)
      tell_taken(static_cast<std::uint32_t>(ticket.number));
}

void Dispatcher::end_parts(Slot& slot) {
  untaken_ -= slot.untaken;
  slot.untaken = slot.owed = 0;
  slot.begun = false;
}

}  // namespace mayfly::serve
