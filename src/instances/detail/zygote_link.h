// The zygote process and the node's socket to it: started, asked for sandboxes, started again with a growing pause
// when it dies. Orders wait while there is none. What it made lives on without it.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "domain/link.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/process.h"

namespace mayfly::instances {

class ZygoteOwner {
 public:
  virtual void zygote_made(std::uint64_t sandbox, int init_pid) = 0;
  virtual void zygote_refused(std::uint64_t sandbox, const Error& error) = 0;
  virtual void zygote_lost() = 0;                       // what was ordered and not made will not be made
  virtual void zygote_cannot_serve(const Error& error) = 0;

 protected:
  ~ZygoteOwner() = default;
};

class ZygoteLink final : os::Watcher {
 public:
  using Spawn = std::function<Result<os::Child>(os::Fd socket)>;

  ZygoteLink(os::Loop& loop, ZygoteOwner& owner, Spawn spawn) : loop_(loop), owner_(owner), spawn_(std::move(spawn)) {}
  ~ZygoteLink();                                        // ends it
  ZygoteLink(const ZygoteLink&) = delete;
  ZygoteLink& operator=(const ZygoteLink&) = delete;

  void start();
  struct Order {
    domain::SandboxOrder order;
    os::Fd control, status, log;                        // far ends
    std::string binds = {};                             // the lines behind the order (domain/link.h)
  };
  void make(Order order);
  int pid() const { return child_.pid; }
  bool serves() const { return serves_; }

 private:
  void on_events(std::uint32_t events) override;
  void take(std::string_view bytes);
  void send_waiting();
  void lose(const Error& error);
  void end_child();

  os::Loop& loop_;
  ZygoteOwner& owner_;
  Spawn spawn_;
  os::Fd socket_;
  os::Child child_;
  bool serves_ = false;
  Duration pause_{};
  os::Loop::TimerId restart_, retry_;
  std::deque<Order> waiting_;
};

}  // namespace mayfly::instances
