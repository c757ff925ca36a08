// The node's end of one process: its control socket, the rings and doorbells, and full distrust. What the
// process sent is copied once, checked, and handed to the owner as values; the first thing that can't be
// true ends the link with broken(), and nothing is read from then on.
//
// Driven by the loop (as a watcher) and by the launcher. It knows nothing of sandboxes, limits or pids.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "domain/frame.h"
#include "domain/link.h"
#include "instances/detail/direct_line.h"
#include "instances/launcher.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/ring.h"

namespace mayfly::instances {

class ProcessLink;

class LinkOwner {
 public:
  // `program`: a pidfd beside it, or none.
  virtual void link_hello(ProcessLink& link, int pid, os::Fd program) = 0;
  virtual void link_ready(ProcessLink& link, const domain::ReadyMessage& ready, std::string_view result) = 0;
  virtual void link_failed(ProcessLink& link, const Error& error, std::string_view log) = 0;  // log: what its program printed last
  virtual void link_reply(ProcessLink& link, Reply&& reply) = 0;
  virtual void link_log(ProcessLink& link, std::string_view line) = 0;
  // One of both, at most once, and nothing after it.
  virtual void link_broken(ProcessLink& link, const std::string& how) = 0;
  virtual void link_closed(ProcessLink& link) = 0;                          // its end is closed

 protected:
  ~LinkOwner() = default;
};

class ProcessLink {
 public:
  // Both ends of everything; the far ones are there until told to forget them.
  [[nodiscard]] static Result<std::unique_ptr<ProcessLink>> create(os::Loop& loop, LinkOwner& owner);
  ~ProcessLink();
  ProcessLink(const ProcessLink&) = delete;
  ProcessLink& operator=(const ProcessLink&) = delete;

  int far_control() const { return far_control_.get(); }
  void forget_far_control() { far_control_.reset(); }
  // Ring, doorbell of the node's frames, doorbell of the replies: as a LoadOrder or ForkOrder carries them.
  std::vector<int> ring_descriptors() const { return {memory_.get(), to_bell_.get(), from_bell_.get()}; }
  void forget_ring_memory() { memory_.reset(); }

  [[nodiscard]] Result<void> say(std::span<const std::byte> message, std::span<const int> fds = {}) {
    return os::send_packet(control_.get(), message, fds);
  }
  [[nodiscard]] bool send(const Request& request);
  void cancel(Ticket ticket);
  [[nodiscard]] bool taken(Ticket ticket, std::uint64_t bytes);
  // Its host, if anything is there that it should not find by itself some time (direct calls, until their time is over).
  void wake() {
    if (std::exchange(wanted_, false)) to_.wake();
  }
  void want() { wanted_ = true; }
  void expect_direct() { may_direct_ = true; }  // it may bring a socket for direct calls (domain/direct.h)
  void tell_ends() { tells_ends_ = true; }      // of direct calls at once: its host waits for that
  // Its process is dead: delivers all that it sent, link_closed() last.
  void drain();
  // Listens no more; what was not delivered is lost.
  void close();

  // The largest body that a reply may have. More than the process may hold is a lie (or a hole in its memory).
  void limit_bodies(std::uint64_t bytes) { body_max_ = bytes; }

  bool in_flush = false;  // the launcher's: it is among those to wake

 private:
  struct Port final : os::Watcher {
    Port(ProcessLink& l, void (ProcessLink::*h)()) : link(l), handler(h) {}
    void on_events(std::uint32_t) override { (link.*handler)(); }
    ProcessLink& link;
    void (ProcessLink::*handler)();
  };

  ProcessLink(os::Loop& loop, LinkOwner& owner) : loop_(loop), owner_(owner) {}
  bool finish();                  // delivers what is left in the ring, then listens no more; false: that broke the link
  void read_control();
  bool read_packet();             // false: nothing more now, or the link is closed
  void take_packet(std::string_view bytes, os::Packet&& packet);
  void take_body(std::string_view bytes, os::Packet&& packet);
  void read_replies();
  void take_frames();
  void read_frames();
  void take_reply(std::span<const std::byte> frame);
  bool take_direct(std::vector<os::Fd>&& brought);   // false: that broke the link
  [[nodiscard]] bool send_direct(const Request& request);
  void answered_directly(Reply&& reply);
  void note(const domain::RequestHead& head);        // for the host, which reads it when it wakes
  void broken(const std::string& how);

  os::Loop& loop_;
  LinkOwner& owner_;
  os::Fd control_, far_control_, memory_, to_bell_, from_bell_;
  os::Ring to_, from_;
  Port control_port_{*this, &ProcessLink::read_control};
  Port reply_port_{*this, &ProcessLink::read_replies};
  std::unordered_map<std::uint64_t, os::Fd> bodies_;  // by ticket: arrived before their frames
  std::uint64_t body_max_ = 1ULL << 30;
  std::string body_;              // of the reply being handed on: the process may still write the original
  bool open_ = true;
  bool in_frames_ = false;
  bool said_hello_ = false, ready_ = false;
  std::unique_ptr<DirectLine> direct_;
  bool may_direct_ = false, wanted_ = false, tells_ends_ = false;
};

}  // namespace mayfly::instances
