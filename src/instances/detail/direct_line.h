// The node's end of the socket on which one program has calls from the node itself, past its host (domain/direct.h). Two processes
// take part in a call then and not three. Of a link (process_link.h), which tells the host of each call in its ring.
//
// Promises: one call at a time; the answer is handed on once, copied and checked; the first thing that can't be true is told as broken.
// Never waits for the program: a call that finds no room is not sent. A line whose other end is closed takes no more calls; of one
// that it has, somebody else must tell the end.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "domain/direct.h"
#include "instances/launcher.h"
#include "os/fd.h"
#include "os/loop.h"

namespace mayfly::instances {

// The call's id as heads have it: a UUID's bytes.
void put_id(const Request& request, std::uint8_t (&to)[16]);

class DirectLine final : os::Watcher {
 public:
  struct User {
    std::function<void(Reply&&)> answered;
    std::function<void(const std::string& how)> broken;
  };

  // `socket` and `program`, a pidfd, are a stranger's: an error where they are not that.
  [[nodiscard]] static Result<std::unique_ptr<DirectLine>> open(os::Loop& loop, os::Fd socket, const os::Fd& program, User user);
  ~DirectLine();
  DirectLine(const DirectLine&) = delete;
  DirectLine& operator=(const DirectLine&) = delete;

  // Small, whole and an event, and nobody asks for what it prints.
  [[nodiscard]] bool takes(const Request& request) const;
  [[nodiscard]] bool send(const Request& request);      // false: it must go by the host
  void by_host() { cpu_known_ = false; }                // the program works for a call of the host's

  void stop() { close(); }                              // nothing is handed on from now on

  // The host answers `ticket` in the program's stead. False: the program has answered, maybe just now, and that counts.
  [[nodiscard]] bool give_up(std::uint64_t ticket);
  void read();                                          // what has come, now: its program may be dead

 private:
  DirectLine(os::Loop& loop, os::Fd socket, int pid, User user)
      : loop_(loop), socket_(std::move(socket)), pid_(pid), user_(std::move(user)) {}
  void on_events(std::uint32_t) override { read(); }
  bool take(std::string_view packet);                   // false: no more is to be read now
  void answer(bool failed, std::string_view body);
  void close();

  os::Loop& loop_;
  os::Fd socket_;
  const int pid_;
  const User user_;
  std::uint64_t ticket_ = 0, answered_ = 0;
  Instant begun_{};
  std::string body_;                                    // pieces that came
  Duration cpu_told_{};
  bool cpu_known_ = false, open_ = true;
};

}  // namespace mayfly::instances
