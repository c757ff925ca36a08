// The node's end of one sandbox's way out: its host process asks for a connection to a destination of its version's list, by its place in
// that list (domain/network.h), and gets a connected socket, or a no. What may be reached is decided here, by what the manifest said and
// the node's own configuration, and by nothing that a process in the sandbox can write.
//
// Promises: names are resolved anew for each connection, elsewhere (a pool), and what they lead to is looked at: no name leads to
// the machine's loopback (unless the configuration says so), to link-local or metadata addresses, or to the node's own port. Addresses are
// tried in turn. At most kAsksMax questions at a time; more, like all that fails, are answered no. Each no is a line in the log.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "domain/network.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/outbound.h"
#include "os/pool.h"

namespace mayfly::instances {

class OutboundDoor final : os::Watcher {
 public:
  static constexpr std::size_t kAsksMax = 64;
  using Resolve = std::function<Result<std::vector<os::IpBytes>>(const std::string& name)>;  // called in the pool

  struct Setup {
    os::Pool& resolvers;
    std::vector<domain::Destination> destinations;
    domain::NetworkRules rules;
    std::function<void(std::string_view line)> log;
    Resolve resolve = os::resolve;
  };

  [[nodiscard]] static Result<std::unique_ptr<OutboundDoor>> create(os::Loop& loop, Setup setup);
  ~OutboundDoor();
  OutboundDoor(const OutboundDoor&) = delete;
  OutboundDoor& operator=(const OutboundDoor&) = delete;

  int far() const { return far_.get(); }           // the sandbox's end, until it has it
  void forget_far() { far_.reset(); }

 private:
  struct Attempt;

  OutboundDoor(os::Loop& loop, Setup setup);
  void on_events(std::uint32_t events) override;
  void take(const domain::OutboundAsk& ask);
  void resolved(std::uint64_t number, const Result<std::vector<os::IpBytes>>& addresses);
  // "": it may be reached; else why not, and what to do.
  std::string closed_because(const os::IpBytes& address, std::uint16_t port) const;
  void try_next(Attempt& attempt);
  void finish(Attempt& attempt, bool granted);
  void answer(std::uint64_t number, const os::Fd* socket);
  void say_no(const domain::Destination& to, const std::string& why);

  os::Loop& loop_;
  const Setup setup_;
  os::Fd near_, far_;
  std::map<std::uint64_t, std::unique_ptr<Attempt>> attempts_;
  std::vector<std::unique_ptr<Attempt>> done_;     // until no call into them can be under way
  os::Loop::TimerId burying_{};
  std::shared_ptr<const int> alive_ = std::make_shared<int>();  // for what comes from the pool
};

}  // namespace mayfly::instances
