// The node's part in recording calls as samples (domain/recording.h): what is set is a setting of the function, what is kept are files that
// a background line writes. Off for every function that nobody set it for.
#include <memory>

#include "control/detail/behind.h"
#include "control/detail/entry.h"
#include "domain/recording.h"

namespace mayfly::control {

void Node::open_recordings() {
  std::vector<FunctionId> recorded;
  for (const auto& [name, entry] : functions_) {
    const auto policy = domain::recording_of(entry->function);
    if (!policy) continue;
    recorded.push_back(entry->function.id);
    recorder_.begin(entry->function.id, *policy, store_.recordings().list(entry->function.id));
  }
  store_.recordings().forget_others(recorded);
}

void Node::on_recorded_call(const serve::Target& target, const serve::Invocation& call) {
  const std::uint64_t size = (call.body_memfd ? call.body_size : call.body.size()) - call.context_size;
  const auto place = recorder_.choose(target.function, size + domain::kRecordedHead);
  if (!place) return;
  domain::RecordedCall kept{.seen = place->seen, .version = static_cast<std::uint32_t>(target.number), .format = call.format,
                            .json_size = call.format == domain::WireFormat::plain_json ? 0 : call.json_size};
  // A large body is read by the background line, from the memory that it is in.
  std::shared_ptr<const os::Fd> large;
  std::string body;
  if (call.body_memfd) {
    auto copy = os::duplicate(call.body_memfd.get());
    if (copy) large = std::make_shared<const os::Fd>(std::move(*copy));
  } else {
    body = call.body.substr(0, size);
  }
  const auto lost = [this, id = target.function, number = place->number, size] {
    recorder_.written(size + domain::kRecordedHead);
    recorder_.lost(id, number);
  };
  if (call.body_memfd && !large) return lost();
  const auto result = std::make_shared<Result<void>>();
  auto work = [this, result, large, body = std::move(body), kept, id = target.function, number = place->number, size]() mutable {
    if (large) {
      const auto mapped = os::map_file(large->get(), size, os::Access::read);
      if (!mapped) return void(*result = fail(mapped.error()));
      body = std::string(mapped->text());
    }
    kept.body = body;
    *result = store_.recordings().keep(id, number, domain::head_of(kept), body);
  };
  const bool taken = bulk_work_(std::move(work), [this, result, lost, size] {
    if (!*result) return lost();
    recorder_.written(size + domain::kRecordedHead);
  });
  if (!taken) lost();
}

void Node::record(std::string_view function, std::optional<domain::RecordingPolicy> policy, Done<void> done) {
  const auto entry = need(function);
  if (!entry) return done(fail(entry.error()));
  const auto& versions = (*entry)->function.versions;
  if (policy && !versions.empty() && versions.back().manifest.is_code())
    return done(fail(Code::unimplemented, "function '" + std::string(function) + "' is code: calls are recorded as samples of a model, and "
                                          "code has none; record the model's own function"));
  const FunctionId id = (*entry)->function.id;
  domain::Setting setting{.kind = std::string(domain::kRecording), .document = policy ? domain::to_document(*policy) : ""};
  set_settings(function, {std::move(setting)}, [this, id, policy, done = std::move(done)](Result<void> set) {
    if (!set) return done(std::move(set));
    // What was kept by another policy goes first: the line keeps the order.
    if (policy) recorder_.begin(id, *policy, {});
    else recorder_.end(id);
    behind(bulk_work_, kDiskBusy, [this, id] { return store_.recordings().forget(id); }, done);
  });
}

void Node::recorded(std::string_view function, Done<std::string> done) {
  const auto entry = need(function);
  if (!entry) return done(fail(entry.error()));
  const FunctionId id = (*entry)->function.id;
  if (!recorder_.find(id))
    return done(fail(Code::not_found, "no calls of function '" + std::string(function) + "' are recorded: 'mayfly record " +
                                          std::string(function) + " --calls 500' begins it"));
  behind(bulk_work_, kDiskBusy, [this, id] { return store_.recordings().read(id); }, std::move(done));
}

void Node::forget_recording(FunctionId function) {
  if (!recorder_.find(function)) return;
  recorder_.end(function);
  if (!bulk_work_([this, function] { [[maybe_unused]] const auto gone = store_.recordings().forget(function); }, nullptr))
    note("the disk is too busy to remove recorded calls of a deleted function; the next start does it");
}

std::optional<RecordingView> Node::recording_view(FunctionId function) const {
  const Recorder::State* state = recorder_.find(function);
  if (!state) return std::nullopt;
  RecordingView view{.policy = state->policy, .seen = state->seen, .held = {state->held}};
  for (const std::uint64_t size : state->sizes) view.calls += size > 0 ? 1 : 0;
  return view;
}

}  // namespace mayfly::control
