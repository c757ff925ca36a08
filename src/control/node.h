// The node's use cases on its parts: catalog in memory (the store's copy is written behind each change,
// and a change is acknowledged once it is durable), dispatcher, fleet, scale loop, books.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "base/turn.h"
#include "control/books.h"
#include "control/control.h"
#include "control/detail/joined.h"
#include "control/plan.h"
#include "control/price.h"
#include "control/recorder.h"
#include "control/scale_loop.h"
#include "domain/settings.h"
#include "instances/fleet.h"
#include "serve/dispatcher.h"
#include "store/pull.h"
#include "store/store.h"

namespace mayfly::control {

constexpr std::size_t kUploadsMax = 64;  // at a time

// Work that may block: runs elsewhere, in order within one line, then `done` runs here.
// False: too much waits already.
using Background = std::function<bool(std::function<void()> work, std::function<void()> done)>;

struct BuildLimits {                     // of one installation of dependencies
  Bytes memory = 4_GiB;
  Duration time_max = std::chrono::minutes(15);
};

struct OptimizeLimits {                  // of one search for a smaller model
  Bytes memory = 4_GiB;
};
// Whether its recipes are such, which the module of steps knows.
using CheckOptimization = std::function<Result<void>(const domain::OptimizationOrder& order)>;

// Fetches an object, and gives its bytes in pieces; blocks. Runs on a line of its own.
using TakeBytes = std::function<Result<void>(std::span<const std::byte>)>;
// The image of a reference, with its layers as artifacts; blocks.
using PullImage = std::function<Result<store::PulledImage>(const std::string& reference)>;
using FetchObject = std::function<Result<void>(const ObjectName& object, const TakeBytes& take)>;

struct NodeOptions {
  ScaleOptions scale;
  BuildLimits build;
  OptimizeLimits optimize;
  CheckOptimization check_optimization;  // null: none is refused here
  PriceTable prices;
  std::string version;
  std::string compile_key;               // which compiled models fit this machine
  std::string cpu_features;              // for people
  std::uint64_t seed = 1;                // of alias choices
  domain::NetworkRules network;          // of code; what is not allowed is refused at deploy
  FetchObject fetch;                     // null: no store is configured
  std::function<std::optional<domain::FileRef>(const ObjectName&)> find_object;  // of the deploy bucket, which is asked first; null: none
  Background fetch_work;                 // where it runs
  PullImage pull;                        // null: no registry is configured
  Background pull_work;                  // where it runs
};

class Node final : public Control, public serve::DispatcherEvents, public instances::FleetObserver {
 public:
  // `catalog` and `bulk`: two lines of background work, for the catalog and for artifacts.
  Node(const Turn& turn, store::Store& store, Background catalog, Background bulk, NodeOptions options);
  ~Node() override;
  // The launcher tells its events to launcher_events(); introduced before open().
  void attach(instances::Launcher& launcher);
  instances::LauncherEvents& launcher_events() { return fleet_; }

  // Reads the catalog; everything that served before serves again.
  [[nodiscard]] Result<void> open();
  serve::Invoker& invoker() { return dispatcher_; }
  // After each turn's events and when due: timers, and what was given to instances leaves. Returns when to be called next.
  Instant end_turn();
  void note(std::string text) { notes_.push_back(std::move(text)); }
  std::size_t in_flight() const { return dispatcher_.in_flight(); }
  // What is set for its events; defaults for a function that is not there.
  domain::EventPolicy event_policy(std::string_view function, std::string_view qualifier);

  // Control
  bool has_artifact(std::string_view sha256) override;
  Result<std::uint64_t> begin_upload() override;
  void append_upload(std::uint64_t upload, std::string bytes, Done<void> done) override;
  void append_made(std::uint64_t upload, std::function<Result<std::string>()> make, Done<void> done) override;
  void fetch_object(ObjectName object, Done<domain::FileRef> done) override;
  void finish_upload(std::uint64_t upload, Done<domain::FileRef> done) override;
  void abort_upload(std::uint64_t upload) override;
  void deploy(DeployOrder order, Done<VersionView> done) override;
  std::vector<FunctionView> list() override;
  Result<FunctionView> describe(std::string_view function) override;
  void remove(std::string_view function, Done<void> done) override;
  void remove_version(std::string_view function, int version, Done<void> done) override;
  void set_alias(std::string_view function, std::string_view alias, std::vector<domain::Weight> weights, Done<domain::Alias> done) override;
  void remove_alias(std::string_view function, std::string_view alias, Done<void> done) override;
  void rollback(std::string_view function, std::string_view alias, Done<domain::Alias> done) override;
  void set_settings(std::string_view function, std::vector<domain::Setting> settings, Done<void> done) override;
  void record(std::string_view function, std::optional<domain::RecordingPolicy> policy, Done<void> done) override;
  void recorded(std::string_view function, Done<std::string> done) override;
  void optimize(std::string_view function, int version, domain::OptimizationOrder order, Done<int> done) override;
  void stop_optimization(std::string_view function, int version, Done<void> done) override;
  std::vector<OptimizationView> optimizations() override;
  std::shared_ptr<const domain::FunctionUrl> url(std::string_view id) override;
  void publish_layer(LayerOrder order, Done<domain::LayerVersion> done) override;
  std::vector<domain::LayerVersion> layers(std::string_view name) override;
  void remove_layer(std::string_view name, int number, Done<void> done) override;
  void set_layer_statement(std::string_view name, int number, domain::LayerStatement statement, Done<void> done) override;
  Result<void> scale(std::string_view function, int instances, bool evict) override;
  std::vector<InstanceView> instances() override;
  NodeView node() override;
  void usage(std::string_view function, WallTime since, WallTime until, Done<UsageReport> done) override;
  Result<std::vector<LogLine>> logs(std::string_view function, const LogQuery& query) override;
  std::vector<BuildView> builds() override;
  Result<domain::Version> resolve(std::string_view function, std::string_view qualifier) override;
  Result<std::vector<VersionStats>> stats(std::string_view function) override;
  std::string metrics() override;

  // DispatcherEvents
  void on_demand(serve::Lane& lane) override;
  void on_record(const domain::UsageRecord& record, const serve::TraceId& trace, const Error* error) override;
  instances::Group& group_of(const serve::Target& target) override;
  void on_recorded_call(const serve::Target& target, const serve::Invocation& call) override;

  // FleetObserver
  void on_started(const instances::Process& process) override;
  void on_first_answer(const instances::Process& process) override;
  void on_start_error(const instances::Group& group, bool is_template, const Error& error, std::string_view log) override;
  void on_ended(const instances::Process& process, const instances::Death& death) override;
  void on_log(const instances::Group* group, ProcessId process, const domain::Printed& line) override;
  void on_overhead(const instances::Process& process, Duration cpu) override;

 private:
  struct Entry;                          // a function and the stages of its versions
  Instant tick();
  Entry* find(std::string_view function);
  domain::Version* find(VersionId version);
  Result<Entry*> need(std::string_view function);
  Locate locate();
  void refresh(Entry& entry);            // routes and the fleet's plans follow the catalog
  void list_urls(Entry& entry);          // … and so does what is found by a URL's ID
  void prepare(VersionId version);       // what it lacks on this machine: compiled, measured
  // What another version of the same model has: what its check said; its compiled file, as measured if the limits are the same.
  const domain::Version* checked_elsewhere(const domain::Version& version);
  std::optional<domain::Compiled> compiled_elsewhere(const domain::Version& version);
  void unpack(const domain::Version& version, Done<void> done);  // with its layers; at once where it has been; one at a time of each
  void unpack_layers_of(std::vector<domain::LayerRef> layers, std::size_t next, Done<void> done);
  void merge_layers(const std::vector<domain::LayerRef>& layers, Done<void> done);
  [[nodiscard]] Result<void> choose_layers(domain::Version& version);  // what its manifest names, as it is published now
  [[nodiscard]] std::string folder_of_layers(const domain::Version& version);
  void unpack_archive(const domain::FileRef& archive, bool layer, Done<void> done);
  void unpack_layers(std::vector<domain::FileRef> layers, std::size_t next, Bytes held, Done<void> done);
  void stack_layers(const std::vector<domain::FileRef>& layers, Done<void> done);
  bool first_of(const std::string& name, Done<void>& done);      // of those who wait for this package
  void tell_unpacked(const std::string& name, const Result<void>& result);
  using Built = std::optional<domain::Dependencies>;
  struct WantedBuild;
  void build(const domain::Version& version, Done<Built> done);     // what the package wants and lacks; nothing where it lacks nothing
  void install(const domain::Version& version, const WantedBuild& wanted, Done<Built> done);
  void restore(const domain::Version& version);                     // what was installed for it and is gone from the disk
  void want_start_cache(VersionId version);                         // behind a deploy, once in this node's life
  void make_start_cache(VersionId version, std::string key);
  void end_start_cache(const std::string& key, Result<Bytes> made);
  std::function<bool(const std::string&)> kept_start_caches() const;
  instances::VersionPlan plan(const std::string& function, const domain::Version& version);
  void pull(DeployOrder order, domain::Manifest manifest, Done<VersionView> done);  // its image; then the deploy
  void commit_code(DeployOrder order, domain::Version version, Done<VersionView> done);
  void compile(VersionId version);
  void not_compiled(VersionId version, std::string_view level, const std::string& why);
  void tune(VersionId version);
  void keep_compiled(VersionId version, domain::Compiled compiled, bool then_tune);
  void set_stage(VersionId version, Stage stage);
  Stage stage_of(const Entry& entry, const domain::Version& version) const;
  FunctionView view_of(const Entry& entry);
  using Names = std::map<std::uint64_t, std::string>;  // of functions, by id
  UsageReport report_of(const std::vector<store::UsageSum>& sums, const Names& names, WallTime since, WallTime until);
  UsageSum priced(const store::UsageSum& sum, std::string name, WallTime since, WallTime until);
  std::optional<Books::Name> name_of(VersionId version);
  void check_and_commit(DeployOrder order, domain::Version version, Done<VersionView> done);  // of a model
  void commit_version(DeployOrder order, domain::Version version, Done<VersionView> done);
  void store_alias(Entry& entry, domain::Alias alias, Done<domain::Alias> done);
  void add_place(Entry& entry, const domain::Version& version);
  void forget_version(const domain::Version& version);
  void collect_garbage();
  void open_recordings();
  void forget_recording(FunctionId function);
  void open_optimizations();
  void begin_optimizing();
  void searched(VersionId version, const Result<instances::ReadyReport>& report);
  void deploy_optimized(VersionId original, const std::vector<domain::FileRef>& made, const std::vector<std::string>& weights);
  void settled(VersionId version);
  void forget_optimization(VersionId version);  // it goes: the original of one, or what was made
  void end_optimizing(VersionId version, domain::OptimizationState state, const std::string& became);
  static const domain::Version* optimized_from(Entry& entry, const domain::Version& made);
  std::optional<RecordingView> recording_view(FunctionId function) const;

  const Turn& turn_;
  store::Store& store_;
  Background catalog_work_, bulk_work_;
  NodeOptions options_;
  serve::Routes routes_;
  instances::Fleet fleet_;
  serve::Dispatcher dispatcher_;
  ScaleLoop scale_;
  Books books_;
  Recorder recorder_;
  Instant opened_{};
  std::vector<std::string> notes_;
  std::map<std::string, std::unique_ptr<Entry>, std::less<>> functions_;
  std::unordered_map<std::string, std::shared_ptr<const domain::FunctionUrl>> urls_;  // by ID
  struct Place { Entry* entry; int number; };
  std::unordered_map<VersionId, Place> versions_;
  std::unordered_map<std::string, std::unordered_set<VersionId>> same_source_;
  std::map<std::pair<std::string, int>, domain::LayerVersion> layers_;
  Joined compiling_, tuning_;
  std::map<std::string, std::vector<Done<void>>> unpacking_;  // by archive: who waits
  struct Building {
    BuildView view;
    std::vector<Done<Built>> waiting;
  };
  std::map<std::string, Building> building_;  // by key
  struct StartCache {
    std::string key;
    StartCacheView view;
  };
  std::unordered_map<VersionId, StartCache> start_caches_;
  struct Optimizing {
    enum class Phase : std::uint8_t { asked, waiting, searching, deploying, moving, ended };
    domain::OptimizationOrder order;
    WallTime since;
    std::uint64_t turn = 0;              // the least is searched first
    std::string line;                    // what it does, for people
    Phase phase{};
    instances::Fleet::JobId job = 0;
    bool stopping = false;
    VersionId made;
    std::string report;
  };
  std::unordered_map<VersionId, Optimizing> optimizing_;  // by the original
  std::uint64_t optimizations_made_ = 0;
  std::unordered_map<std::uint64_t, std::shared_ptr<store::Upload>> uploads_;
  std::uint64_t uploads_made_ = 0;
};

}  // namespace mayfly::control
