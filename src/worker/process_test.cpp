// run_process() in a forked child under the real system-call filters (the namespaces are sandbox_test's); the test plays the node.
#include "worker/process.h"

#include <sys/prctl.h>
#include <sys/wait.h>

#include "domain/job_results.h"
#include "os/process.h"
#include "worker/seccomp.h"
#include "worker/test_models.h"
#include "worker/test_node.h"

namespace mayfly::worker {
namespace {

using domain::MessageKind;
using domain::Role;

struct Answer {
  MessageKind kind{};
  domain::ReadyMessage ready;
  domain::FailedMessage failed;
  std::string text;
};

// The next message that is not a hello.
std::optional<Answer> receive(os::Fd& socket, Duration wait = 60s) {
  std::vector<std::byte> bytes(128 * 1024);
  for (;;) {
    pollfd ask{.fd = socket.get(), .events = POLLIN, .revents = 0};
    if (::poll(&ask, 1, static_cast<int>(to_ms(wait))) <= 0) return std::nullopt;
    const auto packet = os::receive_packet(socket.get(), bytes);
    if (!packet || packet->size < sizeof(domain::Message)) return std::nullopt;
    Answer answer;
    std::memcpy(&answer.kind, bytes.data(), sizeof answer.kind);
    if (answer.kind == MessageKind::hello) continue;
    const bool ready = answer.kind == MessageKind::ready;
    const std::size_t fixed = ready ? sizeof answer.ready : sizeof answer.failed;
    if (packet->size < fixed) return std::nullopt;
    if (ready) std::memcpy(&answer.ready, bytes.data(), fixed);
    else std::memcpy(&answer.failed, bytes.data(), fixed);
    answer.text.assign(reinterpret_cast<const char*>(bytes.data()) + fixed, packet->size - fixed);
    return answer;
  }
}

class Process {
 public:
  Process() {
    Engine& engine = test_engine();
    EXPECT_TRUE(prepare_filters());
    pid_ = ::fork();
    if (pid_ != 0) {
      link_.instance_socket.reset();
      return;
    }
    link_.node_socket.reset();
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !apply_common_filter()) ::_exit(99);
    run_process(engine, std::move(link_.instance_socket));
  }
  ~Process() {
    link_.node_socket.reset();
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Process(const Process&) = delete;

  void order(domain::LoadOrder order, const std::vector<std::string>& files, int output = -1) {
    std::vector<os::Fd> opened;
    std::vector<int> fds{link_.memory.get(), link_.request_bell.get(), link_.reply_bell.get()};
    std::string message(sizeof order + files.size() * sizeof(domain::FileEntry), '\0');
    order.files = static_cast<std::uint32_t>(files.size());
    std::memcpy(message.data(), &order, sizeof order);
    for (std::size_t i = 0; i < files.size(); ++i) {
      const std::string path = files[i].front() == '/' ? files[i] : models_folder() + files[i];
      domain::FileEntry entry{.size = std::filesystem::file_size(path)};
      (files[i].front() == '/' ? "model.onnx" : files[i]).copy(entry.path, sizeof entry.path - 1);
      std::memcpy(message.data() + sizeof order + i * sizeof entry, &entry, sizeof entry);
      fds.push_back(opened.emplace_back(::open(path.c_str(), O_RDONLY | O_CLOEXEC)).get());
    }
    if (output >= 0) fds.push_back(output);
    ASSERT_TRUE(os::send_packet(link_.node_socket.get(), std::as_bytes(std::span(message)), fds));
  }
  void fork_into(TestLink& child) {
    const std::array fds{child.instance_socket.get(), child.memory.get(), child.request_bell.get(), child.reply_bell.get()};
    ASSERT_TRUE(os::send_packet(link_.node_socket.get(), os::bytes_of(domain::ForkOrder{}), fds));
    child.instance_socket.reset();
  }
  std::optional<Answer> answer(Duration wait = 60s) { return receive(link_.node_socket, wait); }
  TestLink& link() { return link_; }
  int pid() const { return pid_; }

 private:
  TestLink link_;
  int pid_ = 0;
};

TEST(Process, checks_a_model) {
  SKIP_WITHOUT_MODELS();
  Process process;
  process.order({.role = Role::check}, {"nets/external.onnx", "nets/weights/part.bin"});
  const auto answer = process.answer();
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->kind, MessageKind::ready) << answer->text;
  const auto checked = domain::parse_check_result(answer->text);
  ASSERT_TRUE(checked) << checked.error().message;
  EXPECT_EQ(checked->signature.inputs[0].name, "x");
}

TEST(Process, says_why_it_failed) {
  SKIP_WITHOUT_MODELS();
  for (const auto& [name, role] : {std::pair("truncated.onnx", Role::check), std::pair("text.onnx", Role::check),
                                   std::pair("unknown_operator.onnx", Role::instance), std::pair("wrong_opset.onnx", Role::template_),
                                   std::pair("truncated.onnx", Role::compile), std::pair("add.onnx", static_cast<Role>(77))}) {
    Process process;
    const os::Fd output = os::make_memfd("output", 0).value();
    process.order({.role = role}, {name}, output.get());
    const auto answer = process.answer();
    ASSERT_TRUE(answer) << name;
    EXPECT_EQ(answer->kind, MessageKind::failed) << name;
    EXPECT_NE(answer->failed.code, 0U) << name;
    EXPECT_GT(answer->text.size(), 10U) << name;
    EXPECT_FALSE(process.answer()) << "it ends after that";
  }
}

TEST(Process, an_order_without_its_files_is_refused) {
  SKIP_WITHOUT_MODELS();
  Process process;
  process.order({.role = Role::check}, {});
  const auto answer = process.answer();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->kind, MessageKind::failed);
}

TEST(Process, serves_as_an_instance_until_it_is_stopped) {
  SKIP_WITHOUT_MODELS();
  Process process;
  process.order({.role = Role::instance, .rows_max = 8, .version_number = 1}, {"add.onnx"});
  const auto ready = process.answer();
  ASSERT_TRUE(ready);
  ASSERT_EQ(ready->kind, MessageKind::ready) << ready->text;
  EXPECT_GT(ready->ready.credit, 0U);
  EXPECT_GT(ready->ready.load_ns, 0U);
  TestNode node(process.link());
  node.send({.ticket = 1, .body = "{\"x\": [[1,2,3]]}"});
  const auto reply = node.reply();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->head.code, 0) << reply->body;
  node.stop();
  EXPECT_FALSE(process.answer()) << "its socket closes";
}

TEST(Process, a_template_forks_instances_that_live_without_it) {
  SKIP_WITHOUT_MODELS();
  std::optional<TestLink> first, second;
  {
    Process process;
    first.emplace();  // after the fork: the template is not to have the test's ends
    second.emplace();
    process.order({.role = Role::template_, .pack_weights = 1, .large_pages = 1, .rows_max = 8}, {"forest.onnx"});
    const auto ready = process.answer();
    ASSERT_TRUE(ready);
    ASSERT_EQ(ready->kind, MessageKind::ready) << ready->text;
    EXPECT_GT(ready->ready.warm_ns, 0U);
    for (TestLink* child : {&*first, &*second}) {
      process.fork_into(*child);
      const auto forked = receive(child->node_socket);
      ASSERT_TRUE(forked);
      EXPECT_EQ(forked->kind, MessageKind::ready) << forked->text;
    }
  }  // the template is killed here
  std::string row = "{\"input\": [[0";
  for (int i = 1; i < 30; ++i) row += ",1";
  for (TestLink* child : {&*first, &*second}) {
    TestNode node(*child);
    node.send({.ticket = 5, .body = row + "]]}"});
    const auto reply = node.reply();
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->head.code, 0) << reply->body;
    node.stop();
    EXPECT_FALSE(receive(child->node_socket)) << "it ended";
  }
}

TEST(Process, compiles_then_measures_then_serves_the_flat_file) {
  SKIP_WITHOUT_MODELS();
  const std::string path = ::testing::TempDir() + "mayfly-process-" + std::to_string(::getpid()) + ".ort";
  {
    const os::Fd output(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    Process process;
    process.order({.role = Role::compile, .output_size_max = 1 << 20}, {"forest.onnx"}, output.get());
    const auto answer = process.answer();
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->kind, MessageKind::ready) << answer->text;
  }
  {
    Process process;
    process.order({.role = Role::tune, .compiled = 1}, {path});
    const auto answer = process.answer();
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->kind, MessageKind::ready) << answer->text;
    const auto tuning = domain::parse_tuning_result(answer->text);
    ASSERT_TRUE(tuning) << tuning.error().message;
    EXPECT_GT(tuning->fork_first_ns, 0U);
    EXPECT_TRUE(tuning->template_allowed);
  }
  Process process;
  process.order({.role = Role::instance, .compiled = 1, .rows_max = 8}, {path});
  const auto ready = process.answer();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->kind, MessageKind::ready) << ready->text;
  ::unlink(path.c_str());
}

TEST(Process, ends_when_the_node_does) {
  SKIP_WITHOUT_MODELS();
  for (const bool loaded : {false, true}) {
    Process process;
    if (loaded) {
      process.order({.role = Role::instance, .rows_max = 8}, {"add.onnx"});
      ASSERT_TRUE(process.answer());
    }
    process.link().node_socket.reset();
    siginfo_t info{};
    for (int i = 0; i < 1000 && info.si_pid == 0; ++i) {
      EXPECT_EQ(::waitid(P_PID, static_cast<id_t>(process.pid()), &info, WEXITED | WNOHANG | WNOWAIT), 0);
      ::usleep(10'000);
    }
    EXPECT_EQ(info.si_pid, process.pid()) << "it still runs";
  }
}

TEST(Process, a_model_without_end_does_not_answer_a_check) {
  SKIP_WITHOUT_MODELS();
  Process process;
  process.order({.role = Role::check}, {"loops_always.onnx"});
  EXPECT_FALSE(process.answer(300ms)) << "the node's time limit of jobs ends it";
}

}  // namespace
}  // namespace mayfly::worker
