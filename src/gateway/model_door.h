// Doors for code: through one, a function's own program calls models of the node. Each is a unix socket in a folder that only the
// node enters; the launcher binds it into that function's sandboxes, so that which door a call comes through says who calls.
//
// Behind it are the Open Inference Protocol's routes of the models that the version's manifest names, and nothing else: no
// other function, no list of them, no API of the node. Code calls models only, never code: no call can come back to its caller.
// A door opens with the first sandbox that needs it and goes, with its file, with the last handle.
// A call through it is a call like any other: it starts a model that is at zero, is metered under the model's name, and is
// cancelled when the caller's connection closes, which it does when its process ends.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/control.h"
#include "os/loop.h"
#include "serve/invocation.h"

namespace mayfly::gateway {

struct DoorTo {
  std::string function;              // who calls
  int version = 0;
  std::vector<std::string> models;   // names of functions that it may call
  friend bool operator==(const DoorTo&, const DoorTo&) = default;
};

struct OpenDoor {
  std::string path;                  // of its socket
  std::shared_ptr<const void> held;  // may outlive the doors
};

constexpr std::size_t kDoorsMax = 1000;
constexpr std::size_t kDoorConnectionsMax = 256;  // of one door

class ModelDoors {
 public:
  ModelDoors(os::Loop& loop, serve::Invoker& invoker, control::Control& control, std::string folder);
  ~ModelDoors();
  ModelDoors(const ModelDoors&) = delete;
  ModelDoors& operator=(const ModelDoors&) = delete;

  [[nodiscard]] Result<OpenDoor> open(const DoorTo& door);
  std::size_t count() const { return doors_.size(); }

 private:
  struct Door;
  struct Handle;
  void close(const std::string& path);

  os::Loop& loop_;
  serve::Invoker& invoker_;
  control::Control& control_;
  const std::string folder_;
  std::uint64_t doors_made_ = 0;
  bool swept_ = false;                                   // the folder, of sockets that an earlier node left
  std::map<std::string, std::unique_ptr<Door>> doors_;   // by path
  std::shared_ptr<const int> alive_ = std::make_shared<int>();  // for handles, which may outlive this
};

}  // namespace mayfly::gateway
