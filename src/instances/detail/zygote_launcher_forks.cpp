// ZygoteLauncher's forks, of models' templates and of code's, and the fork of code that is made ahead.
#include <algorithm>
#include <utility>

#include "instances/zygote_launcher.h"

namespace mayfly::instances {
namespace {

using namespace std::chrono_literals;

constexpr int kThreadsOfFork = 1 + 8;             // its own, and some of the engine's
constexpr Duration kSpareWait = 100ms;            // from a fork of code to the next one ahead: not beside its first answer
constexpr Duration kSpareMax = 10s;               // for which to come up

}  // namespace

Result<ZygoteLauncher::Process*> ZygoteLauncher::make_fork(Process& parent) {
  TRY(Process * made, make_process(parent.sandbox));
  Process& child = *made;
  std::vector<int> descriptors = child.link->ring_descriptors();
  descriptors.insert(descriptors.begin(), child.link->far_control());
  const domain::ForkOrder order;
  if (const auto said = parent.link->say(os::bytes_of(order), descriptors); !said) {
    forget(child);
    return fail(said.error());
  }
  child.link->forget_far_control();
  child.link->forget_ring_memory();
  child.forked = true;
  child.role = parent.role == domain::Role::code_template ? domain::Role::code : domain::Role::instance;
  child.memory_max = parent.memory_max;
  child.link->limit_bodies(child.memory_max.count);
  child.limits = parent.limits;
  if (child.role == domain::Role::code) {
    const domain::Message placed{domain::MessageKind::placed, 0};
    child.held_order.assign(reinterpret_cast<const char*>(&placed), sizeof placed);
  } else {
    child.limits.processes_max = kThreadsOfFork;
  }
  return made;
}

void ZygoteLauncher::fork(ProcessId id, ProcessId from) {
  Process* parent = find(from);
  if (!parent || parent->stage != Stage::ready || !domain::is_template(parent->role))
    return fail_later(id, {Code::unavailable, "the template to fork from is not there"});
  Process* child = std::exchange(parent->spare, nullptr);
  if (child) child->spare_of = nullptr;
  if (child && child->program && os::has_ended(child->program)) {
    end(*child, "its program ended before it began");
    child = nullptr;
  }
  if (!child) {
    const auto made = make_fork(*parent);
    if (!made) return fail_later(id, made.error());
    child = *made;
  }
  child->id = id;
  by_id_[id] = child;
  begin(*child, options_.ready_max);
  if (child->placed) tell_held_order(*child);
  if (child->role == domain::Role::code) want_spare(*parent);
  refill_later();
}

// Over half of a fork's start is the kernel's move of two processes into their control group.
void ZygoteLauncher::want_spare(const Process& parent) {
  if (std::ranges::find(spares_due_, parent.id) == spares_due_.end()) spares_due_.push_back(parent.id);
  if (sparing_.number == 0) sparing_ = loop_.after(kSpareWait, [this] { make_spares(); });
}

void ZygoteLauncher::make_spares() {
  sparing_ = {};
  for (const ProcessId id : std::exchange(spares_due_, {})) {
    Process* parent = find(id);
    if (!parent || parent->stage != Stage::ready || parent->spare) continue;
    const auto made = make_fork(*parent);
    if (!made) continue;  // the next start makes its own
    Process* spare = parent->spare = *made;
    spare->spare_of = parent;
    spare->deadline = loop_.after(kSpareMax, [this, spare] { end(*spare, "a fork ahead did not come up within " + to_text(kSpareMax)); });
  }
}

void ZygoteLauncher::tell_held_order(Process& process) {
  if (process.stage != Stage::starting || process.held_order.empty()) return;
  const std::string message = std::exchange(process.held_order, {});
  const auto descriptors = process.forked ? std::vector<int>{} : process.link->ring_descriptors();  // a fork has had them
  if (!process.link->say(std::as_bytes(std::span(message)), descriptors))
    return end(process, "its order could not be sent");
  process.link->forget_ring_memory();
}

}  // namespace mayfly::instances
