#include "autoscale/evict.h"

#include <algorithm>
#include <tuple>

namespace mayfly::autoscale {

double worth(const Candidate& candidate) {
  constexpr double kMiB = 1024.0 * 1024;
  const double size = std::max(1.0 / 256, static_cast<double>(candidate.memory.count) / kMiB);  // nothing is smaller than a page
  return candidate.used_at + std::max(1.0, candidate.calls) * to_ms(candidate.restore) / size;
}

Evictor::Plan Evictor::plan(std::span<const Candidate> candidates, Bytes wanted) {
  struct Ranked {
    double worth;
    const Candidate* candidate;
  };
  std::vector<Ranked> ranked;
  for (const Candidate& candidate : candidates)
    if (!candidate.pinned && candidate.memory.count > 0) ranked.push_back({worth(candidate), &candidate});
  std::ranges::sort(ranked, {}, [](const Ranked& r) { return std::tuple(r.worth, r.candidate->process); });

  Plan plan;
  for (const auto& [value, candidate] : ranked) {
    if (plan.freed >= wanted) break;
    plan.leave.push_back(candidate->process);
    plan.freed.count += candidate->memory.count;
    clock_ = std::max(clock_, value);
  }
  plan.enough = plan.freed >= wanted;
  return plan;
}

}  // namespace mayfly::autoscale
