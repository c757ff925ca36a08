#include "app/serve.h"

#include <atomic>
#include <cstdio>

#include "app/config.h"
#include "app/debug_door.h"
#include "app/version.h"
#include "control/deploys.h"
#include "control/node.h"
#include "domain/compile_key.h"
#include "gateway/gateway.h"
#include "instances/zygote_launcher.h"
#include "jobs/event_queue.h"
#include "os/clock.h"
#include "os/loop.h"
#include "os/machine.h"
#include "os/pool.h"
#include "os/signals.h"
#include "app/optimize_job.h"
#include "store/store.h"

namespace mayfly::app {
namespace {

control::Background background(os::Pool& pool) {
  return [&pool](std::function<void()> work, std::function<void()> done) { return pool.run(std::move(work), std::move(done)); };
}

control::NodeOptions node_options(const Config& config) {
  const std::uint64_t seed = static_cast<std::uint64_t>(os::wall_now().since_epoch.count());
  return {.scale = {.cores = config.cores > 0 ? config.cores : os::usable_cores(),
                    .memory_budget = config.memory_budget.count ? config.memory_budget : Bytes{os::machine_memory().count / 2},
                    .template_keep = config.template_keep, .keep_alive_default = config.keep_alive},
          .build = {.memory = config.build_memory, .time_max = config.build_time_max},
          .optimize = {.memory = config.optimize_memory},
          .check_optimization = check_optimization,
          .prices = {.currency = config.currency, .per_gb_second = config.price_per_gb_second,
                     .per_million_requests = config.price_per_million_requests,
                     .always_on_per_gb_hour = config.price_always_on_per_gb_hour},
          .version = std::string(kVersion), .compile_key = domain::compile_key(), .cpu_features = domain::cpu_features(), .seed = seed,
          .network = {.host = config.code_network_host, .loopback = config.code_network_loopback}};
}

// Everything the node is made of, in the order in which it is built; members die in reverse.
class Served {
 public:
  Served(os::Loop loop, os::Fd signals, std::unique_ptr<store::Store> store, const Config& config, std::string debug)
      : config_(config), debug_(std::move(debug)), loop_(std::move(loop)), signals_(std::move(signals)),
        turn_{.now = loop_.now(), .wall = os::wall_now()},
        store_(std::move(store)), catalog_line_(loop_, 1), bulk_line_(loop_, 1), event_line_(loop_, 1), fetch_line_(loop_, 2, 16),
        pull_line_(loop_, 2, 16),
        node_(turn_, *store_, background(catalog_line_), background(bulk_line_),
              with_fetch(with_pull(node_options(config), config), config.objects)),
        deploys_(turn_, *store_, background(catalog_line_), background(bulk_line_), config.deploy_bucket),
        launcher_(loop_, node_.launcher_events(), {.engine_library = config.engine, .blanks = config.pool,
                   .open_models = [this](const instances::StartOrder& order) { return open_models(order); },
                   .debug = !debug_.empty(), .network = [this] { return network_rules(); }}),
        events_(turn_, store_->events(), background(event_line_), node_.invoker(),
                [this](std::string_view function, std::string_view qualifier) { return node_.event_policy(function, qualifier); },
                {.retry_wait = config.event_retry_wait}),
        gateway_(loop_, turn_, node_.invoker(), node_,
                 {.listen = config.listen, .limits = config.http, .doors = config.data + "/doors", .events = &events_,
                  .deploys = config.deploy_bucket_on ? &deploys_ : nullptr, .keys = config.lambda_keys}) {
    node_.attach(launcher_);
  }

  ~Served() { ending_ = true; }

  Result<void> start() {
    TRY_VOID(node_.open());
    TRY_VOID(events_.open());
    TRY_VOID(deploys_.open());
    deploys_.on_trouble([this](std::string text) { node_.note(std::move(text)); });
    if (!launcher_.note().empty()) node_.note(launcher_.note());
    loop_.before_turn([this] { turn_ = {.now = loop_.now(), .wall = os::wall_now()}; });
    loop_.before_sleep([this] { end_turn(); });
    TRY_VOID(loop_.watch(signals_.get(), os::kReadable, on_signal_));
    TRY_VOID(gateway_.start());
    const auto let_in = [this](os::Fd debugger) { return launcher_.let_in(std::move(debugger)); };
    if (!debug_.empty()) { TRY(debug_door_, DebugDoor::create(loop_, debug_, let_in)); }
    const std::string address = gateway_.address();
    if (debug_door_) std::printf("mayfly: debuggers come in at %s\n", debug_door_->address().c_str());
    std::printf("mayfly: listening on http://%s\n", address.c_str());
    std::printf("mayfly: next: mayfly deploy model.onnx; mayfly list; curl http://%s/v2\n", address.c_str());
    std::fflush(stdout);
    return {};
  }
  void run() {
    fold();
    loop_.run();
  }

 private:
  struct OnSignal final : os::Watcher {
    explicit OnSignal(Served& s) : served(s) {}
    void on_events(std::uint32_t) override { served.on_signal(); }
    Served& served;
  };

  Result<instances::ModelDoor> open_models(const instances::StartOrder& order) {
    TRY(auto door, gateway_.open_door({.function = order.model_name, .version = order.version_number, .models = order.models}));
    return instances::ModelDoor{door.path, std::move(door.held)};
  }

  domain::NetworkRules network_rules() const {
    const auto listens = domain::parse_destination(gateway_.address());
    return {.host = config_.code_network_host, .loopback = config_.code_network_loopback,
            .node_port = listens ? listens->port : std::uint16_t{0}};
  }

  // Images of the configured registries, likewise.
  control::NodeOptions with_pull(control::NodeOptions options, const Config& config) {
    if (config.registries.empty()) return options;
    options.pull_work = background(pull_line_);
    options.pull = [this, registries = config.registries, time_max = config.pull_time_max](const std::string& reference) {
      return store::pull_image(registries, store_->artifacts(), {reference, os::monotonic_now() + time_max, ending_});
    };
    return options;
  }

  // Objects of the configured store, on a line of their own: a slow store holds up nothing else.
  control::NodeOptions with_fetch(control::NodeOptions options, const store::ObjectStore& objects) {
    options.find_object = [this](const control::ObjectName& object) { return deploys_.file_of(object.bucket, object.key); };
    if (objects.endpoint.empty()) return options;
    options.fetch_work = background(fetch_line_);
    options.fetch = [this, objects](const control::ObjectName& object, const control::TakeBytes& take) {
      return store::fetch_object(objects, object.bucket, object.key, object.version, os::wall_now(), ending_, take);
    };
    return options;
  }

  // After the handlers of a turn: timers that are due, then what was given to instances leaves at once.
  void end_turn() {
    const Instant event = events_.end_turn();    // before the node's: it gives what these begin to instances
    const Instant next = std::min(event, node_.end_turn());
    if (auto trouble = store_->usage().take_trouble()) node_.note("usage records are being lost: " + trouble->message);
    if (next == wake_.at) return;
    loop_.cancel(wake_);
    wake_ = {};
    if (next != Instant::never()) wake_ = loop_.at(next, [this] { wake_ = {}; });
  }

  // Usage records become sums by the hour behind the traffic.
  void fold() {
    const bool taken = bulk_line_.run([this, now = turn_.wall] {
      if (const auto folded = store_->usage().fold(now); !folded)
        std::fprintf(stderr, "mayfly: usage was not summed: %s\n", folded.error().message.c_str());
    }, nullptr);
    loop_.after(std::chrono::minutes(taken ? 1 : 5), [this] { fold(); });
  }

  void on_signal() {
    if (!os::take_signal(signals_)) return;
    if (draining_) return loop_.stop();  // asked twice: now
    draining_ = true;
    std::printf("mayfly: draining: %zu calls are under way\n", node_.in_flight());
    std::fflush(stdout);
    gateway_.drain(config_.drain_max, [this] { loop_.stop(); });
  }

  Config config_;
  const std::string debug_;
  os::Loop loop_;
  os::Fd signals_;
  Turn turn_;
  std::unique_ptr<store::Store> store_;
  std::atomic<bool> ending_ = false;              // what is being fetched is given up
  os::Pool catalog_line_, bulk_line_, event_line_, fetch_line_, pull_line_;
  control::Node node_;
  control::Deploys deploys_;
  instances::ZygoteLauncher launcher_;
  jobs::EventQueue events_;
  gateway::Gateway gateway_;
  std::unique_ptr<DebugDoor> debug_door_;
  OnSignal on_signal_{*this};
  os::Loop::TimerId wake_;
  bool draining_ = false;
};

Result<void> run_node(const ServeOptions& options) {
  Config config;
  if (!options.config.empty()) TRY_VOID(read_config(options.config, config));
  if (!options.listen.empty()) config.listen = options.listen;
  if (!options.data.empty()) config.data = options.data;
  os::raise_descriptor_limit();
  TRY(os::Fd signals, os::catch_end_signals());
  if (options.with_parent) TRY_VOID(os::end_with_parent());
  TRY(auto store, store::Store::open({.folder = config.data}));
  TRY(os::Loop loop, os::Loop::create());
  Served served(std::move(loop), std::move(signals), std::move(store), config, options.debug);
  TRY_VOID(served.start());
  served.run();
  return {};
}

}  // namespace

int serve(const ServeOptions& options) {
  const auto ran = run_node(options);
  if (ran) return 0;
  std::fprintf(stderr, "mayfly: %s\n", ran.error().message.c_str());
  return 1;
}

}  // namespace mayfly::app
