// The tests, and the zygote that they start: this same program, as the node starts itself.
#include <gtest/gtest.h>

#include <string_view>

#include "node.h"
#include "standin.h"
#include "worker/zygote.h"

int main(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "zygote" && argc > 2 && std::string_view(argv[2]) != "standin") return mayfly::worker::zygote_main(argc, argv);
  if (command == "zygote")
    return mayfly::worker::run_zygote(mayfly::os::Fd(mayfly::worker::kZygoteSocket), mayfly::security::run_standin);
  if (command == "doomed") return mayfly::security::run_doomed_node();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
