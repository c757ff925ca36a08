// How a function runs what was built of its package (worker/build_maven.cpp, worker/build_go.cpp), which lies in a folder of its own in
// the sandbox: of Java its class path gets that folder's jars, of Go the program there is the one that is started.
#pragma once
#include <string>
#include <vector>

namespace mayfly::instances {

// `arguments`: how it would be started by its package alone. `tree`: what was built, on the node's disk; `place`: in the sandbox.
void run_what_was_built(const std::string& runtime, const std::string& tree, const std::string& place, std::vector<std::string>& arguments);

}  // namespace mayfly::instances
