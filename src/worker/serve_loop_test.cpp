// The serve loop in a forked child, as an instance is; the test plays the node.
#include "worker/serve_loop.h"

#include <sys/wait.h>

#include "base/random.h"
#include "domain/link.h"
#include "os/process.h"
#include "worker/test_models.h"
#include "worker/test_node.h"

namespace mayfly::worker {
namespace {

constexpr int kStopped = 10, kNodeGone = 11;

class Instance {
 public:
  explicit Instance(const std::string& name, ServeOptions options = {.model_name = "m", .version_number = 3, .rows_max = 32}) {
    auto model = Model::load(test_engine(), test_model(name), {});
    EXPECT_TRUE(model) << model.error().message;
    pid_ = ::fork();
    if (pid_ != 0) {
      link_.instance_socket.reset();
      return;
    }
    link_.node_socket.reset();
    ServeLoop loop(**model, link_.instance_socket.get(), os::open_ring(link_.memory.get(), 0, link_.request_bell.get()).value(),
                   os::open_ring(link_.memory.get(), 1, link_.reply_bell.get()).value(), std::move(options));
    ::_exit(loop.run() ? kStopped : kNodeGone);
  }
  ~Instance() {
    if (pid_ > 0) leave();
  }
  TestNode& node() { return node_; }
  int pid() const { return pid_; }
  int stop() {
    node_.stop();
    return status();
  }
  int leave() {
    link_.node_socket.reset();
    return status();
  }
  void freeze() { ::kill(pid_, SIGSTOP); ::waitpid(pid_, nullptr, WUNTRACED); }
  void thaw() { ::kill(pid_, SIGCONT); }

 private:
  int status() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  TestLink link_;
  TestNode node_{link_};
  int pid_ = 0;
};

std::string add_body(int value) { return "{\"x\": [[" + std::to_string(value) + ",0,0]]}"; }

TEST(ServeLoop, answers_and_stops) {
  SKIP_WITHOUT_MODELS();
  Instance instance("add");
  instance.node().send({.ticket = 7, .body = add_body(5)});
  const auto reply = instance.node().reply();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->head.code, 0) << reply->body;
  EXPECT_EQ(reply->head.ticket, 7U);
  EXPECT_NE(reply->body.find("6"), std::string::npos) << reply->body;
  EXPECT_EQ(reply->head.rows, 1U);
  EXPECT_GT(reply->head.begun_ns, 0U);
  EXPECT_GT(reply->head.run_ns, 0U);
  EXPECT_GT(reply->head.cpu_ns, 0U);
  EXPECT_EQ(instance.stop(), kStopped);
}

TEST(ServeLoop, ends_when_the_node_is_gone) {
  SKIP_WITHOUT_MODELS();
  Instance instance("add");
  EXPECT_EQ(instance.leave(), kNodeGone);
}

TEST(ServeLoop, what_waits_runs_together_and_each_gets_its_own) {
  SKIP_WITHOUT_MODELS();
  Instance instance("add");
  instance.freeze();
  for (std::uint64_t i = 1; i <= 40; ++i) ASSERT_TRUE(instance.node().write({.ticket = i, .body = add_body(static_cast<int>(i) * 100)}));
  instance.node().wake();
  instance.thaw();
  const auto replies = instance.node().replies(40);
  std::uint64_t together = 0;
  for (const auto& [ticket, reply] : replies) {
    EXPECT_EQ(reply.head.code, 0) << reply.body;
    EXPECT_NE(reply.body.find(std::to_string(ticket * 100 + 1)), std::string::npos) << reply.body;
    EXPECT_LE(reply.head.batch_rows, 32U);
    together = std::max<std::uint64_t>(together, reply.head.batch_rows);
  }
  EXPECT_EQ(together, 32U);
}

TEST(ServeLoop, cpu_told_adds_up_to_the_processs_clock) {
  SKIP_WITHOUT_MODELS();
  Instance instance("forest");
  std::string row = "{\"input\": [[0";
  for (int i = 1; i < 30; ++i) row += ",1";
  row += "]]}";
  std::uint64_t told = 0, refused = 0;
  const Duration before = os::process_cpu(instance.pid());
  const auto round = [&] {
    for (std::uint64_t i = 1; i <= 30; ++i) ASSERT_TRUE(instance.node().write({.ticket = i, .body = i % 5 ? row : "{"}));
    instance.node().wake();
    for (const auto& [ticket, reply] : instance.node().replies(30)) told += reply.head.cpu_ns, refused += reply.head.code != 0;
  };
  for (int i = 0; i < 20; ++i) round();
  EXPECT_EQ(refused, 120U);
  // What came before the first request (the start) and after the last reply (its polling) is not in it.
  const double used = static_cast<double>((os::process_cpu(instance.pid()) - before).count());
  EXPECT_LE(static_cast<double>(told), used * 1.01 + 2e6);
  EXPECT_GE(static_cast<double>(told), used * 0.8 - 2e6);
}

TEST(ServeLoop, a_bad_request_fails_alone_in_a_batch) {
  SKIP_WITHOUT_MODELS();
  Instance instance("gather");
  instance.freeze();
  for (std::uint64_t i = 0; i < 10; ++i)  // an index past the table: found by the engine only
    ASSERT_TRUE(instance.node().write({.ticket = i + 1, .body = "{\"index\": [" + std::string(i == 4 ? "77" : "2") + "]}"}));
  ASSERT_TRUE(instance.node().write({.ticket = 11, .body = "{\"index\": [\"a\"]}"}));
  instance.node().wake();
  instance.thaw();
  for (const auto& [ticket, reply] : instance.node().replies(11)) {
    EXPECT_EQ(reply.head.code, ticket == 5 || ticket == 11 ? static_cast<int>(Code::invalid_argument) : 0) << ticket << reply.body;
  }
}

TEST(ServeLoop, a_refusal_is_announced_though_nothing_runs_after_it) {
  Instance instance("add");
  instance.node().send({.ticket = 1, .body = add_body(1)});
  ASSERT_TRUE(instance.node().reply());
  instance.node().send({.ticket = 2, .body = "{\"no_such_input\": [[1,2,3]]}"});
  const auto refused = instance.node().reply(5s);
  ASSERT_TRUE(refused) << "the reply was written and the node not woken";
  EXPECT_EQ(refused->head.ticket, 2U);
  EXPECT_EQ(refused->head.code, static_cast<std::uint8_t>(Code::invalid_argument));
}

TEST(ServeLoop, a_refusal_does_not_wait_for_a_batch_to_fill) {
  Instance instance("add", {.model_name = "m", .version_number = 3, .rows_max = 32, .batch_wait = 30s});
  instance.node().send({.ticket = 1, .body = add_body(1)});
  ::usleep(100'000);  // it waits for company by now
  instance.node().send({.ticket = 2, .body = "{}"});
  const auto first = instance.node().reply(10s);
  ASSERT_TRUE(first) << "announced only with the batch";
  EXPECT_EQ(first->head.ticket, 2U);
}

TEST(ServeLoop, overdue_and_cancelled_are_answered_without_a_run) {
  SKIP_WITHOUT_MODELS();
  Instance instance("add");
  instance.freeze();
  ASSERT_TRUE(instance.node().write({.ticket = 1, .body = add_body(1), .deadline_ns = 1}));
  ASSERT_TRUE(instance.node().write({.ticket = 2, .body = add_body(1)}));
  ASSERT_TRUE(instance.node().write({.ticket = 3, .body = add_body(1)}));
  instance.node().cancel(2);
  instance.node().cancel(99);
  instance.node().wake();
  instance.thaw();
  const auto replies = instance.node().replies(3);
  EXPECT_EQ(replies.at(1).head.code, static_cast<int>(Code::deadline_exceeded));
  EXPECT_EQ(replies.at(2).head.code, static_cast<int>(Code::cancelled));
  EXPECT_EQ(replies.at(3).head.code, 0);
  EXPECT_EQ(replies.at(3).head.batch_rows, 1U);
}

TEST(ServeLoop, a_run_that_nobody_waits_for_is_stopped) {
  SKIP_WITHOUT_MODELS();
  Instance instance("loops");
  const os::Fd process = os::open_process(instance.pid()).value();
  const auto cancel = [&](std::uint64_t ticket) {
    instance.node().cancel(ticket);
    instance.node().wake();
    ASSERT_TRUE(os::signal_process(process, domain::kCancelSignal, ticket));
  };
  instance.node().send({.ticket = 1, .body = R"({"x": [1]})"});  // without end
  while (os::process_cpu(instance.pid()) < 300ms) ::usleep(1000);
  cancel(99);  // another's, or one that was answered
  EXPECT_FALSE(instance.node().reply(100ms));
  cancel(1);
  const auto reply = instance.node().reply();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->head.ticket, 1u);
  EXPECT_EQ(reply->head.code, static_cast<int>(Code::cancelled)) << reply->body;
  EXPECT_GT(reply->head.cpu_ns, 0u);
  instance.node().send({.ticket = 2, .body = R"({"x": [0]})"});
  EXPECT_EQ(instance.node().reply()->head.code, 0) << "the same instance goes on";
  cancel(3);  // while nothing runs
  EXPECT_EQ(instance.stop(), kStopped);
}

TEST(ServeLoop, large_bodies_come_and_go_in_memfds) {
  SKIP_WITHOUT_MODELS();
  Instance instance("add");
  std::uint64_t ticket = 0;
  for (const std::size_t rows : {4000UL, 30000UL}) {
    std::string body = "{\"x\": [";
    for (std::size_t i = 0; i < rows; ++i) body += i ? ",[1,1,1]" : "[1,1,1]";
    body += "]}";
    for (const std::size_t end : {0UL, 1UL, 63UL, 64UL, 4095UL}) {  // where the body ends within its last page
      std::string padded = body;
      padded.append((end + 4096 - padded.size() % 4096) % 4096, ' ');
      instance.node().send({.ticket = ++ticket, .body = padded, .in_memfd = true});
      const auto reply = instance.node().reply();
      ASSERT_TRUE(reply);
      EXPECT_EQ(reply->head.code, 0) << reply->body.substr(0, 200);
      EXPECT_EQ(reply->head.rows, rows);
      EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(reply->body, '4')), rows);
    }
  }
}

TEST(ServeLoop, no_reply_is_lost_where_the_node_is_slow) {
  SKIP_WITHOUT_MODELS();
  Instance instance("add", {.model_name = "m", .version_number = 1, .rows_max = 32});
  std::string body = "{\"x\": [";
  for (int i = 0; i < 3000; ++i) body += i ? ",[1,1,1]" : "[1,1,1]";
  body += "]}";
  std::size_t sent = 0;
  const Instant end = os::monotonic_now() + 10s;
  while (sent < 40 && os::monotonic_now() < end) {  // 40 replies of some 30 KB: several times the ring
    if (instance.node().write({.ticket = sent + 1, .body = body})) ++sent;
    else ::usleep(1000);
    instance.node().wake();
    if (sent > 20) break;
  }
  ::usleep(50'000);  // the instance is stuck on a full ring by now
  EXPECT_EQ(instance.node().replies(sent).size(), sent);
  EXPECT_EQ(instance.stop(), kStopped);
}

TEST(ServeLoop, ends_while_its_replies_find_no_room_if_the_node_is_gone) {
  SKIP_WITHOUT_MODELS();
  Instance instance("add");
  std::string body = "{\"x\": [";
  for (int i = 0; i < 3000; ++i) body += i ? ",[1,1,1]" : "[1,1,1]";
  body += "]}";
  for (std::uint64_t i = 1; i <= 20; ++i) {
    if (!instance.node().write({.ticket = i, .body = body})) ::usleep(20'000);
    instance.node().wake();
  }
  EXPECT_EQ(instance.leave(), kNodeGone);
}

TEST(ServeLoop, waits_for_a_fuller_batch_if_told_to) {
  SKIP_WITHOUT_MODELS();
  Instance instance("add", {.model_name = "m", .version_number = 1, .rows_max = 2, .batch_wait = 5s});
  instance.node().send({.ticket = 1, .body = add_body(1)});
  ::usleep(20'000);
  instance.node().send({.ticket = 2, .body = add_body(2)});
  for (const auto& [ticket, reply] : instance.node().replies(2)) EXPECT_EQ(reply.head.batch_rows, 2U);
}

TEST(ServeLoop, a_batch_that_does_not_fill_runs_at_its_time) {
  SKIP_WITHOUT_MODELS();
  Instance instance("add", {.model_name = "m", .version_number = 1, .rows_max = 32, .batch_wait = 100ms});
  instance.freeze();
  for (std::uint64_t i = 1; i <= 3; ++i) ASSERT_TRUE(instance.node().write({.ticket = i, .body = add_body(1)}));
  instance.node().wake();
  const Instant begun = os::monotonic_now();
  instance.thaw();
  for (const auto& [ticket, reply] : instance.node().replies(3)) EXPECT_EQ(reply.head.batch_rows, 3U);
  EXPECT_GE(os::monotonic_now() - begun, 100ms);
}

TEST(ServeLoop, shapes_that_differ_are_not_joined) {
  SKIP_WITHOUT_MODELS();
  Instance instance("conv");
  const auto image = [](int size) {
    std::string row = "[";
    for (int i = 0; i < size; ++i) row += i ? ",1" : "1";
    row += "]";
    std::string plane = "[";
    for (int i = 0; i < size; ++i) plane += (i ? "," : "") + row;
    plane += "]";
    return "{\"image\": [[" + plane + "," + plane + "," + plane + "]]}";
  };
  instance.freeze();
  for (std::uint64_t i = 1; i <= 6; ++i) ASSERT_TRUE(instance.node().write({.ticket = i, .body = image(i <= 3 ? 4 : 6)}));
  instance.node().wake();
  instance.thaw();
  for (const auto& [ticket, reply] : instance.node().replies(6)) {
    EXPECT_EQ(reply.head.code, 0) << reply.body;
    EXPECT_EQ(reply.head.batch_rows, 3U);
  }
}

TEST(ServeLoop, rows_that_depend_on_one_another_run_alone) {
  SKIP_WITHOUT_MODELS();
  Instance instance("mixes_rows", {.model_name = "m", .version_number = 1, .rows_max = 32, .batches = false});
  instance.freeze();
  for (std::uint64_t i = 1; i <= 4; ++i)
    ASSERT_TRUE(instance.node().write({.ticket = i, .body = "{\"x\": [[" + std::to_string(i) + ",1]]}"}));
  instance.node().wake();
  instance.thaw();
  for (const auto& [ticket, reply] : instance.node().replies(4)) EXPECT_EQ(reply.head.batch_rows, 1U);
}

TEST(ServeLoop, a_garbled_frame_ends_it) {
  SKIP_WITHOUT_MODELS();
  TestLink link;
  auto model = Model::load(test_engine(), test_model("add"), {});
  auto requests = os::open_ring(link.memory.get(), 0, link.request_bell.get()).value();
  ASSERT_NE(requests.reserve(5), nullptr);
  requests.publish(5);
  ServeLoop loop(**model, link.instance_socket.get(), os::open_ring(link.memory.get(), 0, link.request_bell.get()).value(),
                 os::open_ring(link.memory.get(), 1, link.reply_bell.get()).value(), {});
  EXPECT_FALSE(loop.run());
}

// The header's promise: one reply for each request, whatever comes in whatever order.
TEST(ServeLoop, one_reply_for_each_request_of_a_random_history) {
  SKIP_WITHOUT_MODELS();
  Instance instance("add", {.model_name = "m", .version_number = 1, .rows_max = 4, .batch_wait = 100us});
  Random random(1);
  std::map<std::uint64_t, int> open;
  std::uint64_t next = 0;
  const auto take = [&](Duration wait) {
    const auto reply = instance.node().reply(wait);
    if (!reply) return false;
    EXPECT_EQ(open.erase(reply->head.ticket), 1U) << reply->head.ticket;
    return true;
  };
  for (int step = 0; step < 3000; ++step) {
    switch (random.between(0, 5)) {
      case 0:
      case 1:
      case 2: {
        if (open.size() >= 60) break;
        const bool sound = random.chance(0.8);
        const TestRequest request{.ticket = ++next,
                                  .body = sound ? add_body(random.between(0, 9)) : "{\"x\": 1",
                                  .deadline_ns = random.chance(0.9) ? ~0ULL >> 1 : 1,
                                  .in_memfd = random.chance(0.1)};
        if (instance.node().write(request)) open[next] = 1;
        break;
      }
      case 3: if (next > 0) instance.node().cancel(next - static_cast<std::uint64_t>(random.between(0, 3)) % next); break;
      case 4: instance.node().wake(); break;
      default: take(Duration{});
    }
  }
  instance.node().wake();
  while (!open.empty() && take(10s)) {}
  EXPECT_TRUE(open.empty()) << open.size() << " of " << next << " have no reply";
  EXPECT_EQ(instance.stop(), kStopped);
}

}  // namespace
}  // namespace mayfly::worker
