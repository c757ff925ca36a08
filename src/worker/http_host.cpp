#include "worker/http_host.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "domain/link.h"
#include "domain/network.h"
#include "os/clock.h"
#include "worker/code_environment.h"
#include "worker/code_program.h"
#include "worker/h2_forward.h"
#include "worker/http_forward.h"

namespace mayfly::worker {
namespace {

using domain::ReplyHead;
using namespace std::chrono_literals;

constexpr Duration kProbeEvery = 2ms;
constexpr std::uint64_t kNoTicket = ~std::uint64_t{0};  // of what the host itself asks
constexpr Duration kLastWords = 100ms;   // from a connection that broke to the exit that may explain it

std::uint64_t ns(Duration d) { return static_cast<std::uint64_t>(d.count()); }

}  // namespace

HttpHost::HttpHost(os::Loop loop, FrameLink link, domain::CodeOrder order, HttpHostOptions options)
    : link_(std::move(link)), order_(std::move(order)), options_(options), loop_(std::move(loop)),
      control_port_([this] {
        if (!link_.read_control()) end(End::node_gone);
        else if (link_.stopping()) take_frames();
        while (os::Fd debugger = link_.take_debugger()) inbound_.carry(std::move(debugger));
      }),
      bell_port_([this] { take_frames(); }), exit_port_([this] { program_ended(); }) {}

HttpHost::~HttpHost() {
  for (const auto& [number, visit] : visits_) visit->stop = true;
  pool_.reset();
  os::end_group(child_);
  os::end(outbound_);
}

HttpHost::End HttpHost::run() {
  begun_ = os::monotonic_now();
  if (const auto started = start(); !started) {
    if (!std::exchange(told_start_, true)) static_cast<void>(link_.say_failed({Code::internal, started.error().message}));
    return End::not_started;
  }
  while (!end_ && loop_.turn(1h)) {}
  os::end_group(child_);
  if (output_) output_->drain();
  for (auto& [ticket, call] : calls_) {
    forward_->drop(ticket);
    if (*end_ != End::node_gone) refuse(call, {Code::unavailable, "the function's program ended before this call was answered"}, true);
  }
  if (*end_ != End::node_gone)
    static_cast<void>(link_.take([this](FrameLink::Call&& frame) {
      refuse({.frame = std::move(frame), .begun = os::monotonic_now()},
             {Code::unavailable, "the function's program ended before this call's turn"}, true);
    }, [](std::uint64_t) {}));
  return *end_;
}

Result<void> HttpHost::start() {
  if (order_.contract == domain::Contract::azure) {
    const bool outputs_to_log = std::ranges::count(order_.environment, "MAYFLY_AZURE_OUTPUTS=log") > 0;
    TRY(azure_, AzureApp::read(order_.folder, outputs_to_log));
    AzureSettings settings;
    for (const std::string& entry : order_.environment)
      if (const std::size_t equals = entry.find('='); equals != entry.npos) settings[entry.substr(0, equals)] = entry.substr(equals + 1);
    azure_->use(std::move(settings));
    reach_ = {.machine_network = order_.machine_network, .outbound = order_.outbound};
    if (!azure_->custom() && order_.arguments.size() < 2)
      return fail(Code::invalid_argument, "this app has no customHandler in host.json, no function_app.py, and no package.json that a "
                                          "Node.js of this machine could run: it is nothing that runs here");
  }
  const std::vector<std::string>& arguments = azure_ && azure_->custom() ? azure_->arguments() : order_.arguments;
  os::Command command{.program = arguments.at(0)};
  for (std::size_t i = 1; i < arguments.size(); ++i) command.arguments.push_back(argument_text(arguments[i]));
  command.environment = http_environment(order_, options_.port);
  const std::string address = "127.0.0.1:" + std::to_string(options_.port);
  if (order_.h2c) forward_ = std::make_unique<H2Forward>(loop_, address, options_.answer_max);
  else forward_ = std::make_unique<HttpForward>(loop_, address, options_.answer_max);
  if (!order_.outbound.empty()) { TRY(outbound_, start_outbound(order_.outbound, std::move(outbound_node_))); }
  TRY(output_, CodeOutput::create(loop_, STDERR_FILENO, CodeOutput::Of::program));
  auto child = os::spawn_in_group(command, order_.folder, {output_->far(), output_->far_errors()});
  output_->forget_far();
  if (!child) return fail(child.error().code, "the program can't be started: " + child.error().message);
  child_ = std::move(*child);
  TRY_VOID(loop_.watch(child_.pidfd.get(), os::kReadable, exit_port_));
  TRY_VOID(loop_.watch(link_.control_socket(), os::kReadable, control_port_));
  TRY_VOID(loop_.watch(link_.doorbell(), os::kReadable | os::kEdge, bell_port_));
  probe();
  return {};
}

// Until the port takes a connection.
void HttpHost::probe() {
  forward_->probe([this](bool listens) {
    if (end_ || told_start_) return;
    if (listens) return azure_ && !azure_->custom() ? ask_functions() : ready();
    if (os::monotonic_now() - begun_ < options_.start_max) {
      loop_.after(kProbeEvery, [this] { probe(); });
      return;
    }
    not_started({Code::deadline_exceeded, "the program did not listen on 127.0.0.1:" + std::to_string(options_.port) + " ($PORT) within " +
                                              to_text(options_.start_max) + ": its log may say why"});
  });
}

// Our runtime of an Azure app has imported it when it listens: what functions it has, or why it can't be imported.
void HttpHost::ask_functions() {
  forward_->send(kNoTicket, "GET /mayfly/functions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", [this](Result<Forward::Answer> answer) {
    if (end_ || told_start_) return;
    if (!answer) {  // its exit says more
      loop_.after(kLastWords, [this, error = answer.error()] { if (!end_) not_started(error); });
      return;
    }
    if (!answer->head.substr(std::min<std::size_t>(9, answer->head.size())).starts_with("200"))
      return not_started({Code::internal, std::string(answer->body)});
    if (const auto added = azure_->add_functions(answer->body); !added) return not_started(added.error());
    ready();
  });
}

void HttpHost::ready() {
  told_start_ = true;
  cpu_told_ = cpu_now();
  if (!link_.say_ready(static_cast<std::uint32_t>(order_.concurrency), os::monotonic_now() - begun_, cpu_told_)) end(End::node_gone);
  take_frames();
}

void HttpHost::not_started(const Error& error) {
  if (std::exchange(told_start_, true)) return;
  output_->drain();
  if (!link_.say_failed(error, output_->last_lines())) end(End::node_gone);
  end(End::not_started);
}

// --- from the node

void HttpHost::take_frames() {
  if (end_) return;
  const auto taken = [this](std::uint64_t ticket, std::uint64_t bytes) {
    if (const auto at = calls_.find(ticket); at != calls_.end() && at->second.stream) at->second.stream->taken(bytes);
  };
  if (!link_.take([this](FrameLink::Call&& frame) { begin(std::move(frame)); }, [this](std::uint64_t ticket) { cancel(ticket); }, taken))
    return end(End::node_gone);
  stop_if_idle();
}

void HttpHost::begin(FrameLink::Call&& frame) {
  const std::uint64_t ticket = frame.head.ticket;
  if (calls_.contains(ticket)) return end(End::node_gone);
  Call& call = calls_.emplace(ticket, Call{.frame = std::move(frame), .begun = os::monotonic_now()}).first->second;
  const auto refuse_it = [&](const Error& error) {
    refuse(call, error);
    calls_.erase(ticket);
  };
  if (call.frame.head.format != domain::WireFormat::http)
    return refuse_it({Code::unimplemented, "this function is a program that serves HTTP: call it at /functions/NAME/…"});
  const Instant deadline{Duration(static_cast<Duration::rep>(call.frame.head.deadline_ns))};
  if (deadline <= call.begun) return refuse_it({Code::deadline_exceeded, "its time was over before it began"});
  call.deadline = loop_.at(deadline, [this, ticket] { overdue(ticket); });
  if (!azure_) return pass(ticket, call.frame.bytes());
  if (azure_->stores()) return plan_azure(ticket);
  ask_azure(ticket, {});
}

// To the program. `bytes` stay where they are as long as the call.
void HttpHost::pass(std::uint64_t ticket, std::string_view bytes) {
  Call& call = calls_.at(ticket);
  call.passed = true;
  if (single()) {
    if (call.frame.head.wants_log) output_->drain();  // what others printed is not its
    const auto [id_high, id_low] = head_id(call.frame.head);
    output_->begin_call(id_high, id_low);
  }
  const bool as_it_comes = call.frame.head.reply_form == domain::ReplyForm::http_parts &&
                           !(azure_ && (call.azure.form == AzureApp::Form::data || !call.plan.writes.empty()));
  forward_->send(ticket, bytes, [this, ticket](Result<Forward::Answer> answer) { answered(ticket, std::move(answer)); },
                 as_it_comes ? parts_of(ticket) : Forward::Parts{});
}

void HttpHost::cancel(std::uint64_t ticket) {
  const auto at = calls_.find(ticket);
  if (at == calls_.end()) return;
  if (Duration(static_cast<Duration::rep>(at->second.frame.head.deadline_ns)) <= os::monotonic_now().since_boot) return overdue(ticket);
  forward_->drop(ticket);
  leave_store(at->second);
  loop_.cancel(at->second.deadline);
  let_go(at->second);
  refuse(at->second, {Code::cancelled, "stopped while it ran: whoever asked had left"});
  calls_.erase(at);
}

void HttpHost::overdue(std::uint64_t ticket) {
  const auto at = calls_.find(ticket);
  if (at == calls_.end()) return;
  if (at->second.visit != 0) {
    leave_store(at->second);
    return give_back(ticket, {Code::deadline_exceeded, "what its bindings read or write took longer than the call's time"});
  }
  forward_->drop(ticket);
  const bool hangs = !at->second.stream || !at->second.stream->full();  // else it waits for its caller, and nobody blames it
  closing_ = closing_ || hangs;
  let_go(at->second, hangs);
  refuse(at->second, {Code::deadline_exceeded, hangs ? "the program did not answer within the call's time"
                                                     : "its caller had not taken all of its answer when its time was over"}, hangs);
  calls_.erase(at);
  stop_if_idle();
}

// It is answered now: what it printed is read before, where somebody is to see it. With more calls at a time its lines are not known from
// those of others: then they are for the function's owner alone, who wants to know why a program ended.
void HttpHost::let_go(Call& call, bool ended) {
  if (!call.passed && !ended) return;
  if (ended || (single() && call.frame.head.wants_log)) {
    output_->drain();
    call.log = output_->last_lines();
  }
  if (single()) output_->end_call();
}

// Once: SIGTERM, time to end in, and then the group is killed by run().
void HttpHost::stop_if_idle() {
  if (end_ || terminated_ || !calls_.empty() || (!closing_ && !(link_.stopping() && link_.empty()))) return;
  terminated_ = true;
  const End how = closing_ ? End::given_up : End::stopped;
  if (!os::signal_process(child_.pidfd, SIGTERM)) return end(how);
  loop_.after(options_.stop_max, [this, how] { end(how); });
}

// --- from the program

void HttpHost::answered(std::uint64_t ticket, Result<Forward::Answer> answer) {
  const auto at = calls_.find(ticket);
  if (at == calls_.end()) return;
  Call& call = at->second;
  if (!answer) {
    // A program that ends closes its connections first: its exit says more than they do.
    loop_.after(kLastWords, [this, ticket, error = answer.error()] {
      const auto still = calls_.find(ticket);
      if (still == calls_.end()) return;
      loop_.cancel(still->second.deadline);
      let_go(still->second);
      refuse(still->second, error);
      calls_.erase(still);
      stop_if_idle();
    });
    return;
  }
  if (call.stream) {
    if (!answer->body.empty()) call.stream->write(answer->body);
    call.ended = true;
    return go_on(ticket);
  }
  if (azure_ && (call.azure.form == AzureApp::Form::data || !call.plan.writes.empty())) return azure_answered(ticket, *answer);
  loop_.cancel(call.deadline);
  let_go(call);
  ReplyHead head{.run_ns = ns(os::monotonic_now() - call.begun), .rows = 1, .batch_rows = 1};
  std::string text;
  text.reserve(answer->head.size() + 2 + answer->body.size());
  text.append(answer->head).append("\r\n");
  head.json_size = text.size();
  text.append(answer->body);
  reply(call, head, text);
  calls_.erase(ticket);
  stop_if_idle();
}

Forward::Parts HttpHost::parts_of(std::uint64_t ticket) {
  const auto stream = [this, ticket]() -> ReplyStream* {
    const auto at = calls_.find(ticket);
    return at == calls_.end() ? nullptr : at->second.stream.get();
  };
  return {.begins = [this, ticket](std::string_view head, std::string_view body) { begin_parts(ticket, head, body); },
          .piece = [stream](std::string_view body) { if (ReplyStream* to = stream()) to->write(body); },
          .full = [stream] { const ReplyStream* to = stream(); return to && to->full(); }};
}

void HttpHost::begin_parts(std::uint64_t ticket, std::string_view head, std::string_view body) {
  const auto at = calls_.find(ticket);
  if (at == calls_.end()) return;
  if (head.size() + 2 > ReplyStream::kHeadMax) {
    forward_->drop(ticket);
    loop_.cancel(at->second.deadline);
    let_go(at->second);
    refuse(at->second, {Code::internal, "the program's answer has headers of " + std::to_string(head.size()) + " bytes; at most " +
                                            std::to_string(ReplyStream::kHeadMax) + " are passed on"});
    calls_.erase(at);
    return stop_if_idle();
  }
  at->second.stream = std::make_unique<ReplyStream>(loop_, link_, ticket, std::string(head) + "\r\n", [this, ticket] { go_on(ticket); });
  at->second.stream->write(body);
}

// Nothing is held back of what has come.
void HttpHost::go_on(std::uint64_t ticket) {
  const auto at = calls_.find(ticket);
  if (at == calls_.end() || at->second.stream->full()) return;
  if (!at->second.ended) return forward_->resume(ticket);
  loop_.cancel(at->second.deadline);
  let_go(at->second);
  reply(at->second, {.run_ns = ns(os::monotonic_now() - at->second.begun), .rows = 1, .batch_rows = 1}, {});
  calls_.erase(at);
  stop_if_idle();
}

void HttpHost::program_ended() {
  output_->drain();
  if (end_) return;
  loop_.unwatch(child_.pidfd.get());
  static_cast<void>(cpu_now());  // the last look at its clock
  const std::string text = "the function's program " + os::describe_exit(os::end_group(child_));
  for (auto& [ticket, call] : calls_) {
    forward_->drop(ticket);
    leave_store(call);
    let_go(call, true);
    refuse(call, {Code::unavailable, text}, true);
  }
  calls_.clear();
  end(terminated_ ? (closing_ ? End::given_up : End::stopped) : told_start_ ? End::program_ended : End::not_started);
  if (!std::exchange(told_start_, true) && !link_.say_failed({Code::internal, text}, output_->last_lines())) end(End::node_gone);
}

// --- replies

void HttpHost::refuse(const Call& call, const Error& error, bool last) {
  ReplyHead head{.run_ns = ns(os::monotonic_now() - call.begun), .rows = 1, .batch_rows = 1,
                 .code = static_cast<std::uint8_t>(error.code), .last = last};
  reply(call, head, error.message);
}

void HttpHost::reply(const Call& call, ReplyHead head, std::string_view body) {
  head.ticket = call.frame.head.ticket;
  head.log_shared = !single();
  head.begun_ns = ns(call.begun.since_boot);
  const Duration now = cpu_now();
  head.cpu_ns = ns(now - std::exchange(cpu_told_, now));
  if (closing_) head.last = 1;
  if (call.stream && call.stream->begun()) head.part = domain::ReplyPart::end;
  if (!link_.reply(head, body, call.log)) end(End::node_gone);
}

Duration HttpHost::cpu_now() {
  code_cpu_ = std::max(code_cpu_, os::process_cpu(child_.pid));
  return os::process_cpu_now() + code_cpu_;
}

namespace {

// Where the loopback is shared with others, any port that is free now: the program binds it, and says so where it can't.
HttpHostOptions options_for(const domain::CodeOrder& order) {
  HttpHostOptions options;
  if (!order.machine_network) return options;
  const auto free = os::Listener::create("127.0.0.1:0");
  const auto address = free ? domain::parse_destination(free->address()) : fail(free.error());
  if (address) options.port = address->port;
  return options;
}

}  // namespace

void run_http(int control, std::span<const os::Fd> link, domain::CodeOrder order) {
  const auto prepare = [&]() -> Result<std::unique_ptr<HttpHost>> {
    if (link.size() < 3) return fail(Code::internal, "an order to run code without its rings");
    TRY(os::Ring in, os::open_ring(link[0].get(), 0, link[1].get()));
    TRY(os::Ring out, os::open_ring(link[0].get(), 1, link[2].get()));
    TRY(os::Loop loop, os::Loop::create());
    const HttpHostOptions http = options_for(order);
    auto made = std::make_unique<HttpHost>(std::move(loop), FrameLink(control, std::move(in), std::move(out)), std::move(order), http);
    TRY(os::Fd node, outbound_socket(link));
    made->ask_at(std::move(node));
    return made;
  };
  ::signal(domain::kCancelSignal, SIG_IGN);  // it comes beside a cancel frame, which is read in time here
  const auto host = prepare();
  if (!host) ::_exit(1);
  (*host)->run();
  ::_exit(0);
}

}  // namespace mayfly::worker
