// mayfly: everything is one binary. `mayfly zygote` is started by the node alone.
#include <cstring>

#include "worker/zygote.h"

#include "app/cli.h"

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "zygote") == 0) return mayfly::worker::zygote_main(argc, argv);
  return mayfly::app::run_cli(argc, argv);
}
