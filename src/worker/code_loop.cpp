#include "worker/code_loop.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/hex.h"
#include "domain/arn.h"
#include "domain/link.h"
#include "os/clock.h"
#include "worker/code_environment.h"
#include "worker/http_host.h"
#include "worker/node_control.h"
#include "worker/url_event.h"

namespace mayfly::worker {
namespace {

using domain::ReplyHead;
using namespace std::chrono_literals;

constexpr std::size_t kWaitingMax = 64;  // the node sends one at a time; more than this is not its protocol

std::uint64_t ns(Duration d) { return static_cast<std::uint64_t>(d.count()); }

// The halves of a UUID: the one that came with the call, else one that holds its ticket.
std::pair<std::uint64_t, std::uint64_t> id_of(const domain::RequestHead& head) {
  const auto [high, low] = head_id(head);
  if (high != 0 || low != 0) return {high, low};
  constexpr std::uint64_t kVersion = 0x4000, kVariant = std::uint64_t{0x8000} << 48;
  return {(head.ticket & ~std::uint64_t{0xffff}) | kVersion, kVariant | (head.ticket & 0xffff'ffff'ffff)};
}

std::string exit_text(std::optional<int> status) {
  if (!status) return "nobody knows how it ended";
  const int wait_status = *status;
  if (!WIFSIGNALED(wait_status)) return "exit status " + std::to_string(WEXITSTATUS(wait_status));
  const char* name = ::sigdescr_np(WTERMSIG(wait_status));
  return "signal " + std::to_string(WTERMSIG(wait_status)) + " (" + (name ? name : "unknown") + ")";
}

constexpr Duration kInternalGrace = 500ms, kExternalGrace = 2s;  // to shut down in, as there; the program has 30 % of it

// The event, of a frame's body with what the caller said behind it.
Result<void> take_event(const domain::RequestHead& head, RuntimeCall& call) {
  const std::string_view bytes = call.event, said = bytes.substr(head.json_size);
  read_context(said, call);
  if (!domain::is_of_url(head.reply_form)) {
    call.event.resize(head.json_size);
    return {};
  }
  TRY(call.event, url_event(bytes.substr(0, head.json_size), said));
  return {};
}

std::string seconds_of(Duration d) {
  const auto hundredths = std::max<std::int64_t>(0, d / 10ms);
  const std::string fraction = std::to_string(hundredths % 100);
  return std::to_string(hundredths / 100) + (fraction.size() < 2 ? ".0" : ".") + fraction;
}

}  // namespace

CodeLoop::CodeLoop(os::Loop loop, FrameLink link, domain::CodeOrder order, CodeOptions options, CodeProgram program)
    : link_(std::move(link)), order_(std::move(order)), options_(std::move(options)), loop_(std::move(loop)),
      api_({.function_arn = domain::function_arn(order_.function), .response_max = options_.response_max}),
      extensions_({.function = order_.function, .version = std::to_string(order_.version), .handler = order_.handler,
                   .account = std::string(domain::kAwsAccount), .function_arn = domain::function_arn(order_.function)}, os::random_seed()),
      telemetry_(loop_, order_),
      control_port_([this] {
        if (!link_.read_control()) end(End::node_gone);
        else if (link_.stopping()) take_frames();
        while (os::Fd debugger = link_.take_debugger()) inbound_.carry(std::move(debugger));
      }),
      bell_port_([this] { take_frames(); }),
      exit_port_([this] { code_ended(); }), program_(std::move(program)),
      extension_programs_(loop_, [this](const std::string& name, int status) { extension_ended(name, status); }),
      random_(os::random_seed()) {}

CodeLoop::~CodeLoop() {
  static_cast<void>(program_.end());
  os::end(outbound_);
}

CodeLoop::End CodeLoop::run() {
  begun_ = os::monotonic_now();
  telemetry_.init_began();
  if (const auto started = start(); !started) {
    say_failed(started.error().message);
    return End::not_started;
  }
  take_frames();
  while (!end_ && loop_.turn(1h)) {}
  shut_down();
  static_cast<void>(program_.end());
  extension_programs_.end_all();
  if (output_) output_->drain();
  if (extension_output_) extension_output_->drain();
  if (*end_ != End::node_gone) static_cast<void>(take());
  if (running_ && runs_directly_) refuse(let_go(), {Code::unavailable, "the function's program ended before this call's turn"}, true);
  for (const Call& call : waiting_) refuse(call, {Code::unavailable, "the function's program ended before this call's turn"}, true);
  return *end_;
}

Result<void> CodeLoop::start() {
  const auto asked = [this](ConnectionId from, RuntimeRequest&& request) {
    if (ExtensionsApi::is_path(request.path)) do_step(extensions_.request(from, std::move(request)));
    else if (Telemetry::is_path(request.path)) port_->answer(from, telemetry_.subscribe(extensions_.name_of(request), request));
    else do_step(api_.request(from, std::move(request)));
  };
  const auto left = [this](ConnectionId from) {
    api_.left(from);
    extensions_.left(from);
  };
  TRY(port_, CodePort::create(loop_, options_.address, options_.response_max, {
      .request = asked, .left = left,
      .streams = [this](ConnectionId from, std::string_view path, std::span<const HttpHeader> headers) {
        return begin_stream(from, path, headers);
      },
      .piece = [this](ConnectionId from, std::string_view bytes) { return pass_on(from, bytes); },
      .broke_off = [this](ConnectionId from, std::string_view path, const std::string& why) {
        do_step(api_.broke_off(from, path, why));
      }}));
  const auto printed = [this](std::string_view bytes) { telemetry_.printed(Telemetry::Kind::function, bytes); };
  TRY(output_, CodeOutput::create(loop_, STDERR_FILENO, CodeOutput::Of::program, printed));
  if (!order_.model_socket.empty()) { TRY(models_, ModelBridge::create(loop_, order_.model_socket)); }
  if (!order_.outbound.empty()) { TRY(outbound_, start_outbound(order_.outbound, std::move(outbound_node_))); }
  TRY_VOID(loop_.watch(link_.control_socket(), os::kReadable, control_port_));
  TRY_VOID(loop_.watch(link_.doorbell(), os::kReadable | os::kEdge, bell_port_));
  const auto extensions = find_extensions(options_.extensions, order_.folder + "/extensions");
  return extensions.empty() ? start_program() : start_extensions(extensions);
}

// The program begins once they have all registered, as there.
Result<void> CodeLoop::start_extensions(const std::vector<std::string>& paths) {
  if (paths.size() > kExtensionsMax)
    return fail(Code::invalid_argument, "Extension.LaunchError: " + std::to_string(paths.size()) + " extensions; at most 10 are started");
  const auto printed = [this](std::string_view bytes) { telemetry_.printed(Telemetry::Kind::extension, bytes); };
  TRY(extension_output_, CodeOutput::create(loop_, STDERR_FILENO, CodeOutput::Of::extension, printed));
  const std::vector<std::string> environment = extension_environment(order_, port_->address());
  for (const std::string& path : paths) {
    extensions_.expect(path.substr(path.rfind('/') + 1));
    if (auto begun = extension_programs_.start(path, environment, extension_output_->far()); !begun)
      return fail(begun.error().code, "Extension.LaunchError: " + begun.error().message);
  }
  extension_output_->forget_far();
  return {};
}

Result<void> CodeLoop::start_program() {
  program_begun_ = true;
  domain::CodeOrder order = order_;
  if (models_) {
    order.environment.push_back("MAYFLY_MODEL_URL=http://" + models_->address());
    order.environment.push_back("MAYFLY_MODEL_SOCKET=" + order.model_socket);
  }
  std::pair<os::Fd, os::Fd> connection;
  if (takes_connection(order)) {
    TRY(connection, os::make_stream_pair());
    TRY_VOID(port_->adopt(std::move(connection.first)));
  }
  TRY(const os::Fd direct, make_direct());
  const os::Fd* const far = connection.second ? &connection.second : nullptr;
  const auto begun = program_.start(order, port_->address(), {output_->far(), output_->far_errors(), far, direct ? &direct : nullptr});
  output_->forget_far();
  if (!begun) return fail(begun.error().code, "Runtime.InvalidEntrypoint: " + begun.error().message + " (in " + order_.folder + ")");
  return loop_.watch(program_.pidfd().get(), os::kReadable, exit_port_);
}

// The program first, then the extensions; who has been told, and is there still when the time is over, is killed. Without extensions
// nobody is told. A call that comes meanwhile, which the node couldn't know, ends the wait.
void CodeLoop::shut_down() {
  if (!extensions_.any() || *end_ == End::node_gone) return;
  const Duration grace = extension_programs_.any() ? kExternalGrace : kInternalGrace;
  const Instant until = os::monotonic_now() + grace, until_program = os::monotonic_now() + grace * 3 / 10;
  const auto wait = [this](Instant end, const auto& is_over) {
    for (Instant now = os::monotonic_now(); !is_over() && !hurried_ && now < end; now = os::monotonic_now()) loop_.turn(end - now);
  };
  loop_.unwatch(link_.control_socket());
  telemetry_.flush();  // of internal extensions this is the last that they are sent
  if (!extension_programs_.any()) wait(until_program, [this] { return telemetry_.delivered(); });
  if (program_begun_ && !program_gone_) {
    os::signal_process(program_.pidfd(), SIGTERM);
    wait(until_program, [this] { return program_gone_; });
  }
  static_cast<void>(program_.end());
  output_->drain();
  telemetry_.call_over(os::monotonic_now(), program_.pid());
  wait(os::monotonic_now() + grace * 3 / 10, [this] { return telemetry_.delivered(); });
  const char* const reason = *end_ == End::stopped ? "spindown" : *end_ == End::given_up ? "timeout" : "failure";
  const auto deadline = os::wall_now().since_epoch + std::chrono::duration_cast<std::chrono::microseconds>(until - os::monotonic_now());
  do_step(extensions_.shut_down(reason, static_cast<std::uint64_t>(deadline / 1ms)));
  for (const std::string& name : extension_programs_.names())
    if (!extensions_.wants_shutdown(name)) extension_programs_.end(name);
  wait(until, [this] { return !extension_programs_.any(); });
}

void CodeLoop::end(End how) {
  if (!end_) end_ = how;
}

// --- from the node

void CodeLoop::take_frames() {
  if (end_) {
    hurried_ = !link_.empty();
    return;
  }
  if (!take()) return end(End::node_gone);
  begin_next();
}

bool CodeLoop::take() {
  const auto accepts = [this](FrameLink::Call&& frame) { accept(std::move(frame)); };
  const auto taken = [this](std::uint64_t ticket, std::uint64_t bytes) {
    if (stream_ && running_ && running_->frame.head.ticket == ticket) stream_->taken(bytes);
  };
  return link_.take(accepts, [this](std::uint64_t ticket) { cancel(ticket); }, taken,
                    [this](const domain::RequestHead& head) { return take_direct(head); }) && waiting_.size() <= kWaitingMax;
}

void CodeLoop::accept(FrameLink::Call&& frame) {
  Call call{.frame = std::move(frame), .begun = os::monotonic_now()};
  if (call.frame.head.format == domain::WireFormat::plain_json) return waiting_.push_back(std::move(call));
  refuse(call, {Code::unimplemented, "this function is code and takes no tensors: call POST /functions/NAME, or Lambda's Invoke"});
}

void CodeLoop::cancel(std::uint64_t ticket) {
  const auto at = std::ranges::find(waiting_, ticket, [](const Call& call) { return call.frame.head.ticket; });
  if (at != waiting_.end()) {
    refuse(*at, {Code::cancelled, "cancelled before it began"});
    waiting_.erase(at);
    return;
  }
  if (!running_ || running_->frame.head.ticket != ticket) return;
  if (held_outcome_) return drop_answer({Code::cancelled, "whoever asked had left before all of the answer was taken"});
  const Call call = let_go(true);
  loop_.cancel(deadline_);
  telemetry_.call_done("timeout", {}, 0, os::monotonic_now());
  if (call.given == Instant{}) {
    api_.withdraw();
    return refuse(call, {Code::cancelled, "cancelled before it began"});
  }
  refuse(call, {Code::cancelled, "stopped while it ran: whoever asked had left, or its time was over"}, true);
  end(End::given_up);
}

void CodeLoop::begin_next() {
  if (!running_ && extensions_.idle()) telemetry_.call_over(os::monotonic_now(), program_.pid());
  while (!end_ && !running_ && !waiting_.empty() && extensions_.idle()) {
    running_ = std::move(waiting_.front());
    waiting_.pop_front();
    const Instant deadline{Duration(static_cast<Duration::rep>(running_->frame.head.deadline_ns))}, now = os::monotonic_now();
    if (deadline <= now) {
      refuse(*running_, {Code::deadline_exceeded, "its time was over before it began"});
      running_.reset();
      continue;
    }
    const auto wall = os::wall_now().since_epoch;
    const auto until = wall + std::chrono::duration_cast<std::chrono::microseconds>(deadline - now);
    RuntimeCall call{.event = running_->frame.take_bytes()};
    if (const auto taken = take_event(running_->frame.head, call); !taken) {
      refuse_event(*running_, taken.error());
      running_.reset();
      continue;
    }
    if (std::exchange(others_cpu_, false)) cpu_told_ = cpu_now();
    deadline_ = loop_.at(deadline, [this] { overdue(); });
    const auto [id_high, id_low] = id_of(running_->frame.head);
    if (running_->frame.head.wants_log) output_->drain();  // what others printed is not its
    output_->begin_call(id_high, id_low);
    call.id = uuid_text(id_high, id_low);
    call.deadline_ms = static_cast<std::uint64_t>(until / 1ms);
    call.trace_id = complete_trace(call.trace_id, wall / 1s, random_);
    auto told = extensions_.invoke(call);
    telemetry_.call_began(call, now);
    do_step(api_.invoke(std::move(call)));
    do_step(std::move(told));
  }
  if (link_.stopping() && !running_ && waiting_.empty() && link_.empty()) end(End::stopped);
}

void CodeLoop::overdue() {
  if (runs_directly_) {  // it may have been answered long ago
    const std::uint64_t ticket = running_->frame.head.ticket;
    if (!take()) return end(End::node_gone);
    if (!running_ || running_->frame.head.ticket != ticket) return begin_next();
  }
  if (!running_) return end(End::given_up);  // answered, but an extension has not come back
  if (held_outcome_ && extensions_.idle()) {
    drop_answer({Code::deadline_exceeded, "its caller had not taken all of its answer when its time was over"});
    return begin_next();
  }
  const Call call = let_go(true);
  telemetry_.call_done("timeout", {}, 0, os::monotonic_now());
  refuse(call, {Code::deadline_exceeded, "Task timed out after " + seconds_of(os::monotonic_now() - call.begun) + " seconds"}, true);
  end(End::given_up);
}

// --- from the program

void CodeLoop::do_step(RuntimeApi::Step&& step) {
  if (step.given) running_->given = os::monotonic_now();
  if (step.ready) {
    telemetry_.init_done();
    extensions_.close_registration();
    all_may_be_idle();
  }
  if (step.outcome) finish(std::move(*step.outcome));
  if (step.answer) port_->answer(step.answer->to, std::move(step.answer->reply));
  if (step.init_failed) {
    telemetry_.failed(step.init_failed->text(), os::monotonic_now());
    say_failed(step.init_failed->text());
    end(End::not_started);
  }
  if (step.outcome) begin_next();
}

void CodeLoop::do_step(ExtensionsApi::Step&& step) {
  for (auto& [to, reply] : step.answers) port_->answer(to, std::move(reply));
  if (step.ready) telemetry_.extension_ready(step.ready->name, step.ready->invoke, step.ready->shutdown);
  if (step.failed) return fail_all(step.failed->text());
  if (end_) return;
  if (!program_begun_ && extensions_.all_registered()) {
    if (const auto begun = start_program(); !begun) return fail_all(begun.error().message);
  }
  all_may_be_idle();
}

void CodeLoop::all_may_be_idle() {
  if (end_ || running_ || !api_.ready() || !extensions_.idle()) return;
  loop_.cancel(deadline_);
  if (!told_start_) say_ready();
  begin_next();
}

void CodeLoop::extension_ended(const std::string& name, int wait_status) {
  port_->read_all();  // its last words may say why
  fail_all("Extension.Crash: extension " + name + ": " + exit_text(wait_status));
}

// Of whoever wants to see its lines, or must be told why the program ended, all are read before it is over.
CodeLoop::Call CodeLoop::let_go(bool ended) {
  Call call = *std::exchange(running_, std::nullopt);
  runs_directly_ = false;
  if (ended || call.frame.head.wants_log) {
    output_->drain();
    call.log = output_->last_lines();
  }
  output_->end_call();
  return call;
}

// The instance ends, and the call that runs with it.
void CodeLoop::fail_all(const std::string& text) {
  if (end_) return;
  telemetry_.failed(text, os::monotonic_now());
  if (running_) refuse(let_go(true), {Code::unavailable, text}, true);
  end(told_start_ ? End::code_ended : End::not_started);
  say_failed(text);
}

void CodeLoop::say_ready() {
  told_start_ = true;
  telemetry_.start_over(os::monotonic_now() - begun_);
  cpu_told_ = cpu_now();
  if (extensions_.any()) direct_.reset();  // they are told of each call
  const std::array brought{direct_.get(), program_.pidfd().get()};
  const std::span<const int> with = direct_ ? std::span<const int>(brought) : std::span<const int>();
  if (!link_.say_ready(1, os::monotonic_now() - begun_, cpu_told_, with)) end(End::node_gone);
  direct_.reset();
}

void CodeLoop::say_failed(const std::string& text) {
  if (std::exchange(told_start_, true)) return;
  if (output_) output_->drain();
  if (!link_.say_failed({Code::internal, text}, output_ ? output_->last_lines() : std::string_view())) end(End::node_gone);
}

void CodeLoop::code_ended() {
  port_->read_all();  // its last words may be an answer
  if (told_start_ && !end_ && !take()) end(End::node_gone);  // to know whose they are
  output_->drain();
  loop_.unwatch(program_.pidfd().get());
  program_gone_ = true;
  if (end_) return;
  static_cast<void>(cpu_now());  // the last look at its clock
  const auto status = program_.end();
  if (held_outcome_) held_outcome_->last = true;  // it has answered: the instance ends once its caller has all of that
  else fail_all("Runtime.ExitError: " + exit_text(status));
}

// --- replies

void CodeLoop::finish(RuntimeApi::Outcome&& outcome) {
  if (!running_ || (stream_ && waits_for_stream(outcome))) return;
  const Call call = let_go(outcome.last);
  if (extensions_.idle()) loop_.cancel(deadline_);  // else it holds for them, too
  ReplyHead head{.run_ns = ns(os::monotonic_now() - call.given), .rows = 1, .batch_rows = 1, .last = outcome.last};
  if (outcome.last) end(End::code_ended);
  telemetry_.call_done(outcome.error ? "error" : "success", outcome.error ? outcome.error->type : std::string(),
                       stream_ ? stream_->bytes() : outcome.response.size(), os::monotonic_now());
  if (!outcome.error && !stream_ && domain::is_of_url(call.frame.head.reply_form)) return answer_url(call, head, outcome);
  if (!outcome.error) return reply(call, head, outcome.response);
  head.code = static_cast<std::uint8_t>(Code::internal);
  head.function_error = !outcome.error->json.empty();
  reply(call, head, head.function_error ? outcome.error->json : outcome.error->text());
}

void CodeLoop::refuse_event(const Call& call, const Error& error) {
  if (error.code != Code::invalid_argument) return refuse(call, error);
  const UrlAnswer answer = url_too_large(error);
  reply(call, {.json_size = answer.head_size, .rows = 1, .batch_rows = 1}, answer.bytes);
}

void CodeLoop::answer_url(const Call& call, ReplyHead head, const RuntimeApi::Outcome& outcome) {
  const auto answer = url_answer({.text = outcome.response, .content_type = outcome.content_type, .streamed = outcome.streamed});
  head.json_size = answer ? answer->head_size : 0;
  if (answer) return reply(call, head, answer->bytes);
  head.code = static_cast<std::uint8_t>(answer.error().code);
  reply(call, head, answer.error().message);
}

void CodeLoop::refuse(const Call& call, const Error& error, bool last) {
  ReplyHead head{.rows = 1, .batch_rows = 1, .code = static_cast<std::uint8_t>(error.code), .last = last};
  if (call.given != Instant{}) head.run_ns = ns(os::monotonic_now() - call.given);
  reply(call, head, error.message);
}

void CodeLoop::reply(const Call& call, ReplyHead head, std::string_view body) {
  head.ticket = call.frame.head.ticket;
  head.begun_ns = ns(call.begun.since_boot);
  if (std::exchange(others_cpu_, false)) cpu_told_ = cpu_now();  // told by the node itself
  head.cpu_ns = cpu_since_last();
  if (stream_ && stream_->ticket() == head.ticket) end_stream(head);
  if (!link_.reply(head, body, call.log)) end(End::node_gone);
}

// A program that is gone takes its clock with it: what it showed last counts.
Duration CodeLoop::cpu_now() {
  code_cpu_ = std::max(code_cpu_, os::process_cpu(program_.pid()));
  return os::process_cpu_now() + code_cpu_ + (extension_cpu_ = std::max(extension_cpu_, extension_programs_.cpu()));
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
  auto code = std::make_unique<CodeLoop>(std::move(loop), FrameLink(control, std::move(in), std::move(out)), std::move(order),
                                         std::move(options), std::move(program));
  TRY(os::Fd node, outbound_socket(link));
  code->ask_at(std::move(node));
  return code;
}

[[noreturn]] void run(int control, Result<std::unique_ptr<CodeLoop>> loop) {
  ::signal(domain::kCancelSignal, SIG_IGN);  // it comes beside a cancel frame, which is read in time here
  if (!loop) ::_exit(say_failed(control, loop.error()) ? 0 : 1);
  (*loop)->run();
  ::_exit(0);
}

}  // namespace

void run_code(int control, std::span<const os::Fd> link, std::string_view order_json) {
  auto order = domain::parse_code_order(order_json);
  if (!order) run(control, fail(order.error()));
  if (order->container && !order->user.empty())
    if (const auto known = be_user(*order); !known) run(control, fail(known.error()));
  if (order->container)
    if (const auto found = find_program(*order); !found) run(control, fail(found.error()));
  if (order->contract != domain::Contract::lambda) run_http(control, link, std::move(*order));
  CodeOptions options;
  if (order->machine_network) options.address = "127.0.0.1:0";
  run(control, prepare(control, link, std::move(*order), std::move(options), {}));
}

void run_forked_code(int control, std::span<const os::Fd> link, const domain::CodeOrder& order, CodeProgram program) {
  // Its loopback is its template's, too, and its template's other instances'.
  run(control, prepare(control, link, order, {.address = "127.0.0.1:0"}, std::move(program)));
}

}  // namespace mayfly::worker
