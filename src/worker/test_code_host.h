// For tests: the host process of user code with a real Python program, in a forked child as an instance is. No sandbox.
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "domain/link.h"
#include "worker/code_loop.h"
#include "worker/test_node.h"

namespace mayfly::worker {

using End = CodeLoop::End;

inline std::string python() {
  for (const char* path : {"/usr/bin/python3", "/usr/local/bin/python3"})
    if (std::filesystem::exists(path)) return path;
  return {};
}

#define SKIP_WITHOUT_PYTHON() \
  if (python().empty()) GTEST_SKIP() << "no python3 in /usr/bin or /usr/local/bin"

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "mayfly-code-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
  }
  std::string read(const std::string& name) const {
    std::ifstream file(path_ / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string path(const std::string& name = {}) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

struct Start {  // what the node is told of a start
  bool ready = false;
  domain::ReadyMessage message;
  std::string failure, log;
  std::vector<os::Fd> brought;
};

// A host process in a forked child, with its folder, its log, and the node's end of its link.
class ForkedHost {
 public:
  ~ForkedHost() {
    link_.node_socket.reset();
    if (pid_ > 0) static_cast<void>(exit_status());
  }
  ForkedHost(const ForkedHost&) = delete;
  TestNode& node() { return node_; }
  const Folder& folder() const { return folder_; }
  std::string log() const { return folder_.read("log"); }

  std::optional<Start> told_of_start(Duration wait = 30s) {
    std::vector<std::byte> bytes(65536);
    pollfd ask{.fd = link_.node_socket.get(), .events = POLLIN, .revents = 0};
    if (::poll(&ask, 1, static_cast<int>(to_ms(wait))) <= 0) return std::nullopt;
    auto packet = os::receive_packet(link_.node_socket.get(), bytes);
    if (!packet || packet->size < sizeof(domain::Message)) return std::nullopt;
    Start start{.brought = std::move(packet->fds)};
    domain::Message head;
    std::memcpy(&head, bytes.data(), sizeof head);
    start.ready = head.kind == domain::MessageKind::ready;
    if (start.ready) std::memcpy(&start.message, bytes.data(), sizeof start.message);
    else start.failure.assign(reinterpret_cast<const char*>(bytes.data()) + sizeof(domain::FailedMessage), head.size);
    if (!start.ready) {
      domain::FailedMessage failed;
      std::memcpy(&failed, bytes.data(), sizeof failed);
      start.log = start.failure.substr(start.failure.size() - std::min<std::size_t>(failed.log_size, start.failure.size()));
      start.failure.resize(start.failure.size() - start.log.size());
    }
    return start;
  }

 protected:
  ForkedHost() = default;
  // `run` makes it of its loop and its link, in the child, and says how it ended.
  template <class Run>
  void fork(const Run& run) {
    pid_ = ::fork();
    if (pid_ != 0) {
      link_.instance_socket.reset();
      return;
    }
    link_.node_socket.reset();
    const int log = ::open(folder_.path("log").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
    ::dup2(log, 1);
    ::dup2(log, 2);
    ::signal(SIGPIPE, SIG_IGN);
    ::_exit(static_cast<int>(run(os::Loop::create().value(),
                                 FrameLink(link_.instance_socket.get(),
                                           os::open_ring(link_.memory.get(), 0, link_.request_bell.get()).value(),
                                           os::open_ring(link_.memory.get(), 1, link_.reply_bell.get()).value()))));
  }
  int exit_status() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    EXPECT_TRUE(WIFEXITED(status)) << status << log();
    return WEXITSTATUS(status);
  }

  Folder folder_;
  TestLink link_;
  TestNode node_{link_};

 private:
  int pid_ = 0;
};

class Host final : public ForkedHost {
 public:
  explicit Host(const std::string& app, domain::CodeOrder order = {}, CodeOptions options = {},
                const std::map<std::string, std::string>& files = {}) {
    options.address = "127.0.0.1:0";
    folder_.write("app.py", app);
    for (const auto& [name, text] : files) folder_.write(name, text);
    for (const auto& [name, text] : files)
      if (name.starts_with("extensions/")) ::chmod(folder_.path(name).c_str(), 0755);
    if (order.arguments.empty()) order.arguments = {python(), "-c", std::string(domain::kPythonRuntime)};
    if (order.handler.empty()) order.handler = "app.handler";
    order.function = "greet";
    order.folder = folder_.path();
    fork([&](os::Loop loop, FrameLink link) {
      sigset_t some;  // a mask that the program must not inherit
      ::sigemptyset(&some);
      ::sigaddset(&some, SIGUSR1);
      ::sigprocmask(SIG_BLOCK, &some, nullptr);
      return CodeLoop(std::move(loop), std::move(link), order, options).run();
    });
  }

  bool becomes_ready() {
    const auto told = told_of_start();
    EXPECT_TRUE(told && told->ready) << (told ? told->failure : "nothing was told") << log();
    return told && told->ready;
  }
  std::string failure() {
    const auto told = told_of_start();
    return !told ? "nothing was told" : told->ready ? "it is ready" : told->failure;
  }
  TestReply call(const TestRequest& request) {
    node_.send(request);
    auto reply = node_.reply();
    EXPECT_TRUE(reply) << log();
    return reply.value_or(TestReply{});
  }
  End stop() {
    node_.stop();
    return end();
  }
  End leave() {
    link_.node_socket.reset();
    return end();
  }
  End end() { return static_cast<End>(exit_status()); }
};

}  // namespace mayfly::worker
