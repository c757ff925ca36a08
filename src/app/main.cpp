// mayfly: everything is one binary. `mayfly zygote` is started by the node alone.
#include "app/cli.h"

int main(int argc, char** argv) { return mayfly::app::run_cli(argc, argv); }
