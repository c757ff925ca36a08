// Observes each busy version, asks autoscale::decide how many instances it should have, applies the
// answer and notes the reason. Runs ten times a second while anything is busy and on demand; when
// nothing is, it does not run at all. Also keeps the node's memory within its budget.
#pragma once
#include <functional>
#include <optional>
#include <unordered_map>

#include "autoscale/decide.h"
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
    int rows_max = 1;
  };
  using FactsOf = std::function<std::optional<Facts>(VersionId)>;
  using Note = std::function<void(VersionId, DecisionView)>;

  ScaleLoop(const Turn& turn, instances::Fleet& fleet, serve::Dispatcher& dispatcher, ScaleOptions options, FactsOf facts_of, Note note)
      : turn_(turn), fleet_(fleet), dispatcher_(dispatcher), options_(options), facts_of_(std::move(facts_of)), note_(std::move(note)) {}

  void on_demand(serve::Lane& lane);                     // a call waits and nobody has room
  void keep_watch(VersionId version);                    // it has processes, or a minimum to keep: look at each tick
  void set_count(VersionId version, int instances);      // by hand; the next decision follows keep-alive again
  void forget(VersionId version) { watched_.erase(version); }

  // Returns when to be called next; never() while nothing is watched.
  Instant tick();

 private:
  struct Watched {
    autoscale::Memory memory;
    autoscale::KeepAlive keep_alive;
    Instant template_used{};
    int wanted = 0;
    int by_hand_floor = -1;
  };

  void decide(VersionId version, Watched& watched, serve::Lane& lane, const Facts& facts);
  bool calm(VersionId version, Watched& watched, const Facts& facts);
  void keep_budget();

  const Turn& turn_;
  instances::Fleet& fleet_;
  serve::Dispatcher& dispatcher_;
  const ScaleOptions options_;
  FactsOf facts_of_;
  Note note_;
  std::unordered_map<VersionId, Watched> watched_;
};

}  // namespace mayfly::control
