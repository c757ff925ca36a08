// The program that a host of user code works for (worker/code_loop.h): one that it starts, or one that the template of its version
// has forked for it (worker/code_template.h), which has imported everything already.
//
// Promises: after end() the program and its process group are gone. A forked program is no child of its host: its template takes its
// status and keeps its number until end() has returned, so that no signal meets a stranger. A template that dies ends no program;
// how one ended is not known then.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "domain/code_order.h"
#include "os/fd.h"
#include "os/process.h"

namespace mayfly::worker {

class CodeProgram {
 public:
  CodeProgram() = default;  // one that start() starts
  // Has the template at the other end of this socket fork one. It waits then, and has touched nothing.
  [[nodiscard]] static Result<CodeProgram> fork(int template_socket);

  // `api`: where its Runtime API listens. `output`: what it prints to; as its third, for our own runtimes, a connection to the Runtime
  // API; as its fourth, for one that takes them, the socket for calls from the node itself (domain/direct.h).
  [[nodiscard]] Result<void> start(const domain::CodeOrder& order, std::string_view api, const os::Descriptors& output);
  std::optional<int> end();  // wait status: its own where it had ended already; none: nobody knows

  int pid() const { return child_.pid; }
  const os::Fd& pidfd() const { return child_.pidfd; }

 private:
  os::Child child_;
  os::Fd socket_;            // of a forked one: to it, and to its template
};

// Whether it is a runtime of ours that the order runs, which takes a connection.
[[nodiscard]] bool takes_connection(const domain::CodeOrder& order);
// Whether it is one that takes calls from the node itself, too. Under a debugger there are none: they would hide what it holds.
[[nodiscard]] bool takes_direct_calls(const domain::CodeOrder& order);
// The argument, or the text of our runtime that it stands for.
[[nodiscard]] std::string argument_text(const std::string& argument);
[[nodiscard]] os::Command command_of(const domain::CodeOrder& order, std::string_view api);

}  // namespace mayfly::worker
