// Other processes, as the kernel shows them: start one, watch it, end it, look at what it uses. Pids are
// held as pidfds where it matters: a pidfd never comes to mean another process.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "os/fd.h"

namespace mayfly::os {

struct Child {
  int pid = 0;
  Fd pidfd;
};

struct Command {
  std::string program;                    // a path; "/proc/self/exe" is this binary
  std::vector<std::string> arguments;     // without the program
  std::vector<std::string> environment;   // "NAME=value"; nothing is inherited
};

// Starts a program with `socket` as descriptor 3, /dev/null as 0 and 1, this process's stderr, and nothing else
// open. Cheap from a large process (vfork).
[[nodiscard]] Result<Child> spawn(const Command& command, const Fd& socket);
// Forks and runs `body` with `socket`; in small single-threaded processes only.
[[nodiscard]] Result<Child> fork_child(Fd socket, const std::function<int(Fd)>& body);
// Starts a program of somebody else's in a process group of its own and in `folder`: /dev/null as descriptor 0, `out` as 1, `err`
// as 2, `third` as 3 where there is one, `fourth` as 4 beside it, nothing else open; no signal blocked, all with their default effect.
struct Descriptors {
  Descriptors(const Fd& output, const Fd* socket = nullptr) : out(output), err(output), third(socket) {}
  Descriptors(const Fd& output, const Fd& errors, const Fd* socket = nullptr, const Fd* another = nullptr)
      : out(output), err(errors), third(socket), fourth(another) {}
  const Fd &out, &err;
  const Fd *third, *fourth = nullptr;
};
[[nodiscard]] Result<Child> spawn_in_group(const Command& command, const std::string& folder, const Descriptors& descriptors);
// In a child that is to keep nothing else: all descriptors but these, and 0 to 2.
void close_all_but(std::vector<int> kept);
// Kills it and takes its status, so that nothing of it is left.
void end(Child& child);
// The same with its whole process group; the wait status: its own where it had ended already.
int end_group(Child& child);

[[nodiscard]] Result<Fd> open_process(int pid);
// Of the process that a pidfd means, also where another process opened it; 0 where it is none, or has ended and been waited for.
[[nodiscard]] int pid_of(const Fd& pidfd);
// False where it has ended already.
bool signal_process(const Fd& pidfd, int signal);
[[nodiscard]] bool has_ended(const Fd& pidfd);  // though its parent may not have taken its status
// A real-time signal with a value (si_value.sival_ptr). False also where too many wait already.
bool signal_process(const Fd& pidfd, int signal, std::uint64_t value);

struct ProcessFacts {
  int parent = 0;        // pid
  int pid_inside = 0;    // in its innermost pid namespace
};
[[nodiscard]] Result<ProcessFacts> process_facts(int pid);

// CPU time so far, of all its threads; zero where it is gone.
[[nodiscard]] Duration process_cpu(int pid);
// Proportional set size; what is resident where that may not be read; zero where it is gone.
[[nodiscard]] Bytes process_memory(int pid);

// "killed by signal 11 (Segmentation fault)", "ended with status 3". Status 134 is abort() in a sandbox, which may
// not send signals.
void give_way();                       // this process and its children run where others of their share leave room
[[nodiscard]] std::string describe_exit(int wait_status);

[[nodiscard]] Result<std::pair<Fd, Fd>> make_pipe();  // reading end, writing end; neither blocks

}  // namespace mayfly::os
