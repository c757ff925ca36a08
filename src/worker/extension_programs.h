// The programs of a function's external extensions: executables of /opt/extensions and of the package's own folder extensions/, each
// started beside the runtime in a process group of its own, and watched. What they are told is worker/extensions_api.h's.
// Driven by worker/code_loop.h on its loop. Promises: after end_all(), and after this, nothing of them is left.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/port.h"
#include "os/process.h"

namespace mayfly::worker {

// Of these folders' own files those that are programs, each name once, by name. Of `package` only what begins as one does ("#!", ELF):
// everything of a folder that was deployed may be run.
[[nodiscard]] std::vector<std::string> find_extensions(const std::string& layers, const std::string& package);

class ExtensionPrograms {
 public:
  using Ended = std::function<void(const std::string& name, int wait_status)>;

  ExtensionPrograms(os::Loop& loop, Ended ended) : loop_(loop), ended_(std::move(ended)) {}
  ~ExtensionPrograms() { end_all(); }
  ExtensionPrograms(const ExtensionPrograms&) = delete;
  ExtensionPrograms& operator=(const ExtensionPrograms&) = delete;

  [[nodiscard]] Result<void> start(const std::string& path, const std::vector<std::string>& environment, const os::Fd& output);
  void end(std::string_view name);
  void end_all();
  bool any() const { return !programs_.empty(); }
  std::vector<std::string> names() const;
  Duration cpu() const;                                   // of those that run

 private:
  struct Program {
    std::string name;
    os::Child child;
    std::unique_ptr<os::Port> port;
  };
  void gone(const std::string& name);

  os::Loop& loop_;
  const Ended ended_;
  std::vector<Program> programs_;
  std::vector<std::unique_ptr<os::Port>> dead_ports_;     // one of them may be calling
};

}  // namespace mayfly::worker
