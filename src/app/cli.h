// The command line: what people and scripts type. Parses it, runs one command against a node over its
// HTTP API (docs/api.md), and turns the outcome into an exit status and, where it failed, one message on
// stderr that says what, which value, and what to do. `serve` and the hidden `zygote` start the
// node's own processes instead. docs/cli.md describes every command; knows nothing of the node's insides.
#pragma once

namespace mayfly::app {

// The exit status: 0 done, 1 the operation failed, 2 wrong usage, 3 no node answers, 4 not found.
int run_cli(int argc, char** argv);

}  // namespace mayfly::app
