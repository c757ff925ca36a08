#include "worker/code_loop.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/hex.h"
#include "domain/arn.h"
#include "domain/link.h"
#include "os/clock.h"
#include "os/listener.h"

namespace mayfly::worker {
namespace {

using domain::MessageKind;
using domain::ReplyHead;
using namespace std::chrono_literals;

constexpr std::size_t kTextMax = 4096;  // of a reason
constexpr std::size_t kWaitingMax = 64;  // the node sends one at a time; more than this is not its protocol

std::uint64_t ns(Duration d) { return static_cast<std::uint64_t>(d.count()); }

// A UUID: the one that came with the call, else one that holds its ticket.
std::string id_of(const domain::RequestHead& head) {
  std::uint64_t halves[2] = {};
  for (std::size_t i = 0; i < sizeof head.request_id; ++i) halves[i / 8] = halves[i / 8] << 8 | head.request_id[i];
  if (halves[0] != 0 || halves[1] != 0) return uuid_text(halves[0], halves[1]);
  constexpr std::uint64_t kVersion = 0x4000, kVariant = std::uint64_t{0x8000} << 48;
  return uuid_text((head.ticket & ~std::uint64_t{0xffff}) | kVersion, kVariant | (head.ticket & 0xffff'ffff'ffff));
}

std::string exit_text(std::optional<int> status) {
  if (!status) return "Runtime.ExitError: nobody knows how it ended";
  const int wait_status = *status;
  if (!WIFSIGNALED(wait_status)) return "Runtime.ExitError: exit status " + std::to_string(WEXITSTATUS(wait_status));
  const char* name = ::sigdescr_np(WTERMSIG(wait_status));
  return "Runtime.ExitError: signal " + std::to_string(WTERMSIG(wait_status)) + " (" + (name ? name : "unknown") + ")";
}

bool send_failed(int control, const Error& error) {
  const std::string_view text = std::string_view(error.message).substr(0, kTextMax);
  const domain::FailedMessage failed{.head = {MessageKind::failed, static_cast<std::uint32_t>(text.size())},
                                     .code = static_cast<std::uint32_t>(error.code)};
  std::string packet(sizeof failed, '\0');
  std::memcpy(packet.data(), &failed, sizeof failed);
  packet += text;
  return os::send_packet(control, std::as_bytes(std::span(packet))).has_value();
}

std::string seconds_of(Duration d) {
  const auto hundredths = std::max<std::int64_t>(0, d / 10ms);
  const std::string fraction = std::to_string(hundredths % 100);
  return std::to_string(hundredths / 100) + (fraction.size() < 2 ? ".0" : ".") + fraction;
}

}  // namespace

CodeLoop::CodeLoop(os::Loop loop, CodeLink link, domain::CodeOrder order, CodeOptions options, CodeProgram program)
    : link_(std::move(link)), control_(link_.control), order_(std::move(order)), options_(std::move(options)),
      loop_(std::move(loop)),
      api_({.function_arn = domain::function_arn(order_.function), .response_max = options_.response_max}),
      control_port_([this] {
        if (!control_.read()) end(End::node_gone);
        else if (control_.stopping()) take_frames();
      }),
      bell_port_([this] {
        os::clear_doorbell(link_.in.doorbell());
        take_frames();
      }),
      exit_port_([this] { code_ended(); }), program_(std::move(program)) {}

CodeLoop::~CodeLoop() { static_cast<void>(program_.end()); }

CodeLoop::End CodeLoop::run() {
  begun_ = os::monotonic_now();
  if (const auto started = start(); !started) {
    say_failed(started.error().message);
    return End::not_started;
  }
  take_frames();
  while (!end_ && loop_.turn(1h)) {}
  static_cast<void>(program_.end());
  if (output_) output_->drain();
  while (const auto frame = *end_ == End::node_gone ? std::nullopt : link_.in.front()) {
    if (!accept(*frame)) break;
    link_.in.pop();
  }
  for (const Call& call : waiting_) refuse(call, {Code::unavailable, "the function's program ended before this call's turn"}, true);
  link_.out.wake();
  return *end_;
}

Result<void> CodeLoop::start() {
  const auto asked = [this](ConnectionId from, RuntimeRequest&& request) { do_step(api_.request(from, std::move(request))); };
  TRY(port_, CodePort::create(loop_, options_.address, options_.response_max,
                              {.request = asked, .left = [this](ConnectionId from) { api_.left(from); }}));
  TRY(output_, CodeOutput::create(loop_, STDERR_FILENO));
  if (!order_.model_socket.empty()) { TRY(models_, ModelBridge::create(loop_, order_.model_socket)); }
  domain::CodeOrder order = order_;
  if (models_) {
    order.environment.push_back("MAYFLY_MODEL_URL=http://" + models_->address());
    order.environment.push_back("MAYFLY_MODEL_SOCKET=" + order.model_socket);
  }
  const auto begun = program_.start(order, port_->address(), output_->far());
  output_->forget_far();
  if (!begun) return fail(begun.error().code, "Runtime.InvalidEntrypoint: " + begun.error().message + " (in " + order_.folder + ")");
  TRY_VOID(loop_.watch(program_.pidfd().get(), os::kReadable, exit_port_));
  TRY_VOID(loop_.watch(control_.socket(), os::kReadable, control_port_));
  TRY_VOID(loop_.watch(link_.in.doorbell(), os::kReadable, bell_port_));
  return {};
}

void CodeLoop::end(End how) {
  if (!end_) end_ = how;
}

// --- from the node

void CodeLoop::take_frames() {
  do {
    while (const auto frame = end_ ? std::nullopt : link_.in.front()) {
      if (!accept(*frame)) return end(End::node_gone);
      link_.in.pop();
    }
    if (link_.in.broken()) return end(End::node_gone);
  } while (!end_ && !link_.in.prepare_sleep());
  begin_next();
}

bool CodeLoop::accept(std::span<const std::byte> frame) {
  Call call{.begun = os::monotonic_now()};
  if (frame.size() < sizeof call.head) return false;
  std::memcpy(&call.head, frame.data(), sizeof call.head);
  if (call.head.cancelled) {
    cancel(call.head.ticket);
    return true;
  }
  if (call.head.in_memfd) {
    if (!take_large_body(call)) return false;
  } else {
    const auto body = frame.subspan(sizeof call.head);
    call.body.assign(reinterpret_cast<const char*>(body.data()), body.size());
  }
  if (call.head.format != domain::WireFormat::plain_json) {
    refuse(call, {Code::unimplemented, "this function is code and takes no tensors: call POST /functions/NAME, or Lambda's Invoke"});
    return true;
  }
  waiting_.push_back(std::move(call));
  return waiting_.size() <= kWaitingMax;
}

bool CodeLoop::take_large_body(Call& call) {
  const auto memfd = control_.take_body(call.head.ticket);
  if (!memfd) return false;
  const auto mapped = os::map_file(memfd->get(), call.head.body_size, os::Access::read);
  if (!mapped) return false;
  call.body.assign(mapped->text());
  return true;
}

void CodeLoop::cancel(std::uint64_t ticket) {
  const auto at = std::ranges::find(waiting_, ticket, [](const Call& call) { return call.head.ticket; });
  if (at != waiting_.end()) {
    refuse(*at, {Code::cancelled, "cancelled before it began"});
    waiting_.erase(at);
    return;
  }
  if (!running_ || running_->head.ticket != ticket) return;
  const Call call = *std::exchange(running_, std::nullopt);
  loop_.cancel(deadline_);
  if (call.given == Instant{}) {
    api_.withdraw();
    return refuse(call, {Code::cancelled, "cancelled before it began"});
  }
  refuse(call, {Code::cancelled, "stopped while it ran: whoever asked had left, or its time was over"}, true);
  end(End::given_up);
}

void CodeLoop::begin_next() {
  while (!end_ && !running_ && !waiting_.empty()) {
    running_ = std::move(waiting_.front());
    waiting_.pop_front();
    const Instant deadline{Duration(static_cast<Duration::rep>(running_->head.deadline_ns))}, now = os::monotonic_now();
    if (deadline <= now) {
      refuse(*running_, {Code::deadline_exceeded, "its time was over before it began"});
      running_.reset();
      continue;
    }
    const auto until = os::wall_now().since_epoch + std::chrono::duration_cast<std::chrono::microseconds>(deadline - now);
    deadline_ = loop_.at(deadline, [this] { overdue(); });
    do_step(api_.invoke({.id = id_of(running_->head), .deadline_ms = static_cast<std::uint64_t>(until / 1ms),
                         .event = std::exchange(running_->body, {})}));
  }
  link_.out.wake();
  if (control_.stopping() && !running_ && waiting_.empty() && link_.in.empty()) end(End::stopped);
}

void CodeLoop::overdue() {
  const Call call = *std::exchange(running_, std::nullopt);
  refuse(call, {Code::deadline_exceeded, "Task timed out after " + seconds_of(os::monotonic_now() - call.begun) + " seconds"}, true);
  end(End::given_up);
}

// --- from the program

void CodeLoop::do_step(RuntimeApi::Step&& step) {
  if (step.given) running_->given = os::monotonic_now();
  if (step.ready) say_ready();
  if (step.outcome) finish(std::move(*step.outcome));
  if (step.answer) port_->answer(step.answer->to, std::move(step.answer->reply));
  if (step.init_failed) {
    say_failed(step.init_failed->text());
    end(End::not_started);
  }
  if (step.outcome) begin_next();
}

void CodeLoop::say_ready() {
  told_start_ = true;
  cpu_told_ = cpu_now();
  const domain::ReadyMessage ready{.credit = 1, .threads = 1, .load_ns = ns(os::monotonic_now() - begun_), .cpu_ns = ns(cpu_told_)};
  if (!os::send_packet(control_.socket(), os::bytes_of(ready))) end(End::node_gone);
}

void CodeLoop::say_failed(const std::string& text) {
  if (std::exchange(told_start_, true)) return;
  if (!send_failed(control_.socket(), {Code::internal, text})) end(End::node_gone);
}

void CodeLoop::code_ended() {
  port_->read_all();  // its last words may be an answer
  output_->drain();
  if (end_) return;
  loop_.unwatch(program_.pidfd().get());
  static_cast<void>(cpu_now());  // the last look at its clock
  const std::string text = exit_text(program_.end()) + "; its last words are in the log";
  if (running_) refuse(*std::exchange(running_, std::nullopt), {Code::unavailable, text}, true);
  end(told_start_ ? End::code_ended : End::not_started);
  say_failed(text);
}

// --- replies

void CodeLoop::finish(RuntimeApi::Outcome&& outcome) {
  const Call call = *std::exchange(running_, std::nullopt);
  loop_.cancel(deadline_);
  ReplyHead head{.run_ns = ns(os::monotonic_now() - call.given), .rows = 1, .batch_rows = 1, .last = outcome.last};
  if (outcome.last) end(End::code_ended);
  if (!outcome.error) {
    if (outcome.response.size() <= domain::kInlineMax || control_.send_body(call.head.ticket, outcome.response)) {
      head.in_memfd = outcome.response.size() > domain::kInlineMax;
      return reply(call, head, outcome.response);
    }
    return refuse(call, {Code::exhausted, "the response is too large for this instance's memory"});
  }
  head.code = static_cast<std::uint8_t>(Code::internal);
  head.function_error = !outcome.error->json.empty();
  const std::string text = outcome.error->text();
  reply(call, head, head.function_error ? std::string_view(outcome.error->json) : std::string_view(text).substr(0, kTextMax));
}

void CodeLoop::refuse(const Call& call, const Error& error, bool last) {
  ReplyHead head{.rows = 1, .batch_rows = 1, .code = static_cast<std::uint8_t>(error.code), .last = last};
  if (call.given != Instant{}) head.run_ns = ns(os::monotonic_now() - call.given);
  reply(call, head, std::string_view(error.message).substr(0, kTextMax));
}

void CodeLoop::reply(const Call& call, ReplyHead head, std::string_view body) {
  head.ticket = call.head.ticket;
  head.body_size = body.size();
  head.begun_ns = ns(call.begun.since_boot);
  head.cpu_ns = cpu_since_last();
  if (head.in_memfd) body = {};
  std::byte* at = link_.out.reserve(sizeof head + body.size());
  if (!at) return end(End::node_gone);  // with a credit of 1 there is room for the reply, or the node does not keep to it
  std::memcpy(at, &head, sizeof head);
  std::ranges::copy(std::as_bytes(std::span(body)), at + sizeof head);
  link_.out.publish(sizeof head + body.size());
  link_.out.wake();
}

// A program that is gone takes its clock with it: what it showed last counts.
Duration CodeLoop::cpu_now() {
  code_cpu_ = std::max(code_cpu_, os::process_cpu(program_.pid()));
  return os::process_cpu_now() + code_cpu_;
}

std::uint64_t CodeLoop::cpu_since_last() {
  const Duration now = cpu_now();
  return ns(now - std::exchange(cpu_told_, now));
}

namespace {

Result<std::unique_ptr<CodeLoop>> prepare(int control, std::span<const os::Fd> link, domain::CodeOrder order, CodeOptions options,
                                          CodeProgram program) {
  if (link.size() < 3) return fail(Code::internal, "an order to run code without its rings");
  TRY(os::Ring in, os::open_ring(link[0].get(), 0, link[1].get()));
  TRY(os::Ring out, os::open_ring(link[0].get(), 1, link[2].get()));
  TRY(os::Loop loop, os::Loop::create());
  return std::make_unique<CodeLoop>(std::move(loop), CodeLink{control, std::move(in), std::move(out)}, std::move(order),
                                    std::move(options), std::move(program));
}

[[noreturn]] void run(int control, Result<std::unique_ptr<CodeLoop>> loop) {
  ::signal(domain::kCancelSignal, SIG_IGN);  // it comes beside a cancel frame, which is read in time here
  if (!loop) ::_exit(send_failed(control, loop.error()) ? 0 : 1);
  (*loop)->run();
  ::_exit(0);
}

}  // namespace

void run_code(int control, std::span<const os::Fd> link, std::string_view order_json) {
  auto order = domain::parse_code_order(order_json);
  if (!order) run(control, fail(order.error()));
  run(control, prepare(control, link, std::move(*order), {}, {}));
}

void run_forked_code(int control, std::span<const os::Fd> link, const domain::CodeOrder& order, CodeProgram program) {
  // Its loopback is its template's, too, and its template's other instances'.
  run(control, prepare(control, link, order, {.address = "127.0.0.1:0"}, std::move(program)));
}

}  // namespace mayfly::worker
