// The host of a template of code with a real Python: what its forks are, and what it refuses to fork. As in a sandbox, minus that.
#include "worker/code_template.h"

#include <sys/prctl.h>

#include <array>
#include <cstring>
#include <iterator>
#include <sstream>

#include "worker/test_code_host.h"

namespace mayfly::worker {
namespace {

class Template {
 public:
  explicit Template(const std::string& app) {
    folder_.write("app.py", app);
    const domain::CodeOrder order{.arguments = {python(), "-c", std::string(domain::kPythonRuntime)}, .handler = "app.handler",
                                  .function = "greet", .folder = folder_.path()};
    std::tie(node_, far_) = os::make_packet_pair().value();
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);  // as init is in a sandbox
    pid_ = ::fork();
    if (pid_ == 0) {
      node_.reset();
      const int log = ::open(folder_.path("log").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
      ::dup2(log, 1);
      ::dup2(log, 2);
      run_code_template(far_, domain::to_json(order));
    }
    far_.reset();
  }
  ~Template() {
    node_.reset();
    while (::waitpid(-1, nullptr, 0) > 0) {}
  }

  Start start() { return hear(node_.get()); }
  void fork(TestLink& link) {
    const std::array fds{link.instance_socket.get(), link.memory.get(), link.request_bell.get(), link.reply_bell.get()};
    ASSERT_TRUE(os::send_packet(node_.get(), os::bytes_of(domain::ForkOrder{}), fds));
    link.instance_socket.reset();
  }
  void kill() { ::kill(pid_, SIGKILL); }
  std::string log() const { return folder_.read("log"); }

  // The next message of a process: a start, or with `program` its hello.
  Start hear(int socket, os::Fd* program = nullptr) {
    std::vector<std::byte> bytes(65536);
    pollfd ask{.fd = socket, .events = POLLIN, .revents = 0};
    Start start;
    if (::poll(&ask, 1, 30'000) <= 0) return start;
    auto packet = os::receive_packet(socket, bytes);
    domain::Message head;
    if (!packet || packet->size < sizeof head) return start;
    std::memcpy(&head, bytes.data(), sizeof head);
    start.ready = head.kind == domain::MessageKind::ready;
    if (head.kind == domain::MessageKind::hello && program && packet->fds.size() == 1) *program = std::move(packet->fds[0]);
    if (head.kind == domain::MessageKind::failed)
      start.failure.assign(reinterpret_cast<const char*>(bytes.data()) + sizeof(domain::FailedMessage), head.size);
    return start;
  }

 private:
  Folder folder_;
  os::Fd node_, far_;
  int pid_ = 0;
};

class Fork {
 public:
  explicit Fork(Template& from) : from_(from) { from.fork(link_); }
  bool begin() {
    from_.hear(link_.node_socket.get(), &program_);
    if (os::pid_of(program_) == 0) return false;
    EXPECT_TRUE(os::send_packet(link_.node_socket.get(), os::bytes_of(domain::Message{domain::MessageKind::placed, 0})));
    return from_.hear(link_.node_socket.get()).ready;
  }
  std::string call(std::uint64_t ticket) {
    node_.send({.ticket = ticket, .body = "{}"});
    const auto reply = node_.reply();
    return reply ? reply->body : "no reply: " + from_.log();
  }
  bool program_gone(Duration within) const {
    pollfd end{.fd = program_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&end, 1, static_cast<int>(to_ms(within))) == 1;
  }
  void leave() { link_.node_socket.reset(); }

 private:
  Template& from_;
  TestLink link_;
  TestNode node_{link_};
  os::Fd program_;
};

constexpr const char* kCounts = R"(import os, random
calls = 0
def handler(event, context):
    global calls
    calls += 1
    return f"{calls} {random.random()} {os.getpid()} {os.environ['AWS_LAMBDA_RUNTIME_API']} {context.log_stream_name}"
)";

TEST(CodeTemplate, EachForkIsAFreshInstanceOfItsOwn) {
  SKIP_WITHOUT_PYTHON();
  Template origin(kCounts);
  ASSERT_TRUE(origin.start().ready) << origin.log();
  Fork first(origin), second(origin);
  ASSERT_TRUE(first.begin() && second.begin()) << origin.log();
  const std::string one = first.call(1), other = second.call(1);
  EXPECT_TRUE(one.starts_with("\"1 ") && other.starts_with("\"1 ")) << one << other;
  const auto words = [](const std::string& text) {
    std::istringstream in(text);
    return std::vector<std::string>{std::istream_iterator<std::string>(in), {}};
  };
  const auto a = words(one), b = words(other);
  ASSERT_EQ(a.size(), 5U) << one;
  ASSERT_EQ(b.size(), 5U) << other;
  for (std::size_t i = 1; i < 5; ++i) EXPECT_NE(a[i], b[i]) << "random number, process, API and log stream are its own";
  EXPECT_TRUE(first.call(2).starts_with("\"2 "));
}

TEST(CodeTemplate, AForkEndsWithItsHostAndNotWithItsTemplate) {
  SKIP_WITHOUT_PYTHON();
  Template origin(kCounts);
  ASSERT_TRUE(origin.start().ready) << origin.log();
  Fork stays(origin), leaves(origin);
  ASSERT_TRUE(stays.begin() && leaves.begin()) << origin.log();
  leaves.leave();
  EXPECT_TRUE(leaves.program_gone(10s));
  origin.kill();
  EXPECT_FALSE(stays.program_gone(200ms));
  EXPECT_TRUE(stays.call(1).starts_with("\"1 "));
  stays.leave();
  EXPECT_TRUE(stays.program_gone(10s));
}

TEST(CodeTemplate, WhatCanNotBeForkedSaysWhy) {
  SKIP_WITHOUT_PYTHON();
  const std::pair<const char*, const char*> kCases[] = {
      {"import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='pump').start()\n",
       "not forked: the module started 1 thread: pump"},
      {"import socket\nheld = socket.socket()\n", "not forked: the module holds a socket"},
      {"import subprocess\nheld = subprocess.Popen(['sleep', '1'])\n", "not forked: the module started a program"},
      {"import random\nheld = [random.Random(4)]\n",
       "not forked: the module holds a random.Random made at import, which all forks would share"},
      {"import os\nos._exit(3)\n", "the program ended while it imported the handler's module"},
      {"import nothing_of_this_name\n",
       "not forked: Fault: Unable to import module 'app': No module named 'nothing_of_this_name'"},
  };
  for (const auto& [app, why] : kCases) {
    Template origin(std::string(app) + kCounts);
    const Start start = origin.start();
    EXPECT_FALSE(start.ready) << app;
    EXPECT_EQ(start.failure, why) << origin.log();
  }
}

}  // namespace
}  // namespace mayfly::worker
