// The node's own REST API (docs/api.md) over control::Control: artifacts, deploys, functions, versions,
// aliases, logs, usage, instances. Registers its handlers on the router; holds no state but the
// answers that are kept open for `follow=1`, which one timer feeds.
//
// Promises: every request is answered; a body over kBodyMax (uploads apart) is refused before it is read; an
// upload never runs more than the server's limit ahead of the disk; a follower that doesn't read is
// not fed. It must outlive the server whose router it filled. Calls of functions are not here.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/turn.h"
#include "control/control.h"
#include "gateway/router.h"
#include "os/loop.h"

namespace mayfly::gateway {

constexpr std::uint64_t kArtifactMax = std::uint64_t{64} << 30;  // bytes of one upload
constexpr std::size_t kLogCountMax = 10'000;                     // lines of one answer
constexpr std::size_t kFollowedMax = 1'000;                      // lines that a follower is given at a time; older ones it misses
constexpr std::size_t kFollowersMax = 256;                       // answers kept open
constexpr Duration kFollowEvery = std::chrono::milliseconds(200);

class ControlApi {
 public:
  ControlApi(control::Control& control, os::Loop& loop, const Turn& turn) : control_(control), loop_(loop), turn_(turn) {}
  ~ControlApi() { loop_.cancel(timer_); }
  ControlApi(const ControlApi&) = delete;
  ControlApi& operator=(const ControlApi&) = delete;

  void add_routes(Router& router);
  // Ends the answers that are kept open, and keeps no more: before the server drains, which would wait for them.
  void drain();

 private:
  struct Follower {
    Responder to;
    std::string function;     // "": all
    control::LogQuery query;  // .after: the last sequence that was looked at
  };

  void add_artifacts(Router& router);
  void add_functions(Router& router);
  void add_versions(Router& router);
  void add_aliases(Router& router);
  void add_layers(Router& router);
  void add_recordings(Router& router);
  void add_optimizations(Router& router);
  void add_observation(Router& router);

  template <class Show>
  void one_version(HttpRequest& request, const Responder& to, Show show);
  void answer_logs(std::string_view function, const HttpRequest& request, const Responder& to);
  void answer_usage(const HttpRequest& request, const Responder& to);
  void follow(Follower follower);
  void feed_followers();
  [[nodiscard]] bool feed(Follower& follower);  // false: it has ended

  control::Control& control_;
  os::Loop& loop_;
  const Turn& turn_;
  std::vector<Follower> followers_;
  os::Loop::TimerId timer_;
  bool draining_ = false;
};

}  // namespace mayfly::gateway
