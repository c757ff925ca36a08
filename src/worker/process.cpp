#include "worker/process.h"

#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <memory>
#include <vector>

#include "domain/link.h"
#include "domain/working_set.h"
#include "os/clock.h"
#include "os/ring.h"
#include "worker/build.h"
#include "worker/code_loop.h"
#include "worker/code_template.h"
#include "worker/jobs.h"
#include "worker/made_up.h"
#include "worker/model.h"
#include "worker/node_control.h"
#include "worker/outbound.h"
#include "worker/prefetch.h"
#include "worker/probe.h"
#include "worker/run_watch.h"
#include "worker/seccomp.h"
#include "worker/serve_loop.h"
#include "worker/start_cache.h"
#include "worker/unpack.h"

namespace mayfly::worker {
namespace {

using domain::LoadOrder;
using domain::Message;
using domain::MessageKind;
using domain::ReadyMessage;
using domain::Role;

constexpr std::size_t kTextMax = 60 * 1024;
constexpr int kNodeGone = 0;

// What a LoadOrder or a ForkOrder came with.
struct Received {
  LoadOrder order;
  std::vector<domain::FileEntry> files;
  std::vector<os::Fd> fds;
  std::string labels;          // each ended by a newline
  std::string working_set;     // of file 0, as text
};

void send_with_text(int control, std::span<const std::byte> fixed, std::string_view text) {
  std::vector<std::byte> packet(fixed.begin(), fixed.end());
  const auto bytes = std::as_bytes(std::span(text));
  packet.insert(packet.end(), bytes.begin(), bytes.end());
  if (!os::send_packet(control, packet)) ::_exit(kNodeGone);
}

[[noreturn]] void report_failure(int control, const Error& error) {
  if (!say_failed(control, error, kTextMax)) ::_exit(kNodeGone);
  ::_exit(0);
}

void say_hello(int control) {
  const Message hello{MessageKind::hello, 0};
  if (!os::send_packet(control, os::bytes_of(hello))) ::_exit(kNodeGone);
}

Received receive_order(int control) {
  std::vector<std::byte> bytes(domain::kMessageMax);
  for (;;) {
    auto packet = os::receive_packet(control, bytes);
    if (!packet || packet->size < sizeof(Message)) ::_exit(kNodeGone);
    Message head;
    std::memcpy(&head, bytes.data(), sizeof head);
    if (head.kind == MessageKind::stop) ::_exit(0);
    if (head.kind != MessageKind::load || packet->size < sizeof(LoadOrder)) continue;
    Received got;
    std::memcpy(&got.order, bytes.data(), sizeof got.order);
    const std::size_t entries = (packet->size - sizeof(LoadOrder)) / sizeof(domain::FileEntry);
    const bool bound = domain::is_bound(got.order.role);  // then its files are in the sandbox
    if ((got.order.files == 0 && !bound) || got.order.files > entries || packet->fds.size() < 3 + got.order.files)
      report_failure(control, {Code::internal, "a load order without its files"});
    got.files.resize(got.order.files);
    if (got.order.files > 0) std::memcpy(got.files.data(), bytes.data() + sizeof(LoadOrder), got.order.files * sizeof(domain::FileEntry));
    got.fds = std::move(packet->fds);
    const std::size_t behind = sizeof(LoadOrder) + got.order.files * sizeof(domain::FileEntry);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + behind, packet->size - behind);
    if (got.order.labels_size <= text.size()) got.labels = text.substr(0, got.order.labels_size);
    if (text.size() - got.labels.size() >= got.order.working_set_size)
      got.working_set = text.substr(got.labels.size(), got.order.working_set_size);
    return got;
  }
}

Result<ModelData> map_files(const Received& got) {
  ModelData data;
  for (std::size_t i = 0; i < got.files.size(); ++i) {
    TRY(os::Mapping bytes, os::map_file(got.fds[3 + i].get(), got.files[i].size, os::Access::read));
    data.files.push_back({std::string(got.files[i].path, ::strnlen(got.files[i].path, domain::kPathMax)), std::move(bytes)});
  }
  return data;
}

// Weights in files of their own: used there where there is no room to copy them, or where they are too large for that.
bool may_use_in_place(const LoadOrder& order) {
  return order.role == Role::instance && order.compiled == 0 && order.files > 1 && order.threads == 1;
}

// What the first answer will touch, while nothing else is to be done.
std::uint64_t read_ahead(const Received& got, const ModelData& data) {
  if (!got.order.compiled || got.working_set.empty()) return 0;
  const auto set = domain::parse_working_set(got.working_set);
  if (!set) return 0;
  const os::Mapping& file = data.files[0].bytes;
  if (got.order.prefetch_max < file.size()) read_singly_beside(file, *set);
  return prefetch(got.fds[3].get(), file, *set, got.order.prefetch_max);
}

std::vector<std::string> split_labels(std::string_view text) {
  std::vector<std::string> labels;
  for (std::size_t end = 0; (end = text.find('\n')) != std::string_view::npos; text.remove_prefix(end + 1))
    labels.emplace_back(text.substr(0, end));
  return labels;
}

ServeOptions serve_options(const Received& got) {
  const LoadOrder& order = got.order;
  return {.model_name = std::string(order.model_name, ::strnlen(order.model_name, sizeof order.model_name)),
          .version_number = static_cast<int>(order.version_number),
          .rows_max = static_cast<int>(std::clamp<std::uint32_t>(order.rows_max, 1, 4096)),
          .batch_wait = Duration(static_cast<Duration::rep>(order.batch_wait_ns)),
          .batches = order.batches != 0,
          .labels = split_labels(got.labels)};
}

[[noreturn]] void serve(Model& model, int control, std::span<const os::Fd> link, const Received& got, ReadyMessage ready) {
  auto in = os::open_ring(link[0].get(), 0, link[1].get());
  auto out = os::open_ring(link[0].get(), 1, link[2].get());
  if (!in || !out) report_failure(control, in ? out.error() : in.error());
  ready.cpu_ns = static_cast<std::uint64_t>(os::process_cpu_now().count());
  ServeLoop loop(model, control, std::move(*in), std::move(*out), serve_options(got));
  ready.credit = loop.credit();
  ready.threads = got.order.threads;
  if (!os::send_packet(control, os::bytes_of(ready))) ::_exit(kNodeGone);
  loop.run();
  ::_exit(0);
}

// A child of init rather than of this template, so that the template may leave before it and collects no zombies.
int fork_sibling() { return static_cast<int>(::syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, nullptr)); }

[[noreturn]] void be_template(Model& model, os::Fd& control, const Received& got, ReadyMessage ready) {
  ::malloc_trim(0);
  ready.threads = 1;
  ready.cpu_ns = static_cast<std::uint64_t>(os::process_cpu_now().count());
  if (!os::send_packet(control.get(), os::bytes_of(ready))) ::_exit(kNodeGone);
  std::array<std::byte, 4096> bytes;
  for (;;) {
    auto packet = os::receive_packet(control.get(), bytes);
    if (!packet || packet->size < sizeof(Message)) ::_exit(kNodeGone);
    Message head;
    std::memcpy(&head, bytes.data(), sizeof head);
    if (head.kind == MessageKind::stop) ::_exit(0);
    if (head.kind != MessageKind::fork || packet->fds.size() != 4) continue;
    const Instant begun = os::monotonic_now();
    const int child = fork_sibling();
    if (child != 0) continue;  // the parent; or no room for one more: the child's socket closes, which tells the node
    const os::Fd mine = std::move(packet->fds[0]);
    control.reset();
    // The weights stay in the template's large pages, which all share. What a child's runs write gets small ones: a page touched
    // costs 4 KiB of memory and not 2 MiB (docs/measurements.md).
    ::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    if (const auto filtered = apply_role_filter(Role::instance, 1); !filtered) ::_exit(1);
    ::srand(static_cast<unsigned>(os::monotonic_now().since_boot.count()));
    say_hello(mine.get());
    ReadyMessage forked;
    forked.load_ns = static_cast<std::uint64_t>((os::monotonic_now() - begun).count());
    serve(model, mine.get(), std::span(packet->fds).subspan(1), got, forked);
  }
}

void send_result(int control, const std::string& json) {
  const ReadyMessage ready{.head = {MessageKind::ready, static_cast<std::uint32_t>(json.size())}, .credit = 1, .threads = 1,
                           .cpu_ns = static_cast<std::uint64_t>(os::process_cpu_now().count())};
  if (json.size() > kTextMax)
    report_failure(control, {Code::invalid_argument,
                             "the model's description has " + std::to_string(json.size()) + " bytes; at most 61440 can be kept"});
  send_with_text(control, os::bytes_of(ready), json);
}

void limit_to(__rlimit_resource resource, std::uint64_t most) {
  const rlimit wanted{most, most};
  if (most > 0 && ::setrlimit(resource, &wanted) != 0) ::_exit(1);
}

Result<std::string> do_job(Engine& engine, const Received& got) {
  const LoadOrder& order = got.order;
  if (order.role == Role::tune) {
    TRY(const domain::Tuning tuning, tune_model(engine, [&] { return map_files(got); }, order.threads));
    return domain::to_json(tuning);
  }
  TRY(ModelData data, map_files(got));
  if (order.role == Role::check) {
    TRY(const domain::CheckResult checked, check_model(engine, std::move(data)));
    return domain::to_json(checked);
  }
  const std::size_t output = 3 + got.files.size();
  if (got.fds.size() <= output) return fail(Code::internal, "a compile order without its output");
  TRY_VOID(compile_model(engine, data, got.fds[output].get(), order.output_size_max));
  return std::string("{}");
}

Result<void> build(std::string_view text) {
  TRY(const domain::BuildOrder order, domain::parse_build_order(text));
  return run_build(order);
}

Result<void> cache_start(std::string_view text) {
  TRY(const domain::StartCacheOrder order, domain::parse_start_cache_order(text));
  return make_start_cache(order);
}

[[noreturn]] void run_role(Engine& engine, os::Fd& control, const OptimizeWork& optimize) {
  hold_cancel_signal();
  say_hello(control.get());
  Received got = receive_order(control.get());
  const Instant begun = os::monotonic_now();
  const LoadOrder& order = got.order;
  if (order.role == Role::code) run_code(control.get(), got.fds, got.labels);
  if (order.role == Role::code_template) {
    os::Fd outbound = got.fds.size() > kLinkOutbound ? std::move(got.fds[kLinkOutbound]) : os::Fd();
    got.fds.clear();
    run_code_template(control, got.labels, std::move(outbound));
  }
  if (order.role == Role::start_cache) {
    got.fds.clear();  // what it starts is to have none of these
    if (const auto done = cache_start(got.labels); !done) report_failure(control.get(), done.error());
    send_result(control.get(), "{}");
    ::_exit(0);
  }
  if (order.role == Role::optimize && optimize) {
    got.fds.clear();
    const auto done = optimize(engine, got.labels);
    if (!done) report_failure(control.get(), done.error());
    send_result(control.get(), *done);
    ::_exit(0);
  }
  if (order.role == Role::unpack || order.role == Role::build) {
    const UnpackLimits limits{.bytes_max = order.output_size_max, .layer = got.labels == domain::kLayer};
    const auto done = order.role == Role::build ? build(got.labels) : unpack_archive(domain::kArchivePlace, domain::kPackagePlace, limits);
    if (!done) report_failure(control.get(), done.error());
    send_result(control.get(), "{}");
    ::_exit(0);
  }
  const auto filtered = may_use_in_place(order) ? apply_in_place_filter() : apply_role_filter(order.role, order.threads);
  if (!filtered) report_failure(control.get(), filtered.error());
  // Without control groups memory is limited here; what a compile may write to the node's disk always is.
#ifndef __SANITIZE_ADDRESS__  // whose shadow memory counts
  limit_to(RLIMIT_DATA, order.memory_max);
#endif
  limit_to(RLIMIT_FSIZE, order.output_size_max);
  if (!order.large_pages) ::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  if (order.role == Role::check || order.role == Role::compile || order.role == Role::tune) {
    const auto result = do_job(engine, got);
    if (!result) report_failure(control.get(), result.error());
    send_result(control.get(), *result);
    ::_exit(0);
  }
  if (order.role == Role::probe) {
    send_result(control.get(), to_json(probe_sandbox(got.fds[3].get(), got.fds[0].get())));
    ::_exit(0);
  }
  if (order.role != Role::instance && order.role != Role::template_) report_failure(control.get(), {Code::internal, "an unknown role"});
  auto data = map_files(got);
  if (!data) report_failure(control.get(), data.error());
  ReadyMessage ready;
  ready.prefetched_bytes = read_ahead(got, *data);
  const Instant mapped = os::monotonic_now();
  ready.map_ns = static_cast<std::uint64_t>((mapped - begun).count());
  auto model = Model::load(engine, std::move(*data),
                           {.compiled = order.compiled != 0, .pack_weights = order.pack_weights != 0, .threads = order.threads,
                            .map_weights = may_use_in_place(order) && order.pack_weights == 0, .room = order.prefetch_max});
  if (!model) report_failure(control.get(), model.error());
  const Instant loaded = os::monotonic_now();
  ready.load_ns = static_cast<std::uint64_t>((loaded - mapped).count());
  if (order.role == Role::instance) serve(**model, control.get(), std::span(got.fds).first(3), got, ready);
  got.fds.clear();  // its own ring and files: no child is to have them
  // What a first run sets up (buffers, pages) is set up here once for all forks. A model that does not run on made-up input still forks.
  static_cast<void>(find_size(**model).has_value());
  ready.warm_ns = static_cast<std::uint64_t>((os::monotonic_now() - loaded).count());
  be_template(**model, control, got, ready);
}

}  // namespace

void run_process(Engine& engine, os::Fd control, const OptimizeWork& optimize) {
  const int socket = control.get();
  try {
    run_role(engine, control, optimize);
  } catch (const std::bad_alloc&) {
    report_failure(socket, {Code::exhausted, "out of memory: raise resources.memory"});
  } catch (const std::exception& error) {
    report_failure(socket, {Code::internal, std::string("unexpected: ") + error.what()});
  }
}

}  // namespace mayfly::worker
