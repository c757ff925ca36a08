// Observes each busy version, asks autoscale::decide how many instances it should have, applies the
// answer and notes the reason. Runs ten times a second while anything is busy, at once on demand, and
// at the moments that an idle version asks for; when nothing is, it does not run at all. Also starts
// templates behind the first answer and keeps the node's memory within its budget.
#pragma once
#include <functional>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "autoscale/decide.h"
#include "autoscale/evict.h"
#include "autoscale/keep_alive.h"
#include "base/turn.h"
#include "control/control.h"
#include "domain/function.h"
#include "instances/fleet.h"
#include "serve/dispatcher.h"

namespace mayfly::control {

struct ScaleOptions {
  int cores = 1;                                         // usable by instances
  Bytes memory_budget = 4_GiB;
  Duration template_keep = std::chrono::minutes(15);     // unused for so long: the template leaves
  Duration keep_alive_default = std::chrono::seconds(60);
};

class ScaleLoop {
 public:
  // What a version's manifest and measurements say; absent: the version is gone.
  struct Facts {
    domain::Scaling scaling;
    domain::Tuning tuning;
    bool compiled = false;
    double cpu = 1;
  };
  using FactsOf = std::function<std::optional<Facts>(VersionId)>;
  using Note = std::function<void(VersionId, DecisionView)>;
  using GroupOf = std::function<instances::Group*(VersionId)>;  // made where it is not there yet

  ScaleLoop(const Turn& turn, instances::Fleet& fleet, serve::Dispatcher& dispatcher, ScaleOptions options, FactsOf facts_of,
            GroupOf group_of, Note note)
      : turn_(turn), fleet_(fleet), dispatcher_(dispatcher), options_(options), facts_of_(std::move(facts_of)),
        group_of_(std::move(group_of)), note_(std::move(note)) {}

  void on_demand(serve::Lane& lane);                     // a call waits and nobody has room
  void keep_watch(VersionId version);                    // it has processes, or a minimum to keep
  void set_count(VersionId version, int instances);      // by hand, now; the next decision goes on from there
  void forget(VersionId version);

  // Returns when to be called next; never() while nothing is watched.
  Instant tick();

 private:
  struct Watched {
    autoscale::Memory memory;
    autoscale::KeepAlive gaps;
    std::uint64_t arrivals = 0;
    Instant idle_from{}, template_used{}, template_again{};
    Bytes instance_memory = 64_MiB, template_memory = 64_MiB;  // until one has been measured
    bool idle = false;
  };

  Instant decide(VersionId version, Watched& watched);
  autoscale::Observation observe(const instances::Group& group, serve::Lane* lane, const Facts& facts, const Watched& watched,
                                 const autoscale::KeepWindow& keep) const;
  std::uint64_t memory_expected() const;
  autoscale::Policy policy_of(const Facts& facts, const Watched& watched) const;
  void learn_gaps(Watched& watched, const serve::Lane* lane);
  void care_for_template(instances::Group& group, Watched& watched);
  void keep_budget();
  std::vector<autoscale::Candidate> candidates();
  autoscale::Candidate candidate(const instances::Process& process, bool pinned);

  const Turn& turn_;
  instances::Fleet& fleet_;
  serve::Dispatcher& dispatcher_;
  const ScaleOptions options_;
  FactsOf facts_of_;
  GroupOf group_of_;
  Note note_;
  std::unordered_map<VersionId, Watched> watched_;       // all that ever ran: their gaps are worth remembering
  std::unordered_set<VersionId> active_;
  Instant next_ = Instant::never();
  struct Used {
    Instant last;
    double clock = 0;                                    // the evictor's when that was first seen
  };
  std::unordered_map<ProcessId, Used> used_;             // of the processes that were there when memory was last short
  autoscale::Evictor evictor_;
};

}  // namespace mayfly::control
