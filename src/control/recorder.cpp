#include "control/recorder.h"

#include <algorithm>

namespace mayfly::control {

void Recorder::begin(FunctionId function, const domain::RecordingPolicy& policy, const std::vector<store::KeptCall>& there) {
  State state{.policy = policy};
  for (const store::KeptCall& call : there) {
    if (call.place >= static_cast<std::uint64_t>(policy.calls)) continue;
    state.sizes.resize(std::max<std::size_t>(state.sizes.size(), call.place + 1));
    state.sizes[call.place] = call.size;
    state.held += call.size;
    state.seen = std::max(state.seen, call.seen);
  }
  states_[function] = std::move(state);
}

const Recorder::State* Recorder::find(FunctionId function) const {
  const auto at = states_.find(function);
  return at == states_.end() ? nullptr : &at->second;
}

std::optional<Recorder::Place> Recorder::choose(FunctionId function, std::uint64_t size) {
  const auto at = states_.find(function);
  if (at == states_.end() || size > kRecordedCallMax || !random_.chance(at->second.policy.share)) return std::nullopt;
  State& state = at->second;
  ++state.seen;
  std::uint64_t place = state.sizes.size();
  if (place < static_cast<std::uint64_t>(state.policy.calls) && !state.full) {
    state.full = state.held + size > state.policy.size_max.count;
  }
  const bool added = place < static_cast<std::uint64_t>(state.policy.calls) && !state.full;
  if (!added) place = random_.next() % state.seen;
  if (!added && place >= state.sizes.size()) return std::nullopt;
  const std::uint64_t before = added ? 0 : state.sizes[place];
  if (state.held - before + size > state.policy.size_max.count || pending_ + size > kRecordedPendingMax) return std::nullopt;
  if (added) state.sizes.push_back(0);
  state.held += size - before;
  state.sizes[place] = size;
  pending_ += size;
  return Place{place, state.seen};
}

void Recorder::lost(FunctionId function, std::uint64_t place) {
  const auto at = states_.find(function);
  if (at == states_.end() || place >= at->second.sizes.size()) return;
  at->second.held -= at->second.sizes[place];
  at->second.sizes[place] = 0;
}

}  // namespace mayfly::control
