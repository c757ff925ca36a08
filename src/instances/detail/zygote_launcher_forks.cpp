// ZygoteLauncher's forks, of models' templates and of code's, and what is made ahead for the next start of code: a fork, or where there
// is no template, a sandbox. Most of either start is the kernel's move of its processes into their control group.
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
  auto said = open_outbound(child, parent.destinations);
  if (child.outbound) descriptors.push_back(child.outbound->far());
  if (said) said = parent.link->say(os::bytes_of(order), descriptors);
  if (!said) {
    forget(child);
    return fail(said.error());
  }
  if (child.outbound) child.outbound->forget_far();
  child.link->forget_far_control();
  child.link->forget_ring_memory();
  child.forked = true;
  child.role = parent.role == domain::Role::code_template ? domain::Role::code : domain::Role::instance;
  child.memory_max = parent.memory_max;
  child.mapped = parent.mapped;
  child.compiled = parent.compiled;
  child.link->limit_bodies(child.memory_max.count);
  if (child.role == domain::Role::code) child.link->expect_direct();
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

void ZygoteLauncher::want_spare(const Process& parent) {
  if (std::ranges::find(spares_due_, parent.id) == spares_due_.end()) spares_due_.push_back(parent.id);
  spare_soon();
}

void ZygoteLauncher::spare_soon() {
  if (sparing_.number == 0) sparing_ = loop_.after(kSpareWait, [this] { make_spares(); });
}

void ZygoteLauncher::make_ahead(std::unique_ptr<StartOrder> order) {
  if (ahead_due_.size() < options_.ahead_max) ahead_due_.push_back(std::move(order));
  spare_soon();
}

// Taken by no start from here on, though it takes a moment to end.
void ZygoteLauncher::end_ahead(Process& process, std::string reason) {
  std::erase(ahead_, &process);
  end(process, std::move(reason));
}

ZygoteLauncher::Process* ZygoteLauncher::take_ahead(const StartOrder& order) {
  const auto found = std::ranges::find_if(ahead_, [&](const Process* process) { return *process->next == order; });
  if (found == ahead_.end()) return nullptr;
  Process* process = *found;
  if (process->stage == Stage::blank && !(process->pidfd && os::has_ended(process->pidfd))) {
    ahead_.erase(found);
    return process;
  }
  end_ahead(*process, "ended before it began");
  return nullptr;
}

void ZygoteLauncher::forget(const StartOrder& order) {
  const auto is_of = [&](const StartOrder& other) {
    return other.model_name == order.model_name && other.version_number == order.version_number;
  };
  std::erase_if(ahead_due_, [&](const auto& due) { return is_of(*due); });
  for (Process* process : std::vector(ahead_.begin(), ahead_.end()))
    if (is_of(*process->next)) end_ahead(*process, "it was made for a start that will not be");
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
  for (std::unique_ptr<StartOrder>& order : std::exchange(ahead_due_, {})) {
    if (std::ranges::any_of(ahead_, [&](const Process* process) { return *process->next == *order; })) continue;
    const auto made = make_code(*order);
    if (!made) continue;
    (*made)->next = std::move(order);
    ahead_.push_back(*made);
    if (ahead_.size() > options_.ahead_max) end_ahead(*ahead_.front(), "others are needed more");
  }
}

void ZygoteLauncher::tell_held_order(Process& process) {
  if (process.stage != Stage::starting || process.held_order.empty()) return;
  const std::string message = std::exchange(process.held_order, {});
  auto descriptors = process.forked ? std::vector<int>{} : process.link->ring_descriptors();  // a fork has had them
  if (!process.forked && process.outbound) descriptors.push_back(process.outbound->far());
  if (!process.link->say(std::as_bytes(std::span(message)), descriptors))
    return end(process, "its order could not be sent");
  process.link->forget_ring_memory();
  if (process.outbound) process.outbound->forget_far();
}

}  // namespace mayfly::instances
