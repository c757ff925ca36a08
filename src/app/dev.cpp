// mayfly dev: serves a folder while it is worked on. It has a node of its own, or uses one; deploys the folder, and again at every
// change; shows the function's log. Code is tried before it takes the traffic: a version that does not start is told in full, and
// the one before goes on serving. Driven by its own loop until a signal; then its node drains and ends with it.
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "app/attach.h"
#include "app/commands.h"
#include "os/clock.h"
#include "os/folder_watch.h"
#include "os/port.h"
#include "os/process.h"
#include "os/signals.h"

namespace mayfly::app {
namespace {

using namespace std::chrono_literals;

constexpr Duration kSettle = 80ms;        // after a change: editors write more than one file
constexpr Duration kLogEvery = 100ms;
constexpr Duration kTryEvery = 20ms, kTryMax = 30s;  // of a version, to start
constexpr Duration kNodeStart = 30s, kNodeEnd = 35s;
constexpr int kLinesAtOnce = 1000;
constexpr std::string_view kNoDebugger = "no";
constexpr const char* kDebugTimeout = "15m";  // the longest that a manifest may say

void say(const std::string& text) {
  print(text + "\n");
  std::fflush(stdout);
}

// A node for this folder alone. What it prints is read, and shown where it is an error of its start.
class OwnNode {
 public:
  ~OwnNode() { os::end_group(child_); }

  Result<std::string> start(const std::string& folder, const DevOptions& options) {
    TRY(auto pipe, os::make_pipe());
    os::Command command{.program = "/proc/self/exe",
                        .arguments = {"serve", "--with-parent", "--listen", options.listen, "--data", folder + "/.mayfly-dev"}};
    if (options.debug != kNoDebugger) {
      command.arguments.emplace_back("--debug");
      command.arguments.push_back("127.0.0.1:" + (options.debug.empty() ? "0" : options.debug));
    }
    for (const char* name : {"PATH", "HOME", "TMPDIR"})
      if (const char* value = std::getenv(name)) command.environment.push_back(std::string(name) + "=" + value);
    TRY(child_, os::spawn_in_group(command, folder, pipe.second));
    pipe.second.reset();
    output_ = std::move(pipe.first);
    for (Duration waited{}; waited < kNodeStart; waited += kTryEvery) {
      const bool ended = read();
      debug_ = behind("debuggers come in at ");
      if (const std::string at = behind("listening on "); !at.empty()) return at;
      if (ended) break;
      pause(kTryEvery);
    }
    return fail(Code::internal, "its own node did not start: " + printable(text_));
  }
  const std::string& debug() const { return debug_; }  // where debuggers come in; "": nowhere
  int output() const { return output_.get(); }
  // True once it has ended.
  bool read() {
    std::array<char, 4096> bytes;
    ssize_t size = 0;
    while ((size = ::read(output_.get(), bytes.data(), bytes.size())) > 0)
      if (text_.size() < 64 * 1024) text_.append(bytes.data(), static_cast<std::size_t>(size));
    return size == 0;
  }
  void stop() {
    os::signal_process(child_.pidfd, SIGTERM);
    for (Duration waited{}; waited < kNodeEnd && !read(); waited += kTryEvery) pause(kTryEvery);
  }

 private:
  // The rest of the line that has this; "": none yet.
  std::string behind(std::string_view mark) const {
    const std::size_t at = text_.find(mark), end = text_.find('\n', at);
    return at == text_.npos || end == text_.npos ? "" : text_.substr(at + mark.size(), end - at - mark.size());
  }

  os::Child child_;
  os::Fd output_;
  std::string text_, debug_;
};

class Dev {
 public:
  Dev(Context context, DevOptions options, os::Loop loop, os::Fd signals, os::FolderWatch watch)
      : context_(std::move(context)), options_(std::move(options)), loop_(std::move(loop)), signals_(std::move(signals)),
        watch_(std::move(watch)) {}

  // `node`: this command's own; null: it uses another.
  Result<void> run(OwnNode* node) {
    TRY_VOID(loop_.watch(signals_.get(), os::kReadable, on_signal_));
    TRY_VOID(loop_.watch(watch_.fd(), os::kReadable, on_change_));
    if (node) TRY_VOID(loop_.watch(node->output(), os::kReadable, on_node_));
    node_ = node;
    deploy_now();
    loop_.after(kLogEvery, [this] { show_log(); });
    loop_.run();
    return std::move(end_);
  }

 private:
  void deploy_now() {
    if (const auto done = deploy_folder(); !done) {
      const std::string stays = serving_ > 0 ? "; version " + std::to_string(serving_) + " goes on serving" : "; nothing serves yet";
      say(context_.terminal.paint(Tone::bad, "✗") + " " + printable(done.error().message) + stays);
    }
  }

  Result<void> deploy_folder() {
    const Instant begun = os::monotonic_now();
    const DeployOptions deploy{.path = options_.folder, .name = options_.name, .no_alias = true, .no_wait = true,
                               .overrides = options_.overrides};
    TRY(const Json version, deploy_version(context_, deploy));
    const int number = version.value("version", 0);
    if (function_.empty()) TRY_VOID(begin_log(version.value("function", "")));
    if (number == serving_) {
      say(context_.terminal.paint(Tone::faint, "nothing is new"));
      return {};
    }
    if (version.value("stage", "") == "failed") return fail(Code::internal, "version " + std::to_string(number) + " failed");
    if (!version.at("manifest").value("runtime", "").empty()) TRY_VOID(try_to_start(number));
    const Json body{{"weights", Json::array({Json{{"version", number}, {"share", 1}}})}};
    TRY_VOID(context_.client.json({.method = "PUT",
                                   .path = "/api/functions/" + encode(function_) + "/aliases/live",
                                   .body = body.dump(),
                                   .headers = {"Content-Type: application/json"}}));
    serving_ = number;
    say(context_.terminal.paint(Tone::good, "→") + " " + function_ + ", version " + std::to_string(number) + " serves at " +
        context_.client.address().url() + "/functions/" + function_ + ", after " + to_text(os::monotonic_now() - begun));
    if (node_ && !node_->debug().empty() && !std::exchange(attached_, true))
      print(attach_text(version.at("manifest").value("runtime", ""), node_->debug(), options_.folder));
    std::fflush(stdout);
    return {};
  }

  Result<void> begin_log(const std::string& function) {
    TRY(const auto lines, log_lines(context_, function, 0, 1));
    if (!lines.empty()) seen_ = lines.back().value("sequence", std::uint64_t{0});
    function_ = function;
    return {};
  }

  // A call that can't wait makes the node start an instance, and is over before there is one: the code sees no event.
  Result<void> try_to_start(int number) {
    if (is_ready(number)) return {};
    trying_ = number;
    static_cast<void>(context_.client.call({.method = "POST", .path = "/functions/" + encode(function_) + ":" + std::to_string(number),
                                            .body = "{}", .headers = {"Content-Type: application/json", "X-Mayfly-Timeout: 1ms"}}));
    for (Duration waited{}; waited < kTryMax; waited += kTryEvery) {
      show_lines();
      if (!failure_.empty()) {
        trying_ = 0;
        return fail(Code::internal, "version " + std::to_string(number) + " does not start: " + std::exchange(failure_, {}));
      }
      if (is_ready(number)) {
        trying_ = 0;
        return {};
      }
      pause(kTryEvery);
    }
    trying_ = 0;
    return fail(Code::internal, "version " + std::to_string(number) + " did not start within " + to_text(kTryMax));
  }

  bool is_ready(int number) {
    const auto answer = context_.client.get("/api/instances");
    if (!answer) return false;
    for (const Json& i : answer->value("instances", Json::array()))
      if (i.value("function", "") == function_ && i.value("version", 0) == number && i.value("state", "") == "ready") return true;
    return false;
  }

  void show_log() {
    show_lines();
    loop_.after(kLogEvery, [this] { show_log(); });
  }

  void show_lines() {
    constexpr std::string_view kNot = "an instance did not start: ";
    if (function_.empty()) return;
    const auto lines = log_lines(context_, function_, seen_, kLinesAtOnce);
    if (!lines) return;                   // a node that is gone is told by its pipe, or by the next deploy
    for (const Json& line : *lines) {
      seen_ = line.value("sequence", seen_);
      const bool of_trial = trying_ > 0 && line.value("version", 0) == trying_;
      const std::string message = line.value("message", "");
      if (of_trial && line.contains("outcome")) continue;  // the call that was made to start it
      if (of_trial && message.starts_with(kNot)) failure_ = message.substr(kNot.size());
      else say(log_text(context_.terminal, line.dump(-1, ' ', false, Json::error_handler_t::replace)));
    }
  }

  void on_signal() {
    if (!os::take_signal(signals_)) return;
    say("");
    loop_.stop();
  }

  void on_node() {
    if (!node_->read()) return;           // it has printed something
    loop_.unwatch(node_->output());
    end_ = fail(Code::internal, "its node has ended");
    loop_.stop();
  }

  const Context context_;
  const DevOptions options_;
  os::Loop loop_;
  os::Fd signals_;
  os::FolderWatch watch_;
  os::Port on_signal_{[this] { on_signal(); }}, on_node_{[this] { on_node(); }}, on_change_{[this] {
         if (!watch_.take()) return;
         loop_.cancel(settling_);
         settling_ = loop_.after(kSettle, [this] { deploy_now(); });
       }};
  os::Loop::TimerId settling_;
  OwnNode* node_ = nullptr;
  bool attached_ = false;                 // it was said how a debugger is
  int serving_ = 0, trying_ = 0;
  std::string function_, failure_;
  std::uint64_t seen_ = 0;
  Result<void> end_;
};

}  // namespace

Result<void> dev(const Context& context, const DevOptions& options) {
  std::error_code error;
  const std::string folder = std::filesystem::canonical(options.folder, error).string();
  if (error || !std::filesystem::is_directory(folder, error))
    return fail(Code::internal, "'" + options.folder + "' is no folder: 'mayfly new --list' shows what to begin with");
  TRY(os::Fd signals, os::catch_end_signals());
  TRY(os::FolderWatch watch, os::FolderWatch::create(folder, "__pycache__"));
  TRY(os::Loop loop, os::Loop::create());
  OwnNode own;
  std::string url = options.node;
  if (url.empty()) { TRY(url, own.start(folder, options)); }
  TRY(Address address, parse_url(url));
  DevOptions plain = options;
  plain.folder = folder;
  if (options.debug != kNoDebugger) {     // who stands at a breakpoint keeps its call waiting, and its instance is the only one
    plain.overrides.min = plain.overrides.max = 1;
    plain.overrides.timeout = kDebugTimeout;
  }
  say("mayfly: " + std::string(options.node.empty() ? "a node of its own" : "the node") + " at " + url + "; watching " + folder +
      "; Ctrl-C ends it");
  Dev dev({.client = Client(std::move(address)), .terminal = context.terminal, .json = false}, std::move(plain), std::move(loop),
          std::move(signals), std::move(watch));
  const auto ran = dev.run(options.node.empty() ? &own : nullptr);
  if (options.node.empty()) own.stop();
  return ran;
}

}  // namespace mayfly::app
