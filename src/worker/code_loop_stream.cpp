// The part of a code instance's host that streams a response to a caller who takes it as it comes (worker/lambda_stream.h).
#include <utility>

#include "base/http.h"
#include "os/clock.h"
#include "worker/code_loop.h"

namespace mayfly::worker {
namespace {

constexpr std::string_view kMode = "Lambda-Runtime-Function-Response-Mode", kContentType = "Content-Type";

std::string_view header(std::span<const HttpHeader> headers, std::string_view name) {
  for (const HttpHeader& header : headers)
    if (same_word(header.name, name)) return header.value;
  return {};
}

}  // namespace

// AWS's client for Go says no mode; it sends all answers chunked, of which those that are JSON are there at once.
bool CodeLoop::begin_stream(ConnectionId from, std::string_view path, std::span<const HttpHeader> headers) {
  if (!running_ || stream_ || held_outcome_) return false;
  const domain::ReplyForm form = running_->frame.head.reply_form;
  const std::string_view type = header(headers, kContentType);
  const bool streams = same_word(header(headers, kMode), "streaming") || (!type.empty() && !type.starts_with("application/json"));
  if (!domain::takes_parts(form) || !streams || !api_.begin_stream(from, path)) return false;
  stream_from_ = from;
  stream_.emplace(loop_, link_, LambdaStream::Options{.ticket = running_->frame.head.ticket, .http = form != domain::ReplyForm::parts,
                                                      .content_type = std::string(type),
                                                      .size_max = options_.stream_max},
                  [this] { go_on(); });
  return true;
}

// Of a call that has its answer nothing more is wanted; the program may write on.
bool CodeLoop::pass_on(ConnectionId from, std::string_view bytes) {
  if (!stream_ || from != stream_from_) return true;
  stream_->write(bytes);
  if (stream_->too_large()) {  // it may write on without end
    RuntimeApi::Step step = api_.fail_stream(from, FunctionError(*stream_->error()));
    if (step.outcome) step.outcome->last = true;
    do_step(std::move(step));
  }
  return !stream_ || !stream_->full();
}

void CodeLoop::go_on() {
  if (!held_outcome_) return port_->resume(stream_from_);
  finish(*std::exchange(held_outcome_, std::nullopt));
  begin_next();
}

bool CodeLoop::waits_for_stream(RuntimeApi::Outcome& outcome) {
  if (outcome.error) return false;
  stream_->finish();
  if (stream_->error()) outcome.error = stream_->error();
  if (outcome.error || !stream_->full()) return false;
  held_outcome_ = std::move(outcome);
  return true;
}

// The program has answered and waits for its next call: that this caller was slow ends no instance.
void CodeLoop::drop_answer(const Error& error) {
  const bool last = held_outcome_->last;
  if (extensions_.idle()) loop_.cancel(deadline_);
  telemetry_.call_done("success", {}, stream_->bytes(), os::monotonic_now());
  refuse(let_go(), error, last);
  if (last) end(End::code_ended);
}

// Whoever writes it may be waiting to be read.
void CodeLoop::end_stream(domain::ReplyHead& head) {
  if (stream_->begun()) head.part = domain::ReplyPart::end;
  stream_.reset();
  held_outcome_.reset();
  port_->resume(stream_from_);
}

}  // namespace mayfly::worker
