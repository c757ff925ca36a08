// `mayfly serve`: the node. Builds every part in order, listens, and runs the loop until SIGTERM or
// SIGINT; then drains and returns. The command line (app/cli.h) parses the flags; what they mean and
// what the configuration file adds is decided here.
#pragma once
#include <string>

namespace mayfly::app {

struct ServeOptions {
  std::string listen;  // "127.0.0.1:8080"; "": the configuration's, else that default
  std::string data;    // the data directory; "": the configuration's, else "./mayfly-data"
  std::string config;  // a YAML file; "": none
  std::string debug;   // 127.0.0.1:PORT: where debuggers come in to code (app/debug_door.h), for `mayfly dev --debug`; "": nowhere
  bool with_parent = false;  // end when the process that started this one does: for `mayfly dev`
};

// The exit status: 0 after a drain, 1 where it could not start (the reason is on stderr).
int serve(const ServeOptions& options);

}  // namespace mayfly::app
