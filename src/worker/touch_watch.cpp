#include "worker/touch_watch.h"

#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <vector>

namespace mayfly::worker {
namespace {

// Each unit that can be read beside one that can't is a mapping of its own to the kernel, which allows 65,530 (vm.max_map_count).
constexpr std::size_t kUnitsMax = 32768;

struct Watched {
  std::byte* begin = nullptr;
  std::size_t size = 0, unit = 0;
  std::byte* notes = nullptr;
};
static_assert(std::atomic<const Watched*>::is_always_lock_free);
std::atomic<const Watched*> watching{nullptr};  // what the handler finds

// Another fault than ours happens again, and ends the process as it would have.
void on_fault(int signal, siginfo_t* info, void*) {
  const Watched* const w = watching.load(std::memory_order_acquire);
  const auto* const at = static_cast<std::byte*>(info->si_addr);
  if (w && at >= w->begin && at < w->begin + w->size) {
    const std::size_t unit = static_cast<std::size_t>(at - w->begin) / w->unit;
    w->notes[unit] = std::byte{1};
    if (::mprotect(w->begin + unit * w->unit, std::min(w->unit, w->size - unit * w->unit), PROT_READ) == 0) return;
    // As many mappings as there may be: all can be read, and none of it was noted, so all of it counts.
    std::fill_n(w->notes, (w->size + w->unit - 1) / w->unit, std::byte{1});
    if (::mprotect(w->begin, w->size, PROT_READ) == 0) return;
  }
  ::signal(signal, SIG_DFL);
}

}  // namespace

Result<TouchWatch> TouchWatch::make(std::size_t size) {
  TouchWatch watch;
  watch.size_ = size;
  watch.unit_ = std::bit_ceil(std::max<std::size_t>(domain::kWorkingSetUnit, size / kUnitsMax + 1));
  const std::size_t units = size / watch.unit_ + 1;
  void* const at = ::mmap(nullptr, units, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return fail(os::os_error("mmap", "notes of touched pages"));
  watch.notes_ = os::Mapping(at, units);
  return watch;
}

Result<void> TouchWatch::watch(const os::Mapping& mapping) {
  static Watched watched;              // for the handler; of this process alone
  if (mapping.size() != size_) return fail(Code::internal, "a watch for a file of another size");
  watched = {.begin = mapping.data(), .size = size_, .unit = unit_, .notes = notes_.data()};
  watching.store(&watched, std::memory_order_release);
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  if (::sigaction(SIGSEGV, &action, nullptr) != 0) return fail(os::os_error("sigaction"));
  if (::mprotect(mapping.data(), mapping.size(), PROT_NONE) != 0) return fail(os::os_error("mprotect", "the mapped model"));
  return {};
}

domain::WorkingSet TouchWatch::touched() const {
  std::vector<domain::PageRange> ranges;
  for (std::size_t unit = 0; unit * unit_ < size_; ++unit)
    if (notes_.data()[unit] != std::byte{}) ranges.push_back({unit * unit_, unit_});
  return domain::working_set_of(size_, std::move(ranges));
}

}  // namespace mayfly::worker
